// Prints the events of a generation as text.

#ifndef SCALPEL_CLIENT_CPP_GENERATE_VIEW_H_
#define SCALPEL_CLIENT_CPP_GENERATE_VIEW_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/cpp/screen.h"
#include "client/cpp/steps_view.h"
#include "proto/scalpel/v1/generate.pb.h"

namespace scalpel::client {

// Prints the text of one stream after another, each as it comes; what comes of later streams in the
// meantime is kept. A stream is followed by its twin without interventions. In colour, tokens that
// differ from the twin's are marked; each waits for the twin's. Statistics and reports are printed
// when the generation has finished. Not thread-safe.
class GenerateView {
 public:
  explicit GenerateView(const Screen& screen) : screen_(screen), begun_(absl::Now()) {}

  // Prints or collects an event. Skips events that this client does not know. DATA_LOSS: it is of a
  // stream that there is not.
  absl::Status Add(const v1::GenerateResponse& response);

  // Ends a line of text that is not yet at its end.
  void EndLine();

 private:
  struct Stream {
    v1::GenerateStream about;
    int twin = -1;  // the other one of the pair; -1: there is none
    std::vector<v1::GeneratedToken> tokens;
    v1::StreamFinished end;
    bool over = false;
    size_t printed = 0;  // tokens
  };

  void Begin(const v1::GenerateStarted& started);
  void PrintMore();
  void PrintTitle(const Stream& stream);
  void PrintToken(const Stream& stream, size_t index);
  void PrintEnd(const Stream& stream);
  void End(const v1::GenerateFinished& finished);
  // Returns whether the next token cannot be marked yet, because the twin's is not there.
  bool AwaitsTwin(const Stream& stream) const;
  // Returns whether a token differs from the twin's at the same step.
  bool Differs(const Stream& stream, size_t index) const;
  std::string NameOf(const v1::GenerateStream& stream) const;

  const Screen screen_;
  const absl::Time begun_;
  v1::GenerateStarted started_;
  std::vector<Stream> streams_;
  std::vector<int> order_;  // in which streams are printed, by index
  size_t at_ = 0;           // in `order_`: the stream that is being printed
  bool titled_ = false;     // its title is printed
  int column_ = 0;          // where its text is on the line
  StepsView steps_;
  std::vector<v1::InterventionReport> reports_;
};

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_GENERATE_VIEW_H_

// Prints the most probable next tokens, with bars.

#ifndef SCALPEL_CLIENT_CPP_LOGITS_VIEW_H_
#define SCALPEL_CLIENT_CPP_LOGITS_VIEW_H_

#include <map>
#include <string>
#include <utility>

#include "client/cpp/screen.h"
#include "proto/scalpel/v1/output.pb.h"
#include "proto/scalpel/v1/run.pb.h"

namespace scalpel::client {

// Collects logits, so that Print can put the clean run next to the edited one. Not thread-safe.
class LogitsView {
 public:
  LogitsView(const Screen& screen, const v1::Started& started)
      : screen_(screen), started_(started) {}

  void Add(const v1::Logits& logits);

  // Prints everything collected, by prompt and position.
  void Print();

 private:
  std::string Title(int prompt, int position) const;

  const Screen screen_;
  const v1::Started started_;
  // Clean and edited logits, by prompt and position.
  std::map<std::pair<int, int>, std::pair<v1::PositionLogits, v1::PositionLogits>> logits_;
};

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_LOGITS_VIEW_H_

#include "tests/unit/support/read_events.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace scalpel::test {
namespace {

template <typename Finished>
void ClearTimes(Finished* finished) {
  finished->clear_queue_us();
  finished->clear_compute_us();
  finished->clear_tokens_computed();
}

}  // namespace

std::optional<std::string> ReadEvent(engine::Event event) {
  if (event.tensor) {
    const std::string step =
        event.step ? absl::StrCat(event.step->stream, " ", event.step->step, " ") : "";
    return absl::StrCat(step, event.tensor->header.SerializeAsString(),
                        std::string(event.tensor->bytes));
  }
  if (event.sweep) {
    if (event.sweep->has_progress()) return std::nullopt;
    if (event.sweep->has_finished()) ClearTimes(event.sweep->mutable_finished());
    return event.sweep->SerializeAsString();
  }
  if (event.generate) {
    if (event.generate->has_finished()) ClearTimes(event.generate->mutable_finished());
    return event.generate->SerializeAsString();
  }
  if (event.message.has_finished()) ClearTimes(event.message.mutable_finished());
  return event.message.SerializeAsString();
}

std::vector<std::string> ReadEvents(const std::vector<engine::Event>& events) {
  std::vector<std::string> read;
  for (const engine::Event& event : events) {
    if (std::optional<std::string> bytes = ReadEvent(event)) read.push_back(*std::move(bytes));
  }
  return read;
}

}  // namespace scalpel::test

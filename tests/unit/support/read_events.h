// What a caller reads of a stream, for comparing answers to the byte.

#ifndef SCALPEL_TESTS_UNIT_SUPPORT_READ_EVENTS_H_
#define SCALPEL_TESTS_UNIT_SUPPORT_READ_EVENTS_H_

#include <optional>
#include <string>
#include <vector>

#include "server/engine/event_stream.h"

namespace scalpel::test {

// The bytes of an event, without what tells of time and of the cache. nullopt: it tells of nothing
// else.
std::optional<std::string> ReadEvent(engine::Event event);
std::vector<std::string> ReadEvents(const std::vector<engine::Event>& events);

}  // namespace scalpel::test

#endif  // SCALPEL_TESTS_UNIT_SUPPORT_READ_EVENTS_H_

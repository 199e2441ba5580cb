// Named points where a test can make the engine throw. They exist in builds with SCALPEL_FAULTS
// alone; elsewhere they are nothing.

#ifndef SCALPEL_SERVER_ENGINE_FAULT_POINTS_H_
#define SCALPEL_SERVER_ENGINE_FAULT_POINTS_H_

#include <functional>
#include <string_view>

namespace scalpel::engine {

// Where a task or job, whose call is `request_id`, may be made to fail.
enum class FaultPoint {
  kNextTask,  // before its next task is made
  kPass,      // in what all tasks of the wave share, once for each of them, before the pass
  kLayer,     // in what all tasks of the wave share, once for each of them, after each layer
  kVisit,     // at each site that the task looks at or edits, before it does
  kDone,      // while the job sends what the task came to
  kFinish,    // before the job sends its last events
};

#ifdef SCALPEL_FAULTS

using FaultHandler = std::function<void(FaultPoint point, std::string_view request_id)>;

// Is called at each point, on the engine's thread, and may throw. To be set and reset while no
// engine runs.
inline FaultHandler& Faults() {
  static FaultHandler handler;
  return handler;
}

inline void PassFaultPoint(FaultPoint point, std::string_view request_id) {
  if (Faults()) Faults()(point, request_id);
}

#else

inline void PassFaultPoint(FaultPoint, std::string_view) {}

#endif

}  // namespace scalpel::engine

#endif  // SCALPEL_SERVER_ENGINE_FAULT_POINTS_H_

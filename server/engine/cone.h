// The part of a plan that has to be computed: an edit changes nothing below its layer nor before
// its position, so the rest is the clean run's, and what nobody reads need not be known.

#ifndef SCALPEL_SERVER_ENGINE_CONE_H_
#define SCALPEL_SERVER_ENGINE_CONE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "server/model/clean_state.h"
#include "server/model/config.h"
#include "server/model/row.h"
#include "server/spec/plan.h"

namespace scalpel::engine {

// Every row of the plan, as the model is to run it. `clean`: by row, what is known of its prompt's
// clean run, or of a prompt that begins alike; null: nothing. Rows whose clean run goes further
// than that bring it back, as long as all together take at most `record_bytes_max`. The rows refer
// to the plan's tokens.
std::vector<model::Row> Cones(const spec::Plan& plan, const model::Gpt2Config& config,
                              absl::Span<const std::shared_ptr<const model::CleanState>> clean,
                              int64_t record_bytes_max);

}  // namespace scalpel::engine

#endif  // SCALPEL_SERVER_ENGINE_CONE_H_

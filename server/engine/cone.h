// Says how little of a plan has to be computed.
//
// Two facts are used. An edit changes nothing below its layer, nor at positions before its own:
// there a row is the clean run of its prompt, which may be known. And what nothing reads need not
// be computed: not the layers behind the last place that is looked at, nor, in the last layer, the
// positions before the first that is. Both are exact: the answer has the same bits as that of all
// rows computed in full, and tests hold it to that.

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

// The rows of the plan, in its order, as the model is to run them.
//
// `clean` has an entry for each row: what is known of its prompt's clean run, in some or all
// layers; or the clean run, in all layers, of a prompt that begins alike; or null. What is known
// further than a row needs does no harm.
//
// A row that computes more of its clean run than is known brings it back (Row::record_layers), so
// that it can be kept: one row for each prompt, and at most `record_bytes_max` for all rows
// together.
//
// The rows refer to the plan's tokens, so the plan outlives them. Does not throw.
std::vector<model::Row> Cones(const spec::Plan& plan, const model::Gpt2Config& config,
                              absl::Span<const std::shared_ptr<const model::CleanState>> clean,
                              int64_t record_bytes_max);

}  // namespace scalpel::engine

#endif  // SCALPEL_SERVER_ENGINE_CONE_H_

// Where a run's first value arose that is infinite or NaN.

#ifndef SCALPEL_SERVER_ENGINE_NON_FINITE_H_
#define SCALPEL_SERVER_ENGINE_NON_FINITE_H_

#include <cstdint>
#include <optional>

#include "absl/functional/function_ref.h"
#include "proto/scalpel/v1/run.pb.h"
#include "server/model/gpt2.h"
#include "server/spec/plan.h"

namespace scalpel::engine {

// Runs the plan again by itself, as far as the first such value of `row`, looking at every site of
// that row. Returns nullopt if there is none, or if the call was cancelled meanwhile (`wanted` is
// asked after each layer, and within those that take long).
// Throws what libtorch throws.
std::optional<v1::FirstNonFinite> FindFirstNonFinite(const model::Gpt2& gpt2,
                                                     const spec::Plan& plan, int32_t row,
                                                     absl::FunctionRef<bool()> wanted);

}  // namespace scalpel::engine

#endif  // SCALPEL_SERVER_ENGINE_NON_FINITE_H_

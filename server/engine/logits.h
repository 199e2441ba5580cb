// Sends the logits that the model returned, in the form that the plan says.

#ifndef SCALPEL_SERVER_ENGINE_LOGITS_H_
#define SCALPEL_SERVER_ENGINE_LOGITS_H_

#include <vector>

#include "absl/functional/function_ref.h"
#include "server/engine/event_stream.h"
#include "server/engine/tensor_sender.h"
#include "server/model/tensor.h"
#include "server/spec/plan.h"

namespace scalpel::engine {

// `logits`: by row, [positions, vocab], undefined for rows whose logits are not asked for.
// `goes_on` is asked before each row; after a no the rest is not sent, and false is returned.
bool SendLogits(const spec::Plan& plan, const std::vector<at::Tensor>& logits, EventSink& sink,
                TensorSender& sender, absl::FunctionRef<bool()> goes_on);

}  // namespace scalpel::engine

#endif  // SCALPEL_SERVER_ENGINE_LOGITS_H_

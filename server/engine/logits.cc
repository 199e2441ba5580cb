#include "server/engine/logits.h"

#include <utility>

#include "absl/types/span.h"
#include "server/spec/metrics.h"

namespace scalpel::engine {
namespace {

void SendTensor(const spec::Plan& plan, size_t index, const at::Tensor& logits, v1::DataType dtype,
                TensorSender& sender) {
  const spec::PlanRow& row = plan.rows[index];
  v1::TensorHeader header;
  header.set_kind(v1::TENSOR_KIND_LOGITS);
  header.set_name("logits");
  header.set_site(v1::SITE_LOGITS);
  header.add_prompts(row.prompt);
  header.set_clean(row.clean);
  spec::DescribeAxis(v1::AXIS_POSITION, spec::IndexSet::List(plan.logit_positions[index]),
                     header.add_axes());
  spec::DescribeAxis(v1::AXIS_UNIT, spec::IndexSet::Arithmetic(0, logits.size(1), 1),
                     header.add_axes());
  sender.Send(sender.Prepare(std::move(header), ToHost(logits, dtype, Future::kFinal)));
}

void SendTokens(const spec::Plan& plan, int32_t row, const at::Tensor& logits, EventSink& sink) {
  const at::Tensor host = logits.cpu().contiguous();
  const std::vector<double> normalizers = spec::Normalizers(host);
  const int64_t vocab = host.size(1);
  Event event;
  v1::Logits* answer = event.message.mutable_logits();
  answer->set_prompt(plan.rows[row].prompt);
  answer->set_clean(plan.rows[row].clean);
  for (int64_t i = 0; i < host.size(0); ++i) {
    const absl::Span<const float> values(host.const_data_ptr<float>() + i * vocab, vocab);
    const std::vector<int32_t> ids =
        plan.logits.top_k > 0 ? spec::TopIds(values, plan.logits.top_k) : plan.logits.ids;
    v1::PositionLogits* position = answer->add_positions();
    position->set_position(static_cast<int32_t>(plan.logit_positions[row][i]));
    for (const int32_t id : ids) {
      spec::FillTokenLogit(
          plan.tokenizer, values, id, [&](int32_t top) { return values[top] - normalizers[i]; },
          position->add_tokens());
    }
  }
  sink.Push(std::move(event));
}

}  // namespace

bool SendLogits(const spec::Plan& plan, const std::vector<at::Tensor>& logits, EventSink& sink,
                TensorSender& sender, absl::FunctionRef<bool()> goes_on) {
  for (size_t row = 0; row < logits.size(); ++row) {
    if (!logits[row].defined()) continue;
    if (!goes_on()) return false;
    if (plan.logits.full) {
      SendTensor(plan, row, logits[row], *plan.logits.full, sender);
    } else {
      SendTokens(plan, static_cast<int32_t>(row), logits[row], sink);
    }
  }
  return true;
}

}  // namespace scalpel::engine

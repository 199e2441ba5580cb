#include "server/engine/logits.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"

namespace scalpel::engine {
namespace {

// Ids of the k largest, by falling logit, then rising id; NaN comes last.
std::vector<int32_t> TopIds(absl::Span<const float> logits, int32_t k) {
  const auto key = [&](int32_t id) {
    return std::isnan(logits[id]) ? -std::numeric_limits<float>::infinity() : logits[id];
  };
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  std::partial_sort(ids.begin(), ids.begin() + k, ids.end(), [&](int32_t a, int32_t b) {
    return key(a) != key(b) ? key(a) > key(b) : a < b;
  });
  ids.resize(k);
  return ids;
}

void SendTensor(const spec::Plan& plan, const spec::PlanRow& row, const at::Tensor& logits,
                TensorSender& sender) {
  v1::TensorHeader header;
  header.set_kind(v1::TENSOR_KIND_LOGITS);
  header.set_name("logits");
  header.set_site(v1::SITE_LOGITS);
  header.add_prompts(row.prompt);
  header.set_clean(row.clean);
  const v1::DataType dtype = plan.request.logits().full().dtype();
  sender.Send(sender.Prepare(std::move(header), ToHost(logits, dtype, Future::kFinal)));
}

void SendTokens(const spec::Plan& plan, int32_t row, const at::Tensor& logits, EventSink& sink) {
  const at::Tensor host = logits.cpu().contiguous();
  const at::Tensor normalizers = host.to(at::kDouble).logsumexp(1);  // [positions]
  const int64_t vocab = host.size(1);
  Event event;
  v1::Logits* answer = event.message.mutable_logits();
  answer->set_prompt(plan.rows[row].prompt);
  answer->set_clean(plan.rows[row].clean);
  const v1::LogitsRequest& request = plan.request.logits();
  for (int64_t i = 0; i < host.size(0); ++i) {
    const absl::Span<const float> values(host.const_data_ptr<float>() + i * vocab, vocab);
    const std::vector<int32_t> ids =
        request.has_top_k()
            ? TopIds(values, request.top_k().k())
            : std::vector<int32_t>(request.ids().ids().begin(), request.ids().ids().end());
    v1::PositionLogits* position = answer->add_positions();
    position->set_position(static_cast<int32_t>(plan.logit_positions[row][i]));
    const double normalizer = normalizers.const_data_ptr<double>()[i];
    for (const int32_t id : ids) {
      v1::TokenLogit* token = position->add_tokens();
      token->set_token_id(id);
      if (plan.tokenizer != nullptr) token->set_token(plan.tokenizer->TokenText(id));
      token->set_logit(values[id]);
      token->set_log_prob(static_cast<float>(values[id] - normalizer));
    }
  }
  sink.Push(std::move(event));
}

}  // namespace

void SendLogits(const spec::Plan& plan, const std::vector<at::Tensor>& logits, EventSink& sink,
                TensorSender& sender) {
  for (size_t row = 0; row < logits.size(); ++row) {
    if (!logits[row].defined()) continue;
    if (plan.request.logits().has_full()) {
      SendTensor(plan, plan.rows[row], logits[row], sender);
    } else {
      SendTokens(plan, static_cast<int32_t>(row), logits[row], sink);
    }
  }
}

}  // namespace scalpel::engine

#include "server/engine/wave.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "server/engine/logits.h"
#include "server/engine/plan_tap.h"

namespace scalpel::engine {
namespace {

model::Packing Pack(const spec::Plan& plan) {
  std::vector<int64_t> lengths;
  for (const auto& tokens : plan.tokens) lengths.push_back(static_cast<int64_t>(tokens.size()));
  return model::Packing(lengths);
}

// Token ids by packed position, int64 [tokens], on `device`.
at::Tensor PackIds(const spec::Plan& plan, const model::Packing& packing, at::Device device) {
  at::Tensor ids = at::empty({packing.tokens()}, at::kLong);
  int64_t* out = ids.data_ptr<int64_t>();
  for (int32_t row = 0; row < packing.rows(); ++row) {
    std::copy(plan.tokens[row].begin(), plan.tokens[row].end(), out + packing.offset(row));
  }
  return ids.to(device);
}

}  // namespace

absl::Status StillWanted(const Job& job) {
  if (job.stream->cancelled()) return absl::CancelledError("the caller cancelled the call");
  if (absl::Now() >= job.deadline)
    return absl::DeadlineExceededError("the call's deadline has passed");
  return absl::OkStatus();
}

absl::Status RunWave(const model::Gpt2& gpt2, const Job& job) {
  if (absl::Status wanted = StillWanted(job); !wanted.ok()) return wanted;
  const absl::Time start = absl::Now();
  const spec::Plan& plan = *job.plan;
  const model::Packing packing = Pack(plan);
  TensorSender sender(*job.stream);
  PlanTap tap(plan, gpt2.device(), *job.stream, sender, [&job] { return StillWanted(job).ok(); });
  const auto logits =
      gpt2.Forward(packing, PackIds(plan, packing, gpt2.device()), plan.logit_positions, tap);
  if (!logits) {
    const absl::Status wanted = StillWanted(job);
    return wanted.ok() ? absl::CancelledError("the caller cancelled the call") : wanted;
  }
  tap.SendRest();
  SendLogits(plan, *logits, *job.stream, sender);
  tap.SendReports();

  Event event;
  v1::Finished* finished = event.message.mutable_finished();
  finished->set_queue_us(absl::ToInt64Microseconds(start - job.submitted));
  finished->set_compute_us(absl::ToInt64Microseconds(absl::Now() - start));
  finished->set_tokens_computed(packing.tokens());
  finished->set_tensor_bytes(sender.bytes_sent());
  job.stream->Push(std::move(event));
  return absl::OkStatus();
}

}  // namespace scalpel::engine

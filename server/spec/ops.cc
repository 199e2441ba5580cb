#include "server/spec/ops.h"

#include <limits>

#include "server/spec/host_ops.h"
#include "server/spec/noise.h"

namespace scalpel::spec {
namespace {

// A number of the request as float32: infinite beyond its range, where ATen's own conversion
// throws.
float AsFloat(double number) { return static_cast<float>(number); }

at::Tensor AddValue(const v1::Add& add, const at::Tensor& x, const at::Tensor& operand) {
  return operand.defined() ? x + operand * AsFloat(add.coefficient())
                           : x + AsFloat(add.constant() * add.coefficient());
}

at::Tensor SetValue(const v1::Set& set, const at::Tensor& x, const at::Tensor& operand) {
  return operand.defined() ? operand.expand_as(x) : at::full_like(x, AsFloat(set.constant()));
}

at::Tensor AddNoise(const OperationInput& in) {
  const v1::Noise& noise = in.intervention.noise();
  const at::Tensor values =
      NoiseTensor(
          {.seed = noise.seed(), .intervention = in.index, .layer = in.layer, .prompt = in.prompt},
          noise.mean(), noise.std(), in.site, in.target, in.inner)
          .to(in.current.device());
  return noise.mode() == v1::NOISE_MODE_ADD ? in.current + values : values;
}

at::Tensor ClampValues(const v1::Clamp& clamp, const at::Tensor& x) {
  // Not at::clamp: which of two zeros it returns depends on the CPU.
  at::Tensor result = x;
  if (clamp.has_min()) {
    const float min = AsFloat(clamp.min());
    result = at::where((result >= min).logical_or_(result.isnan()), result, min);
  }
  if (clamp.has_max()) {
    const float max = AsFloat(clamp.max());
    result = at::where((result <= max).logical_or_(result.isnan()), result, max);
  }
  return result;
}

at::Tensor MeanOverPositions(const OperationInput& in) {
  const int axis = PositionAxis(in.site.facts);
  const at::Tensor mean =
      in.source.is_cpu() ? MeanOnHost(in.source, axis) : in.source.mean(axis, /*keepdim=*/true);
  return mean.expand_as(in.current);
}

// In double precision, which holds the squares of all float32 numbers.
at::Tensor RescaleDirection(const v1::ProjectOut& project_out, const at::Tensor& x,
                            const at::Tensor& direction) {
  if (x.is_cpu()) return RescaleDirectionOnHost(x, direction, project_out.factor());
  const at::Tensor along = direction.to(at::kDouble), wide = x.to(at::kDouble);
  const at::Tensor component = (wide * along).sum(-1, /*keepdim=*/true) / along.square().sum();
  return (wide + (project_out.factor() - 1) * component * along).to(at::kFloat);
}

}  // namespace

at::Tensor Apply(const OperationInput& in) {
  const v1::Intervention& intervention = in.intervention;
  const at::Tensor& x = in.current;
  switch (intervention.operation_case()) {
    case v1::Intervention::kZero:
      return at::zeros_like(x);
    case v1::Intervention::kScale:
      return x * AsFloat(intervention.scale().factor());
    case v1::Intervention::kAdd:
      return AddValue(intervention.add(), x, in.operand);
    case v1::Intervention::kSet:
      return SetValue(intervention.set(), x, in.operand);
    case v1::Intervention::kNoise:
      return AddNoise(in);
    case v1::Intervention::kClamp:
      return ClampValues(intervention.clamp(), x);
    case v1::Intervention::kMean:
      return MeanOverPositions(in);
    case v1::Intervention::kPatch:
      return in.source.clone();  // it may be another view of what is written
    case v1::Intervention::kProjectOut:
      return RescaleDirection(intervention.project_out(), x, in.operand);
    case v1::Intervention::kKnockout:
      return at::full_like(x, -std::numeric_limits<float>::infinity());
    case v1::Intervention::OPERATION_NOT_SET:
      break;  // refused by Compile
  }
  TORCH_CHECK(false, "an operation without implementation passed validation");
}

at::Tensor ChangeMask(const SiteEntry& site, const Region& target,
                      const std::vector<AttentionPair>* pairs, at::Device device) {
  if (!IsAttention(site.facts)) return {};
  if (pairs == nullptr) return CausalMask(target, device);
  const int64_t queries = target.axis(1).max() + 1, keys = target.axis(2).max() + 1;
  at::Tensor mask = at::zeros({queries, keys}, at::kBool);
  auto entries = mask.accessor<bool, 2>();
  for (const AttentionPair& pair : *pairs) entries[pair.query][pair.key] = true;
  return Region({target.axis(1), target.axis(2)}).Read(mask).to(device);
}

}  // namespace scalpel::spec

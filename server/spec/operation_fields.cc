#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/kernels/moments.h"
#include "server/spec/interventions.h"

namespace scalpel::spec {
namespace {

void CheckNoise(Compilation& c, v1::Noise* noise, absl::string_view field) {
  if (!noise->has_mean()) noise->set_mean(0);
  if (!noise->has_std()) noise->set_std(1);
  if (!noise->has_seed()) noise->set_seed(c.request.seed());
  CheckNumber(c, noise->mean(), absl::StrCat(field, ".mean"));
  CheckNumber(c, noise->std(), absl::StrCat(field, ".std"));
  if (noise->std() < 0)
    c.violations.Add(absl::StrCat(field, ".std"), absl::StrCat(noise->std(), " is below 0"));
  if (noise->mode() == v1::NOISE_MODE_UNSPECIFIED) noise->set_mode(v1::NOISE_MODE_REPLACE);
  if (!v1::NoiseMode_IsValid(noise->mode())) {
    c.violations.Add(absl::StrCat(field, ".mode"),
                     absl::StrCat(static_cast<int>(noise->mode()), " is not a valid noise mode"));
  }
}

void CheckClamp(Compilation& c, const v1::Clamp& clamp, absl::string_view field) {
  if (!clamp.has_min() && !clamp.has_max())
    c.violations.Add(field, "has no bound; give `min`, `max` or both");
  if (clamp.has_min()) CheckNumber(c, clamp.min(), absl::StrCat(field, ".min"));
  if (clamp.has_max()) CheckNumber(c, clamp.max(), absl::StrCat(field, ".max"));
  if (clamp.has_min() && clamp.has_max() && clamp.min() > clamp.max()) {
    c.violations.Add(absl::StrCat(field, ".min"),
                     absl::StrCat(clamp.min(), " is above max, ", clamp.max()));
  }
}

// Adds and sets share their operand: `constant` or `tensor`.
template <typename Operation>
at::Tensor CheckValue(Compilation& c, const Operation& operation, absl::string_view field) {
  switch (operation.value_case()) {
    case Operation::kConstant:
      CheckNumber(c, operation.constant(), absl::StrCat(field, ".constant"));
      return {};
    case Operation::kTensor:
      return DecodeTensor(c, operation.tensor(), absl::StrCat(field, ".tensor"));
    case Operation::VALUE_NOT_SET:
      c.violations.Add(field, "has no value; give `constant` or `tensor`");
      return {};
  }
  return {};
}

at::Tensor CheckProjectOut(Compilation& c, v1::ProjectOut* project_out, absl::string_view field) {
  if (!project_out->has_factor()) project_out->set_factor(0);
  CheckNumber(c, project_out->factor(), absl::StrCat(field, ".factor"));
  const std::string direction = absl::StrCat(field, ".direction");
  if (!project_out->has_direction()) {
    c.violations.Add(direction, "is required");
    return {};
  }
  at::Tensor decoded = DecodeTensor(c, project_out->direction(), direction);
  DropLeadingAxes(1, decoded);
  if (decoded.defined() && decoded.dim() != 1) {
    c.violations.Add(absl::StrCat(direction, ".shape"),
                     "has more than one axis; a direction is a vector");
    return {};
  }
  if (!decoded.defined()) return {};
  // In double precision, which holds the squares of all float32 numbers.
  const double square = kernels::SumOfSquares(decoded.const_data_ptr<float>(), decoded.numel());
  if (square == 0) {
    c.violations.Add(direction, "has no length; give a vector that is not zero");
    return {};
  }
  // `allow_non_finite` does not help: such a vector points nowhere.
  if (!std::isfinite(square)) {
    c.violations.Add(direction, "is not finite, so it has no direction");
    return {};
  }
  return decoded;
}

}  // namespace

void CheckOperation(Compilation& c, InterventionItem& item) {
  const std::string& field = item.operation_field;
  switch (item.spec->operation_case()) {
    case v1::Intervention::kZero:
    case v1::Intervention::kMean:
    case v1::Intervention::kPatch:
    case v1::Intervention::kKnockout:
      break;  // nothing but places, checked where they are resolved
    case v1::Intervention::kScale:
      if (!item.spec->scale().has_factor())
        c.violations.Add(absl::StrCat(field, ".factor"), "is required");
      CheckNumber(c, item.spec->scale().factor(), absl::StrCat(field, ".factor"));
      break;
    case v1::Intervention::kAdd: {
      v1::Add* add = item.spec->mutable_add();
      if (!add->has_coefficient()) add->set_coefficient(1);
      CheckNumber(c, add->coefficient(), absl::StrCat(field, ".coefficient"));
      item.operand = CheckValue(c, *add, field);
      break;
    }
    case v1::Intervention::kSet:
      item.operand = CheckValue(c, item.spec->set(), field);
      break;
    case v1::Intervention::kNoise:
      CheckNoise(c, item.spec->mutable_noise(), field);
      break;
    case v1::Intervention::kClamp:
      CheckClamp(c, item.spec->clamp(), field);
      break;
    case v1::Intervention::kProjectOut:
      item.operand = CheckProjectOut(c, item.spec->mutable_project_out(), field);
      break;
    case v1::Intervention::OPERATION_NOT_SET:
      c.violations.Add(item.field, "has no operation; GetModel lists the operations");
      break;
  }
}

void DropLeadingAxes(int64_t rank, at::Tensor& operand) {
  while (operand.defined() && operand.dim() > rank && operand.size(0) == 1)
    operand = operand.squeeze(0);
}

bool CheckOperandShape(Compilation& c, const InterventionItem& item, const Region& target) {
  if (!item.operand.defined()) return true;
  const std::vector<int64_t> shape = target.shape();
  const auto refuse = [&](absl::string_view name, absl::string_view why) {
    c.violations.Add(absl::StrCat(item.operation_field, ".", name),
                     absl::StrCat("shape [", absl::StrJoin(item.operand.sizes(), ", "), "] ", why,
                                  " [", absl::StrJoin(shape, ", "), "]"));
    return false;
  };
  if (item.spec->has_project_out()) {
    return item.operand.size(0) == shape.back() ||
           refuse("direction", "is not as long as the last axis of the selected part");
  }
  bool fits = item.operand.dim() <= static_cast<int64_t>(shape.size());
  for (int64_t i = 1; fits && i <= item.operand.dim(); ++i) {
    const int64_t size = item.operand.size(-i);
    fits = size == 1 || size == shape[shape.size() - i];
  }
  return fits || refuse("tensor", "does not broadcast to the selected part");
}

}  // namespace scalpel::spec

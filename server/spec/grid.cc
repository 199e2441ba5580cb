#include "server/spec/grid.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace scalpel::spec {
namespace {

using v1::GridAxis;
using v1::Intervention;

// Whether the intervention says already what an axis over values would set; nullopt: its operation
// has no number.
std::optional<bool> SaysNumber(const Intervention& intervention) {
  switch (intervention.operation_case()) {
    case Intervention::kScale:
      return intervention.scale().has_factor();
    case Intervention::kAdd:
      return intervention.add().has_coefficient();
    case Intervention::kSet:
      return intervention.set().value_case() != v1::Set::VALUE_NOT_SET;
    case Intervention::kNoise:
      return intervention.noise().has_std();
    case Intervention::kProjectOut:
      return intervention.project_out().has_factor();
    case Intervention::kZero:
    case Intervention::kClamp:
    case Intervention::kMean:
    case Intervention::kPatch:
    case Intervention::kKnockout:
    case Intervention::OPERATION_NOT_SET:
      return std::nullopt;
  }
  return std::nullopt;
}

void SetNumber(double number, Intervention* intervention) {
  if (intervention->has_scale()) intervention->mutable_scale()->set_factor(number);
  if (intervention->has_add()) intervention->mutable_add()->set_coefficient(number);
  if (intervention->has_set()) intervention->mutable_set()->set_constant(number);
  if (intervention->has_noise()) intervention->mutable_noise()->set_std(number);
  if (intervention->has_project_out()) intervention->mutable_project_out()->set_factor(number);
}

// The same for an axis over directions.
std::optional<bool> SaysDirection(const Intervention& intervention) {
  if (intervention.has_add()) return intervention.add().value_case() != v1::Add::VALUE_NOT_SET;
  if (intervention.has_project_out()) return intervention.project_out().has_direction();
  return std::nullopt;
}

void SetDirection(const at::Tensor& direction, Intervention* intervention) {
  v1::Tensor* tensor = intervention->has_add()
                           ? intervention->mutable_add()->mutable_tensor()
                           : intervention->mutable_project_out()->mutable_direction();
  const float* values = direction.const_data_ptr<float>();
  tensor->mutable_values()->Assign(values, values + direction.numel());
}

// Whether the template leaves to an axis what the axis sets.
void CheckTemplate(Compilation& c, const Intervention& intervention, GridAxis::OverCase over,
                   absl::string_view field, absl::string_view axis_field) {
  const v1::Selection& where = intervention.place().where();
  std::optional<bool> says;
  absl::string_view what = ".place.where.layers";
  switch (over) {
    case GridAxis::kLayers:
      says = where.layers_size() > 0;
      break;
    case GridAxis::kHeads:
      says = where.heads_size() > 0;
      what = ".place.where.heads";
      break;
    case GridAxis::kPositions:
      says = where.has_positions();
      what = ".place.where.positions";
      break;
    case GridAxis::kValues:
      says = SaysNumber(intervention);
      what = "";
      if (!says)
        c.violations.Add(field, absl::StrCat("has no number that ", axis_field,
                                             " could set: scale, add, set, noise and project_out "
                                             "have one; name others in the axis"));
      break;
    case GridAxis::kDirections:
      says = SaysDirection(intervention);
      what = "";
      if (!says)
        c.violations.Add(field, absl::StrCat("has no direction that ", axis_field,
                                             " could set: add and project_out have one; name "
                                             "others in the axis"));
      break;
    case GridAxis::OVER_NOT_SET:
      break;
  }
  if (says.value_or(false)) {
    c.violations.Add(absl::StrCat(field, what),
                     absl::StrCat("says what ", axis_field, " sets; leave one of them out"));
  }
}

// An axis over layers, heads or positions; without values, over all of [0, size).
std::optional<std::vector<int64_t>> ResolveIndexAxis(Compilation& c, v1::Indices* indices,
                                                     int64_t size, Negative negative,
                                                     absl::string_view field) {
  if (indices->values().empty()) {
    for (int64_t i = 0; i < size; ++i) indices->add_values(i);
  }
  auto resolved = ResolveIndexList(indices->values(), size, negative,
                                   absl::StrCat(field, ".values"), c.violations);
  if (resolved) indices->mutable_values()->Assign(resolved->begin(), resolved->end());
  return resolved;
}

// Positions may count from each prompt's own end; a variant's compilation resolves them there.
std::optional<std::vector<int64_t>> ResolvePositionAxis(Compilation& c, v1::Indices* indices,
                                                        absl::string_view field) {
  int64_t longest = 0;
  bool equal = true;
  for (int32_t prompt = 0; prompt < c.edited_prompts(); ++prompt) {
    longest = std::max(longest, static_cast<int64_t>(c.prompts[prompt].size()));
    equal = equal && c.prompts[prompt].size() == c.prompts[0].size();
  }
  if (longest == 0) return std::nullopt;  // every prompt was refused
  if (indices->values().empty() && !equal) {
    c.violations.Add(absl::StrCat(field, ".values"),
                     "is empty, but the prompts differ in length; name positions, from the "
                     "prompts' ends if they are negative");
    return std::nullopt;
  }
  return ResolveIndexAxis(c, indices, longest, Negative::kKept, field);
}

std::optional<std::vector<double>> ResolveValues(Compilation& c, const v1::AxisValues& values,
                                                 absl::string_view field) {
  if (values.values().empty()) {
    c.violations.Add(absl::StrCat(field, ".values"), "is empty; give at least one number");
    return std::nullopt;
  }
  for (int i = 0; i < values.values_size(); ++i)
    CheckNumber(c, values.values(i), absl::StrCat(field, ".values[", i, "]"));
  return std::vector<double>(values.values().begin(), values.values().end());
}

at::Tensor ResolveDirections(Compilation& c, const v1::Tensor& directions,
                             const std::string& field) {
  at::Tensor decoded = DecodeTensor(c, directions, field);
  if (decoded.defined() && decoded.dim() != 2) {
    c.violations.Add(absl::StrCat(field, ".shape"),
                     absl::StrCat("[", absl::StrJoin(decoded.sizes(), ", "),
                                  "] is not [n, units]: each row is a direction"));
    return {};
  }
  return decoded;
}

// `3`, or `3 " Mary"` where only one prompt has that position.
std::vector<std::string> IndexLabels(const Compilation& c, const std::vector<int64_t>& indices,
                                     bool positions) {
  const bool tokens = positions && c.edited_prompts() == 1 && c.facts.tokenizer;
  std::vector<std::string> labels;
  for (const int64_t index : indices) {
    labels.push_back(absl::StrCat(index));
    if (!tokens) continue;
    const std::vector<int32_t>& ids = c.prompts[0];
    const int32_t id = ids[FromStart(index, static_cast<int64_t>(ids.size()))];
    absl::StrAppend(&labels.back(), " \"", absl::Utf8SafeCEscape(c.facts.tokenizer->TokenText(id)),
                    "\"");
  }
  return labels;
}

}  // namespace

std::optional<ResolvedGrid::Axis> ResolvedGrid::ResolveAxis(Compilation& c, const v1::Grid& grid,
                                                            GridAxis* axis,
                                                            const std::string& field) {
  const auto interventions = ResolveList(axis->interventions(), grid.interventions_size(),
                                         absl::StrCat(field, ".interventions"), c.violations);
  if (!interventions) return std::nullopt;
  axis->mutable_interventions()->Assign(interventions->begin(), interventions->end());
  Axis resolved;
  resolved.over = axis->over_case();
  resolved.interventions = *interventions;
  switch (axis->over_case()) {
    case GridAxis::kLayers:
    case GridAxis::kHeads:
    case GridAxis::kPositions: {
      const model::Gpt2Config& config = c.facts.config;
      const bool positions = axis->has_positions();
      const auto indices =
          positions ? ResolvePositionAxis(c, axis->mutable_positions(), field + ".positions")
          : axis->has_layers() ? ResolveIndexAxis(c, axis->mutable_layers(), config.n_layer,
                                                  Negative::kFromStart, field + ".layers")
                               : ResolveIndexAxis(c, axis->mutable_heads(), config.n_head,
                                                  Negative::kFromStart, field + ".heads");
      if (!indices) return std::nullopt;
      resolved.name = positions ? "position" : axis->has_layers() ? "layer" : "head";
      resolved.indices = *indices;
      resolved.labels = IndexLabels(c, *indices, positions);
      return resolved;
    }
    case GridAxis::kValues: {
      const auto values = ResolveValues(c, axis->values(), field + ".values");
      if (!values) return std::nullopt;
      resolved.name = "value";
      resolved.values = *values;
      for (const double value : *values) resolved.labels.push_back(absl::StrCat(value));
      return resolved;
    }
    case GridAxis::kDirections:
      resolved.name = "direction";
      resolved.directions = ResolveDirections(c, axis->directions(), field + ".directions");
      if (!resolved.directions.defined()) return std::nullopt;
      for (int64_t i = 0; i < resolved.directions.size(0); ++i)
        resolved.labels.push_back(absl::StrCat(i));
      return resolved;
    case GridAxis::OVER_NOT_SET:
      c.violations.Add(field,
                       "sets nothing; give `layers`, `heads`, `positions`, `values` or "
                       "`directions`");
      return std::nullopt;
  }
  return std::nullopt;
}

std::optional<ResolvedGrid> ResolvedGrid::Resolve(Compilation& c, v1::Grid* grid) {
  const int before = c.violations.count();
  if (grid->interventions().empty())
    c.violations.Add("grid.interventions", "is empty; give what every cell does");
  if (grid->axes().empty()) c.violations.Add("grid.axes", "is empty; give at least one axis");
  CheckCount(c.violations, "grid.interventions", grid->interventions_size(),
             c.limits->max_interventions());
  CheckCount(c.violations, "grid.axes", grid->axes_size(), c.limits->max_grid_axes());
  if (c.violations.count() > before) return std::nullopt;

  ResolvedGrid resolved;
  std::unordered_set<std::string> names;
  std::set<std::pair<int32_t, GridAxis::OverCase>> set;
  int64_t cells = 1;
  for (int i = 0; i < grid->axes_size(); ++i) {
    const std::string field = absl::StrCat("grid.axes[", i, "]");
    GridAxis* axis = grid->mutable_axes(i);
    auto made = ResolveAxis(c, *grid, axis, field);
    if (!made) continue;
    ResolveName(c, axis->mutable_name(), made->name, names, absl::StrCat(field, ".name"));
    made->name = axis->name();
    for (const int32_t j : made->interventions) {
      CheckTemplate(c, grid->interventions(j), made->over,
                    absl::StrCat("grid.interventions[", j, "]"), field);
      if (!set.insert({j, made->over}).second) {
        c.violations.Add(field, absl::StrCat("sets in interventions[", j,
                                             "] what another axis sets; keep one of them"));
      }
    }
    cells = std::min<int64_t>(cells * static_cast<int64_t>(made->labels.size()), int64_t{1} << 31);
    resolved.axes_.push_back(*std::move(made));
  }
  if (cells > c.limits->max_variants()) {
    c.violations.Add("grid.axes",
                     absl::StrCat("have ", cells, " cells, at most ", c.limits->max_variants(),
                                  " are allowed; split the sweep"));
  }
  if (c.violations.count() > before) return std::nullopt;
  resolved.template_ = grid->interventions();
  resolved.cells_ = static_cast<int32_t>(cells);
  return resolved;
}

std::vector<int32_t> ResolvedGrid::Coordinates(int32_t cell) const {
  std::vector<int32_t> coordinates(axes_.size());
  for (size_t i = axes_.size(); i-- > 0;) {
    const auto length = static_cast<int32_t>(axes_[i].labels.size());
    coordinates[i] = cell % length;
    cell /= length;
  }
  return coordinates;
}

std::string ResolvedGrid::CellName(int32_t cell) const {
  const std::vector<int32_t> coordinates = Coordinates(cell);
  std::vector<std::string> parts;
  for (size_t i = 0; i < axes_.size(); ++i)
    parts.push_back(absl::StrCat(axes_[i].name, " ", axes_[i].labels[coordinates[i]]));
  return absl::StrJoin(parts, ", ");
}

void ResolvedGrid::Set(const Axis& axis, int32_t at, Intervention* intervention) {
  v1::Selection* where = intervention->mutable_place()->mutable_where();
  switch (axis.over) {
    case GridAxis::kLayers:
      where->add_layers(static_cast<int32_t>(axis.indices[at]));
      return;
    case GridAxis::kHeads:
      where->add_heads(static_cast<int32_t>(axis.indices[at]));
      return;
    case GridAxis::kPositions:
      where->mutable_positions()->mutable_indices()->add_values(axis.indices[at]);
      return;
    case GridAxis::kValues:
      return SetNumber(axis.values[at], intervention);
    case GridAxis::kDirections:
      return SetDirection(axis.directions[at], intervention);
    case GridAxis::OVER_NOT_SET:
      return;  // refused by Resolve
  }
}

void ResolvedGrid::Fill(int32_t cell,
                        google::protobuf::RepeatedPtrField<Intervention>* interventions) const {
  *interventions = template_;
  const std::vector<int32_t> coordinates = Coordinates(cell);
  for (size_t i = 0; i < axes_.size(); ++i) {
    for (const int32_t j : axes_[i].interventions)
      Set(axes_[i], coordinates[i], interventions->Mutable(j));
  }
}

void ResolvedGrid::Describe(google::protobuf::RepeatedPtrField<v1::AxisInfo>* axes) const {
  for (const Axis& axis : axes_) {
    v1::AxisInfo* info = axes->Add();
    info->set_name(axis.name);
    for (const std::string& label : axis.labels) info->add_labels(label);
  }
}

}  // namespace scalpel::spec

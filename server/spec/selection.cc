#include "server/spec/selection.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"

namespace scalpel::spec {
namespace {

at::Tensor IndexTensor(const IndexSet& set, at::Device device) {
  return at::tensor(set.ToVector(), at::kLong).to(device);
}

// The slices along every arithmetic axis: a view, in which the other axes are still whole.
at::Tensor Slices(const at::Tensor& value, const Region& region) {
  at::Tensor view = value;
  for (int axis = 0; axis < region.rank(); ++axis) {
    const IndexSet& set = region.axis(axis);
    if (set.arithmetic()) view = view.slice(axis, set.start(), set.max() + 1, set.step());
  }
  return view;
}

std::optional<IndexSet> ResolveRange(const v1::Range& range, int64_t size, absl::string_view field,
                                     Violations& violations) {
  const int64_t step = range.has_step() ? range.step() : 1;
  const int64_t start = range.has_start() ? FromStart(range.start(), size) : 0;
  const int64_t end = range.has_end() ? FromStart(range.end(), size) : size;
  if (step < 1) {
    violations.Add(absl::StrCat(field, ".range.step"), absl::StrCat(step, " is below 1"));
    return std::nullopt;
  }
  if (start < 0 || start >= size) {
    violations.Add(absl::StrCat(field, ".range.start"),
                   absl::StrCat(range.start(), " is outside [", -size, ", ", size, ")"));
    return std::nullopt;
  }
  if (end < 0 || end > size) {
    violations.Add(absl::StrCat(field, ".range.end"),
                   absl::StrCat(range.end(), " is outside [", -size, ", ", size, "]"));
    return std::nullopt;
  }
  if (end <= start) {
    violations.Add(
        absl::StrCat(field, ".range"),
        absl::StrCat("[", start, ", ", end, ") selects nothing; end must be above start"));
    return std::nullopt;
  }
  const int64_t count = (end - start - 1) / step + 1;
  return IndexSet::Arithmetic(start, count,
                              count > 1 ? step : 1);  // a huge step would overflow a slice's stride
}

std::optional<IndexSet> ResolveIndices(const v1::Indices& indices, int64_t size,
                                       absl::string_view field, Violations& violations) {
  if (indices.values().empty()) {
    violations.Add(absl::StrCat(field, ".indices.values"),
                   "is empty; name at least one index, or leave the field out to select all");
    return std::nullopt;
  }
  auto resolved = ResolveIndexList(indices.values(), size, Negative::kFromStart,
                                   absl::StrCat(field, ".indices.values"), violations);
  if (!resolved) return std::nullopt;
  return IndexSet::List(*std::move(resolved));
}

std::optional<IndexSet> ResolveTokens(const v1::TokenIds& wanted, absl::Span<const int32_t> tokens,
                                      absl::string_view field, Violations& violations) {
  // Each list once: both may be long.
  const absl::flat_hash_set<int32_t> held(tokens.begin(), tokens.end());
  absl::flat_hash_set<int32_t> meant;
  for (const int32_t id : wanted.ids()) {
    if (held.contains(id)) meant.insert(id);
  }
  std::vector<int64_t> resolved;
  for (size_t position = 0; position < tokens.size(); ++position) {
    if (meant.contains(tokens[position])) resolved.push_back(static_cast<int64_t>(position));
  }
  if (resolved.empty()) {
    violations.Add(absl::StrCat(field, ".tokens"),
                   "a selected prompt holds none of these tokens; select only prompts that do, "
                   "with `where.prompts`");
    return std::nullopt;
  }
  return IndexSet::List(std::move(resolved));
}

}  // namespace

IndexSet IndexSet::Arithmetic(int64_t start, int64_t count, int64_t step) {
  IndexSet set;
  set.start_ = start;
  set.count_ = count;
  set.step_ = step;
  return set;
}

IndexSet IndexSet::List(std::vector<int64_t> indices) {
  const int64_t count = static_cast<int64_t>(indices.size());
  const int64_t step = count > 1 ? indices[1] - indices[0] : 1;
  bool arithmetic = step > 0;
  for (int64_t i = 1; i < count; ++i)
    arithmetic = arithmetic && indices[i] - indices[i - 1] == step;
  IndexSet set = Arithmetic(indices[0], count, step);
  if (!arithmetic) set.list_ = std::make_shared<const std::vector<int64_t>>(std::move(indices));
  return set;
}

int64_t IndexSet::min() const {
  return arithmetic() ? start_ : *std::min_element(list_->begin(), list_->end());
}

int64_t IndexSet::max() const {
  return arithmetic() ? at(count_ - 1) : *std::max_element(list_->begin(), list_->end());
}

IndexSet IndexSet::Ascending() const {
  if (arithmetic()) return *this;
  std::vector<int64_t> sorted = *list_;
  std::sort(sorted.begin(), sorted.end());
  return List(std::move(sorted));
}

std::vector<int64_t> IndexSet::ToVector() const {
  std::vector<int64_t> indices(count_);
  for (int64_t i = 0; i < count_; ++i) indices[i] = at(i);
  return indices;
}

IndexSet IndexSet::Minus(int64_t offset) const {
  if (offset == 0) return *this;
  if (arithmetic()) return Arithmetic(start_ - offset, count_, step_);
  std::vector<int64_t> indices = *list_;
  for (int64_t& index : indices) index -= offset;
  return List(std::move(indices));
}

Region Region::From(int axis, int64_t first) const {
  Region region = *this;
  region.axes_[axis] = axes_[axis].Minus(first);
  return region;
}

std::vector<int64_t> Region::shape() const {
  std::vector<int64_t> shape;
  for (const IndexSet& set : axes_) shape.push_back(set.size());
  return shape;
}

int64_t Region::elements() const {
  int64_t product = 1;
  for (const IndexSet& set : axes_) product *= set.size();
  return product;
}

at::Tensor Region::Read(const at::Tensor& value) const {
  at::Tensor part = Slices(value, *this);
  for (int i = 0; i < rank(); ++i) {
    if (!axes_[i].arithmetic()) part = part.index_select(i, IndexTensor(axes_[i], value.device()));
  }
  return part;
}

void Region::Write(const at::Tensor& value, const at::Tensor& part) const {
  const at::Tensor view = Slices(value, *this);
  std::vector<int> lists;
  for (int i = 0; i < rank(); ++i) {
    if (!axes_[i].arithmetic()) lists.push_back(i);
  }
  if (lists.empty()) {
    view.copy_(part);
  } else if (lists.size() == 1) {
    view.index_copy_(lists[0], IndexTensor(axes_[lists[0]], value.device()), part);
  } else {  // an open mesh over every axis of the original
    c10::List<std::optional<at::Tensor>> mesh;
    for (int i = 0; i < rank(); ++i) {
      std::vector<int64_t> broadcast(rank(), 1);
      broadcast[i] = axes_[i].size();
      mesh.push_back(IndexTensor(axes_[i], value.device()).view(broadcast));
    }
    at::Tensor target = value;  // a handle to the same storage; index_put_ is not const
    target.index_put_(mesh, part);
  }
}

at::Tensor CausalMask(const Region& region, at::Device device) {
  return IndexTensor(region.axis(2), device).unsqueeze(0) <=
         IndexTensor(region.axis(1), device).unsqueeze(1);
}

int64_t CausalPairs(const Region& region) {
  const std::vector<int64_t> keys = region.axis(2).Ascending().ToVector();
  int64_t pairs = 0;
  for (int64_t i = 0; i < region.axis(1).size(); ++i) {
    pairs += std::upper_bound(keys.begin(), keys.end(), region.axis(1).at(i)) - keys.begin();
  }
  return pairs;
}

template <typename Integer>
std::optional<std::vector<Integer>> ResolveIndexList(
    const google::protobuf::RepeatedField<Integer>& list, int64_t size, Negative negative,
    absl::string_view field, Violations& violations) {
  for (int i = 0; i < list.size(); ++i) {
    if (list[i] >= -size && list[i] < size) continue;
    violations.Add(absl::StrCat(field, "[", i, "]"),
                   absl::StrCat(list[i], " is outside [", -size, ", ", size, ")"));
    return std::nullopt;
  }
  if (negative == Negative::kFromStart && list.size() > size) {
    violations.Add(field, absl::StrCat(list.size(), " indices for an axis of ", size,
                                       "; name each at most once"));
    return std::nullopt;
  }
  std::vector<Integer> resolved(list.begin(), list.end());
  if (negative == Negative::kFromStart) {
    for (Integer& index : resolved) index = static_cast<Integer>(FromStart(index, size));
  }
  std::vector<Integer> sorted = resolved;
  std::sort(sorted.begin(), sorted.end());
  if (const auto twice = std::adjacent_find(sorted.begin(), sorted.end()); twice != sorted.end()) {
    violations.Add(field, absl::StrCat(*twice, " is named twice; name it once"));
    return std::nullopt;
  }
  return resolved;
}

template std::optional<std::vector<int32_t>> ResolveIndexList(
    const google::protobuf::RepeatedField<int32_t>&, int64_t, Negative, absl::string_view,
    Violations&);
template std::optional<std::vector<int64_t>> ResolveIndexList(
    const google::protobuf::RepeatedField<int64_t>&, int64_t, Negative, absl::string_view,
    Violations&);

std::optional<std::vector<int32_t>> ResolveList(
    const google::protobuf::RepeatedField<int32_t>& list, int64_t size, absl::string_view field,
    Violations& violations) {
  if (!list.empty()) return ResolveIndexList(list, size, Negative::kFromStart, field, violations);
  std::vector<int32_t> all(size);
  std::iota(all.begin(), all.end(), 0);
  return all;
}

std::optional<IndexSet> ResolveUnits(const v1::Units* units, int64_t size, absl::string_view field,
                                     Violations& violations) {
  if (units == nullptr) return IndexSet::Arithmetic(0, size, 1);
  switch (units->kind_case()) {
    case v1::Units::kRange:
      return ResolveRange(units->range(), size, field, violations);
    case v1::Units::kIndices:
      return ResolveIndices(units->indices(), size, field, violations);
    case v1::Units::KIND_NOT_SET:
      violations.Add(field,
                     "is empty; give `range` or `indices`, or leave the field out to select all");
      return std::nullopt;
  }
  return std::nullopt;
}

std::optional<IndexSet> ResolvePositions(const v1::Positions* positions,
                                         absl::Span<const int32_t> tokens, absl::string_view field,
                                         Violations& violations) {
  const int64_t size = static_cast<int64_t>(tokens.size());
  if (positions == nullptr) return IndexSet::Arithmetic(0, size, 1);
  switch (positions->kind_case()) {
    case v1::Positions::kRange:
      return ResolveRange(positions->range(), size, field, violations);
    case v1::Positions::kIndices:
      return ResolveIndices(positions->indices(), size, field, violations);
    case v1::Positions::kTokens:
      return ResolveTokens(positions->tokens(), tokens, field, violations);
    case v1::Positions::KIND_NOT_SET:
      violations.Add(
          field,
          "is empty; give `range`, `indices` or `tokens`, or leave the field out to select all");
      return std::nullopt;
  }
  return std::nullopt;
}

void DescribeAxis(v1::Axis axis, const IndexSet& set, v1::AxisIndices* indices) {
  indices->set_axis(axis);
  if (set.arithmetic()) {
    indices->set_start(set.start());
    indices->set_step(set.step());
    indices->set_count(set.size());
  } else {
    const std::vector<int64_t> values = set.ToVector();
    indices->mutable_values()->Assign(values.begin(), values.end());
  }
}

void DescribeAxes(const SiteEntry& site, const Region& region,
                  absl::FunctionRef<bool(v1::Axis)> keeps,
                  google::protobuf::RepeatedPtrField<v1::AxisIndices>* axes) {
  for (int i = 0; i < region.rank(); ++i) {
    if (keeps(site.facts.axes(i))) DescribeAxis(site.facts.axes(i), region.axis(i), axes->Add());
  }
}

namespace {

// What `where` selects along one axis of a site, in a prompt with these tokens.
std::optional<IndexSet> ResolveAxis(v1::Axis axis, const SiteEntry& site,
                                    const v1::Selection& where, const model::Gpt2Config& config,
                                    absl::Span<const int32_t> tokens, absl::string_view field,
                                    Violations& violations) {
  const auto sub = [&](absl::string_view name) { return absl::StrCat(field, ".", name); };
  switch (axis) {
    case v1::AXIS_POSITION:
    case v1::AXIS_QUERY:
      return ResolvePositions(where.has_positions() ? &where.positions() : nullptr, tokens,
                              sub("positions"), violations);
    case v1::AXIS_KEY:
      return ResolvePositions(where.has_key_positions() ? &where.key_positions() : nullptr, tokens,
                              sub("key_positions"), violations);
    case v1::AXIS_HEAD: {
      const auto heads = ResolveList(where.heads(), config.n_head, sub("heads"), violations);
      if (!heads) return std::nullopt;
      return IndexSet::List({heads->begin(), heads->end()});
    }
    case v1::AXIS_UNIT:
      return ResolveUnits(where.has_units() ? &where.units() : nullptr,
                          UnitSize(site.facts.unit_axis(), config), sub("units"), violations);
    default:
      return std::nullopt;
  }
}

}  // namespace

std::optional<Region> ResolveRegion(const SiteEntry& site, const v1::Selection& where,
                                    const model::Gpt2Config& config,
                                    absl::Span<const int32_t> tokens, const Region* like,
                                    absl::string_view field, Violations& violations) {
  std::vector<IndexSet> axes;
  bool good = true;  // every wrong axis is named
  for (int i = 0; i < site.facts.axes_size(); ++i) {
    const v1::Axis axis = site.facts.axes(i);
    const bool known = like != nullptr && (axis == v1::AXIS_HEAD || axis == v1::AXIS_UNIT);
    std::optional<IndexSet> set =
        known ? like->axis(i) : ResolveAxis(axis, site, where, config, tokens, field, violations);
    if (set) {
      axes.push_back(*std::move(set));
    } else {
      good = false;
    }
  }
  if (!good) return std::nullopt;
  Region region(std::move(axes));
  if (IsAttention(site.facts) && CausalPairs(region) == 0) {
    violations.Add(field,
                   absl::StrCat("selects no (query, key) pair with key <= query at ", site.name));
    return std::nullopt;
  }
  return region;
}

}  // namespace scalpel::spec

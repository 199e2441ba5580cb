// Part of a site's tensor in one row: which indices along each axis.

#ifndef SCALPEL_SERVER_SPEC_SELECTION_H_
#define SCALPEL_SERVER_SPEC_SELECTION_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "proto/scalpel/v1/place.pb.h"
#include "proto/scalpel/v1/site.pb.h"
#include "server/base/violations.h"
#include "server/model/config.h"
#include "server/model/tensor.h"
#include "server/spec/sites.h"

namespace scalpel::spec {

// Indices along one axis, in the order that was said, none twice; never empty. Immutable. Copies
// are cheap: they share their list.
class IndexSet {
 public:
  // `step`: at least 1.
  static IndexSet Arithmetic(int64_t start, int64_t count, int64_t step);
  // `indices`: none twice.
  static IndexSet List(std::vector<int64_t> indices);

  int64_t size() const { return count_; }
  int64_t at(int64_t i) const { return arithmetic() ? start_ + i * step_ : (*list_)[i]; }
  int64_t min() const;
  int64_t max() const;
  std::vector<int64_t> ToVector() const;
  // The same indices in rising order.
  IndexSet Ascending() const;
  // With `offset` taken off every index.
  IndexSet Minus(int64_t offset) const;
  // Whether it is start, start + step, ... with a step of at least 1: then a slice of a tensor
  // shows it without copying.
  bool arithmetic() const { return list_ == nullptr; }
  int64_t start() const { return start_; }
  int64_t step() const { return step_; }
  // What its copies share; nullptr where it is arithmetic.
  const std::vector<int64_t>* list() const { return list_.get(); }

 private:
  int64_t start_ = 0, count_ = 0, step_ = 1;
  std::shared_ptr<const std::vector<int64_t>> list_;
};

// The indices along every axis of a site's tensor, in the site's order of axes: what numpy's
// x[np.ix_(...)] selects. Immutable.
class Region {
 public:
  explicit Region(std::vector<IndexSet> axes) : axes_(std::move(axes)) {}

  const IndexSet& axis(int i) const { return axes_[i]; }
  int rank() const { return static_cast<int>(axes_.size()); }
  std::vector<int64_t> shape() const;
  int64_t elements() const;

  // The selected part of `value` (one row's tensor at the site): a view where it can be, else a
  // copy.
  at::Tensor Read(const at::Tensor& value) const;
  // The same part of a value that begins only at index `first` of an axis.
  Region From(int axis, int64_t first) const;
  // Overwrites the selected part of `value` by `part`, of shape shape().
  void Write(const at::Tensor& value, const at::Tensor& part) const;

 private:
  std::vector<IndexSet> axes_;
};

// For a region of a site [head, query, key]: where key <= query. Bool [queries, keys] on `device`.
at::Tensor CausalMask(const Region& region, at::Device device);
// How many of the region's (query, key) pairs have key <= query.
int64_t CausalPairs(const Region& region);

// ---- resolving what a request says --------------------------------------------------------------
// Each adds what is wrong to `violations` under `field`, and then returns nullopt.

// The index counted from the start of an axis of `size`: a negative one counts from its end. What
// is outside the axis stays outside.
inline int64_t FromStart(int64_t index, int64_t size) { return index < 0 ? index + size : index; }

// What becomes of negative indices in a list.
enum class Negative {
  kFromStart,  // they are counted from the start, and so name the same index as another might
  kKept,  // they stay: the axis differs in length from prompt to prompt, and `size` is the longest
};

// The indices of a list in the order said, none twice, within [-size, size). `list` is not empty.
// Integer: int32_t or int64_t.
template <typename Integer>
std::optional<std::vector<Integer>> ResolveIndexList(
    const google::protobuf::RepeatedField<Integer>& list, int64_t size, Negative negative,
    absl::string_view field, Violations& violations);

// A list of layers, heads or prompts, counted from the start. Empty: all of [0, size).
std::optional<std::vector<int32_t>> ResolveList(
    const google::protobuf::RepeatedField<int32_t>& list, int64_t size, absl::string_view field,
    Violations& violations);

// `units` as given; nullptr: all of [0, size).
std::optional<IndexSet> ResolveUnits(const v1::Units* units, int64_t size, absl::string_view field,
                                     Violations& violations);

// `positions` of a prompt with these tokens; nullptr: all.
std::optional<IndexSet> ResolvePositions(const v1::Positions* positions,
                                         absl::Span<const int32_t> tokens, absl::string_view field,
                                         Violations& violations);

// The indices along an axis, as answers tell them.
void DescribeAxis(v1::Axis axis, const IndexSet& set, v1::AxisIndices* indices);
// Of every axis of a site that `keeps` keeps.
void DescribeAxes(const SiteEntry& site, const Region& region,
                  absl::FunctionRef<bool(v1::Axis)> keeps,
                  google::protobuf::RepeatedPtrField<v1::AxisIndices>* axes);

// The part of `site` that `where` selects in a prompt with these tokens (layers and prompts aside).
// `like`: what it selects in another prompt, or nullptr. Heads and units are the same in every
// prompt: they are taken from there and not resolved again, so that the prompts share their lists.
std::optional<Region> ResolveRegion(const SiteEntry& site, const v1::Selection& where,
                                    const model::Gpt2Config& config,
                                    absl::Span<const int32_t> tokens, const Region* like,
                                    absl::string_view field, Violations& violations);

}  // namespace scalpel::spec

#endif  // SCALPEL_SERVER_SPEC_SELECTION_H_

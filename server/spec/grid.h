// The grid of a sweep: its axes, and the interventions of each of its cells.

#ifndef SCALPEL_SERVER_SPEC_GRID_H_
#define SCALPEL_SERVER_SPEC_GRID_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "proto/scalpel/v1/sweep.pb.h"
#include "server/model/tensor.h"
#include "server/spec/compile.h"

namespace scalpel::spec {

// Immutable.
class ResolvedGrid {
 public:
  // Validates the axes, and what they set, and fills in the names and values of `grid`. The
  // interventions of a cell are valid only when they compile. nullopt after a violation.
  static std::optional<ResolvedGrid> Resolve(Compilation& c, v1::Grid* grid);

  int32_t cells() const { return cells_; }
  // An index into each axis.
  std::vector<int32_t> Coordinates(int32_t cell) const;
  // `layer 3, head 5`.
  std::string CellName(int32_t cell) const;
  void Fill(int32_t cell,
            google::protobuf::RepeatedPtrField<v1::Intervention>* interventions) const;
  // Names and labels of the axes, for the answer.
  void Describe(google::protobuf::RepeatedPtrField<v1::AxisInfo>* axes) const;

 private:
  struct Axis {
    std::string name;
    v1::GridAxis::OverCase over = v1::GridAxis::OVER_NOT_SET;
    std::vector<int32_t> interventions;
    std::vector<int64_t> indices;  // layers, heads, positions
    std::vector<double> values;
    at::Tensor directions;            // [n, units] float32
    std::vector<std::string> labels;  // one for each value
  };

  static std::optional<Axis> ResolveAxis(Compilation& c, const v1::Grid& grid, v1::GridAxis* axis,
                                         const std::string& field);
  static void Set(const Axis& axis, int32_t at, v1::Intervention* intervention);

  google::protobuf::RepeatedPtrField<v1::Intervention> template_;
  std::vector<Axis> axes_;
  int32_t cells_ = 0;
};

}  // namespace scalpel::spec

#endif  // SCALPEL_SERVER_SPEC_GRID_H_

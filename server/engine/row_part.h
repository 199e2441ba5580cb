// Parts of a row's activations, where only its last positions may be computed.

#ifndef SCALPEL_SERVER_ENGINE_ROW_PART_H_
#define SCALPEL_SERVER_ENGINE_ROW_PART_H_

#include "server/model/tap.h"
#include "server/model/tensor.h"
#include "server/spec/selection.h"
#include "server/spec/sites.h"

namespace scalpel::engine {

// A plan's region counts positions from the start of the prompt. `value` begins at its own first
// position, which is never behind the region's: the cone has seen to that. This is the region as
// `value` counts.
inline spec::Region Within(const spec::Region& region, const spec::SiteEntry& site,
                           const model::RowValue& value) {
  return region.From(spec::PositionAxis(site.facts), value.first);
}

// What the region selects: a view where it can be one.
inline at::Tensor ReadPart(const spec::Region& region, const spec::SiteEntry& site,
                           const model::RowValue& value) {
  return Within(region, site, value).Read(value.value);
}

}  // namespace scalpel::engine

#endif  // SCALPEL_SERVER_ENGINE_ROW_PART_H_

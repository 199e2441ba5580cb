// The facts of each site, read from the options on the proto's enum values, and the names that a
// request may use for it.

#ifndef SCALPEL_SERVER_SPEC_SITES_H_
#define SCALPEL_SERVER_SPEC_SITES_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "proto/scalpel/v1/site.pb.h"
#include "server/model/config.h"
#include "server/model/site.h"

namespace scalpel::spec {

struct SiteEntry {
  v1::Site site;
  std::string name;  // `resid_post`
  v1::SiteFacts facts;
};

// Every site, in order of computation. Immutable; lives for the whole program.
absl::Span<const SiteEntry> AllSites();

// nullptr for a number that is no site.
const SiteEntry* FindSite(v1::Site site);

// The facts of a site of the model.
const SiteEntry& EntryOf(model::Site site);

// The same site, as the model names it and as the contract does. `site` is one.
model::Site ToModel(v1::Site site);
v1::Site ToProto(model::Site site);

// Length of AXIS_UNIT; 0 where there is none.
int64_t UnitSize(v1::UnitAxis axis, const model::Gpt2Config& config);

// Which axis of the site's tensor `axis` is; nullopt: the site has no such axis.
std::optional<int> AxisIndex(const v1::SiteFacts& facts, v1::Axis axis);

// True for sites of shape [head, query, key].
inline bool IsAttention(const v1::SiteFacts& facts) {
  return AxisIndex(facts, v1::AXIS_KEY).has_value();
}

// Which axis of the site's tensor counts positions; at attention, those of the queries.
inline int PositionAxis(const v1::SiteFacts& facts) { return IsAttention(facts) ? 1 : 0; }

struct SitePath {
  const SiteEntry* site;
  std::optional<int32_t> layer;  // where the path names one
  bool observe_only = false;     // by this name
};

// Resolves `resid_post`, `blocks.3.attn.hook_k`, `transformer.h.3.attn.c_attn:output` and the like,
// also as nnsight writes them (`model.transformer.h[3].attn.c_attn.output`). INVALID_ARGUMENT says
// what is accepted, and the nearest name.
absl::StatusOr<SitePath> ResolvePath(absl::string_view path);

}  // namespace scalpel::spec

#endif  // SCALPEL_SERVER_SPEC_SITES_H_

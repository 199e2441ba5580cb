// The properties of each site, read from the options of the enum values in site.proto, and the
// names that a request may use for it. All functions are thread-safe.

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
  std::string name;  // the site's own name, such as `resid_post`
  v1::SiteFacts facts;
};

// Returns all sites in order of computation. The span is immutable and valid until the program
// ends.
absl::Span<const SiteEntry> AllSites();

// Returns the entry of a site, valid until the program ends, or nullptr if the number is not a
// site.
const SiteEntry* FindSite(v1::Site site);

// The facts of a site of the model.
const SiteEntry& EntryOf(model::Site site);

// The same site, as the model names it and as the contract does. `site` is one.
model::Site ToModel(v1::Site site);
v1::Site ToProto(model::Site site);

// Returns the length of the site's AXIS_UNIT, or 0 if the site has no such axis.
int64_t UnitSize(v1::UnitAxis axis, const model::Gpt2Config& config);

// Returns the index of `axis` among the axes of the site's tensor, or nullopt if it has no such
// axis.
std::optional<int> AxisIndex(const v1::SiteFacts& facts, v1::Axis axis);

// Returns true for the sites of shape [head, query, key].
inline bool IsAttention(const v1::SiteFacts& facts) {
  return AxisIndex(facts, v1::AXIS_KEY).has_value();
}

// Returns the index of the axis of positions; at attention sites, of the queries' positions.
inline int PositionAxis(const v1::SiteFacts& facts) { return IsAttention(facts) ? 1 : 0; }

// What a path in a request means.
struct SitePath {
  const SiteEntry* site;         // never nullptr
  std::optional<int32_t> layer;  // if the path names one
  bool observe_only = false;     // whether the site cannot be edited under this name
};

// Resolves the path of a site: its own name (`resid_post`), TransformerLens'
// (`blocks.3.attn.hook_k`), HuggingFace's (`transformer.h.3.attn.c_attn:output`) or nnsight's
// (`model.transformer.h[3].attn.c_attn.output`). Does not check that the model has the layer.
// INVALID_ARGUMENT if there is no such site; the message says what is accepted and suggests a
// similar name.
absl::StatusOr<SitePath> ResolvePath(absl::string_view path);

}  // namespace scalpel::spec

#endif  // SCALPEL_SERVER_SPEC_SITES_H_

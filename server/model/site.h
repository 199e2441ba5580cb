// The places of the forward pass that a Tap can see. Their order is that of the computation: of two
// sites of a layer, the smaller one comes first. scalpel.v1.Site has the same sites, with numbers
// of its own, and with the axes and names of each; spec/sites.cc holds the two together.

#ifndef SCALPEL_SERVER_MODEL_SITE_H_
#define SCALPEL_SERVER_MODEL_SITE_H_

#include <cstdint>

namespace scalpel::model {

// T: tokens of a row; d: d_model; H, dh: heads and d_head; F: d_mlp; V: vocabulary.
enum class Site : int32_t {
  kEmbed,       // [T, d]
  kPosEmbed,    // [T, d]
  kResidPre,    // [T, d]
  kLn1In,       // [T, d]
  kLn1Scale,    // [T, 1]
  kLn1Out,      // [T, d]
  kQkv,         // [T, 3d]
  kQ,           // [T, H, dh]
  kK,           // [T, H, dh]
  kV,           // [T, H, dh]
  kAttnScores,  // [H, T, T]
  kPattern,     // [H, T, T]
  kZ,           // [T, H, dh]
  kHeadResult,  // [T, H, d]
  kAttnOut,     // [T, d]
  kResidMid,    // [T, d]
  kLn2In,       // [T, d]
  kLn2Scale,    // [T, 1]
  kLn2Out,      // [T, d]
  kMlpPre,      // [T, F]
  kMlpPost,     // [T, F]
  kMlpOut,      // [T, d]
  kResidPost,   // [T, d]
  kLnFIn,       // [T, d]
  kLnFScale,    // [T, 1]
  kLnFOut,      // [T, d]
  kLogits,      // [T, V]
};
inline constexpr int32_t kSites = static_cast<int32_t>(Site::kLogits) + 1;

// The layer of sites that have none: the embeddings come before layer 0, but are not in it.
inline constexpr int32_t kNoLayer = -1;

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_SITE_H_

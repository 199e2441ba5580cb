// The sites: the intermediate results of the forward pass that a Tap can observe or edit. Their
// numbers follow the order of computation within a layer. scalpel.v1.Site has the same sites under
// its own numbers; spec/sites.cc maps one to the other.

#ifndef SCALPEL_SERVER_MODEL_SITE_H_
#define SCALPEL_SERVER_MODEL_SITE_H_

#include <cstdint>

namespace scalpel::model {

// The comments give the shape of each site's tensor for one row. T: tokens of the row; d: d_model;
// H, dh: n_head and d_head; F: d_mlp; V: vocab_size.
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

// The layer number of sites outside all layers, such as the embeddings and the logits.
inline constexpr int32_t kNoLayer = -1;

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_SITE_H_

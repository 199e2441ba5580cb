// The places of the forward pass that a Tap can see, in order of computation. The numbers are those
// of scalpel.v1.Site, where the axes and names of each site are written down (checked at compile
// time in spec/sites.cc).

#ifndef SCALPEL_SERVER_MODEL_SITE_H_
#define SCALPEL_SERVER_MODEL_SITE_H_

#include <cstdint>

namespace scalpel::model {

// T: tokens of a row; d: d_model; H, dh: heads and d_head; F: d_mlp; V: vocabulary.
enum class Site : int32_t {
  kEmbed = 1,        // [T, d]
  kPosEmbed = 2,     // [T, d]
  kResidPre = 3,     // [T, d]
  kLn1Scale = 4,     // [T, 1]
  kLn1Out = 5,       // [T, d]
  kQkv = 6,          // [T, 3d]
  kQ = 7,            // [T, H, dh]
  kK = 8,            // [T, H, dh]
  kV = 9,            // [T, H, dh]
  kAttnScores = 10,  // [H, T, T]
  kPattern = 11,     // [H, T, T]
  kZ = 12,           // [T, H, dh]
  kHeadResult = 13,  // [T, H, d]
  kAttnOut = 14,     // [T, d]
  kResidMid = 15,    // [T, d]
  kLn2Scale = 16,    // [T, 1]
  kLn2Out = 17,      // [T, d]
  kMlpPre = 18,      // [T, F]
  kMlpPost = 19,     // [T, F]
  kMlpOut = 20,      // [T, d]
  kResidPost = 21,   // [T, d]
  kLnFScale = 22,    // [T, 1]
  kLnFOut = 23,      // [T, d]
  kLogits = 24,      // [T, V]
};

// The layer of sites that have none: the embeddings come before layer 0, but are not in it.
inline constexpr int32_t kNoLayer = -1;

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_SITE_H_

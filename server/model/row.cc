#include "server/model/row.h"

namespace scalpel::model {

EntryPoint EntryPointOf(const Stop& stop) {
  switch (stop.site) {
    case Site::kEmbed:
    case Site::kPosEmbed:
      return {kNoLayer, Door::kBlock};
    case Site::kResidPre:
    case Site::kLn1In:
    case Site::kLn1Scale:
    case Site::kLn1Out:
    case Site::kQkv:
    case Site::kQ:
    case Site::kK:
    case Site::kV:
    case Site::kAttnScores:
    case Site::kPattern:
      return {stop.layer, Door::kBlock};
    case Site::kZ:
    case Site::kHeadResult:
    case Site::kAttnOut:
    case Site::kResidMid:
    case Site::kLn2In:
    case Site::kLn2Scale:
    case Site::kLn2Out:
    case Site::kMlpPre:
    case Site::kMlpPost:
    case Site::kMlpOut:
      return {stop.layer, Door::kOutput};
    case Site::kResidPost:
      return {stop.layer, Door::kEnd};
    case Site::kLnFIn:
    case Site::kLnFScale:
    case Site::kLnFOut:
    case Site::kLogits:
      return {stop.layer - 1, Door::kEnd};
  }
  return {kNoLayer, Door::kBlock};
}

at::Tensor CleanValue(const CleanState& clean, Site site, int32_t layer, int64_t length) {
  const auto known = [&](const std::vector<at::Tensor>& list, int32_t i) {
    return i >= 0 && i < static_cast<int32_t>(list.size()) && clean.length() >= length
               ? list[i]
               : at::Tensor();
  };
  at::Tensor value;
  switch (site) {
    case Site::kResidPre:
    case Site::kLn1In:
      value = known(clean.resid, layer);
      return value.defined() ? value.narrow(0, 0, length) : value;
    case Site::kResidPost:
      value = known(clean.resid, layer + 1);
      return value.defined() ? value.narrow(0, 0, length) : value;
    case Site::kK:
    case Site::kV:
      value = known(site == Site::kK ? clean.k : clean.v, layer);
      return value.defined() ? value.narrow(0, 0, length) : value;
    case Site::kZ:
      value = known(clean.z, layer);
      return value.defined() ? value.narrow(0, 0, length).unflatten(1, {clean.k[layer].size(1), -1})
                             : value;
    default:
      return value;
  }
}

}  // namespace scalpel::model

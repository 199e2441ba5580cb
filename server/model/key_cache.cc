#include "server/model/key_cache.h"

#include <algorithm>

namespace scalpel::model {

KeyCache::KeyCache(const Gpt2Config& config, int64_t capacity)
    : capacity_(capacity),
      n_head_(config.n_head),
      d_head_(config.d_head),
      keys_(config.n_layer),
      values_(config.n_layer) {}

int64_t KeyCache::Bytes(const Gpt2Config& config, int64_t capacity) {
  return 2 * config.n_layer * capacity * config.d_model * static_cast<int64_t>(sizeof(float));
}

void KeyCache::Put(int32_t layer, int64_t first, const at::Tensor& keys, const at::Tensor& values) {
  if (!keys_[layer].defined()) {
    keys_[layer] = at::empty({capacity_, n_head_, d_head_}, keys.options());
    values_[layer] = at::empty_like(keys_[layer]);
  }
  keys_[layer].narrow(0, first, keys.size(0)).copy_(keys);
  values_[layer].narrow(0, first, values.size(0)).copy_(values);
}

void KeyCache::PutClean(const CleanState& clean, int64_t length) {
  const int64_t known = std::min(length, clean.length());
  for (int32_t layer = 0; layer < clean.depth(); ++layer)
    Put(layer, 0, clean.k[layer].narrow(0, 0, known), clean.v[layer].narrow(0, 0, known));
}

void KeyCache::PutAll(const KeyCache& other, int64_t length) {
  for (size_t layer = 0; layer < keys_.size(); ++layer) {
    Put(static_cast<int32_t>(layer), 0, other.keys_[layer].narrow(0, 0, length),
        other.values_[layer].narrow(0, 0, length));
  }
}

std::shared_ptr<const CleanState> KeyCache::Beginning(absl::Span<const int32_t> tokens) const {
  const auto length = static_cast<int64_t>(tokens.size());
  auto state = std::make_shared<CleanState>();
  state->tokens.assign(tokens.begin(), tokens.end());
  for (size_t layer = 0; layer < keys_.size(); ++layer) {
    state->k.push_back(keys_[layer].narrow(0, 0, length));
    state->v.push_back(values_[layer].narrow(0, 0, length));
  }
  return state;
}

}  // namespace scalpel::model

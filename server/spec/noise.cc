#include "server/spec/noise.h"

#include <array>
#include <cmath>
#include <numbers>
#include <vector>

#include "server/spec/philox.h"

namespace scalpel::spec {
namespace {

// Returns the four normals of one counter.
std::array<double, 4> Normals(const NoiseKey& key, uint32_t block, uint32_t position) {
  const std::array<uint32_t, 4> random = Philox(
      key.seed, {block, position,
                 static_cast<uint32_t>(key.layer + 1) | static_cast<uint32_t>(key.prompt) << 16,
                 static_cast<uint32_t>(key.intervention)});
  std::array<double, 4> u, z;
  for (int i = 0; i < 4; ++i) u[i] = (random[i] + 0.5) * 0x1p-32;  // in (0, 1)
  for (int i = 0; i < 4; i += 2) {
    const double radius = std::sqrt(-2.0 * std::log(u[i]));
    z[i] = radius * std::cos(2.0 * std::numbers::pi * u[i + 1]);
    z[i + 1] = radius * std::sin(2.0 * std::numbers::pi * u[i + 1]);
  }
  return z;
}

}  // namespace

at::Tensor NoiseTensor(const NoiseKey& key, double mean, double std, const SiteEntry& site,
                       const Region& region, int64_t inner) {
  // The numbers of the selected elements of a position, in the order of the region's other axes.
  const bool attention = IsAttention(site.facts);
  const int position_axis = attention ? 1 : 0;
  std::vector<int64_t> elements;
  if (region.rank() == 2) {
    elements = region.axis(1).ToVector();
  } else {
    const IndexSet& head_axis = region.axis(attention ? 0 : 1);
    const IndexSet& inner_axis = region.axis(2);
    for (int64_t h = 0; h < head_axis.size(); ++h) {
      for (int64_t i = 0; i < inner_axis.size(); ++i)
        elements.push_back(head_axis.at(h) * inner + inner_axis.at(i));
    }
  }
  const int64_t positions = region.axis(position_axis).size();
  at::Tensor out = at::empty({positions, static_cast<int64_t>(elements.size())}, at::kFloat);
  float* values = out.data_ptr<float>();
  for (int64_t p = 0; p < positions; ++p) {
    int64_t block = -1;
    std::array<double, 4> normals{};
    for (const int64_t element : elements) {
      if (element / 4 != block) {
        block = element / 4;
        normals = Normals(key, static_cast<uint32_t>(block),
                          static_cast<uint32_t>(region.axis(position_axis).at(p)));
      }
      *values++ = static_cast<float>(mean + std * normals[element % 4]);
    }
  }
  if (!attention) return out.view(region.shape());
  const auto shape = region.shape();
  return out.view({shape[1], shape[0], shape[2]}).transpose(0, 1);
}

}  // namespace scalpel::spec

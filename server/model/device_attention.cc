#include "server/model/device_attention.h"

#include <algorithm>
#include <limits>

namespace scalpel::model {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
// The number of keys of all rows of a group. It is small enough that the group's copies of queries,
// keys and values stay in the cache.
constexpr int64_t kGroupTokensMax = 1024;

at::Tensor FutureOf(const at::Tensor& qkv) {
  return at::ones({kQueryBlock, kQueryBlock}, qkv.options().dtype(at::kBool)).triu_(1);
}

// Copies columns [column, column + d) of each entry of a packed tensor to `heads`, [entries, H,
// positions, dh], whose first position is `origin`. Consecutive entries with equal positions take
// one copy.
void CopyToHeads(const at::Tensor& packed, int64_t column, absl::Span<const Packing::Entry> entries,
                 int64_t origin, const at::Tensor& heads) {
  const int64_t n_head = heads.size(1), d_head = heads.size(3);
  for (size_t begin = 0, end; begin < entries.size(); begin = end) {
    const Packing::Entry& entry = entries[begin];
    const int64_t tokens = entry.tokens();
    for (end = begin + 1; end < entries.size(); ++end) {
      const int64_t next = entry.offset + static_cast<int64_t>(end - begin) * tokens;
      if (entries[end].first != entry.first || entries[end].length != entry.length ||
          entries[end].offset != next)
        break;
    }
    const int64_t count = static_cast<int64_t>(end - begin);
    heads.narrow(0, static_cast<int64_t>(begin), count)
        .narrow(2, entry.first - origin, tokens)
        .copy_(packed.narrow(0, entry.offset, count * tokens)
                   .narrow(1, column, n_head * d_head)
                   .view({count, tokens, n_head, d_head})
                   .transpose(1, 2));
  }
}

// Copies the positions before each entry's first one from its clean run to `heads`, [entries, H,
// positions, dh]. Consecutive entries that share a clean run, as in a sweep, take one copy.
void CopyCleanKeys(absl::Span<const Packing::Entry> entries,
                   absl::FunctionRef<at::Tensor(int32_t row)> clean, const at::Tensor& heads) {
  for (size_t begin = 0, end; begin < entries.size(); begin = end) {
    end = begin + 1;
    const int64_t positions = entries[begin].first;
    if (positions == 0) continue;
    const at::Tensor of_row = clean(entries[begin].row),
                     source = of_row.transpose(0, 1);  // [H, T, dh]
    while (end < entries.size() && entries[end].first == positions &&
           clean(entries[end].row).is_same(of_row)) {
      ++end;
    }
    heads.narrow(0, static_cast<int64_t>(begin), static_cast<int64_t>(end - begin))
        .narrow(2, 0, positions)
        .copy_(source.narrow(1, 0, positions).unsqueeze(0));
  }
}

}  // namespace

DeviceAttention::DeviceAttention(const Gpt2Config& config, int32_t layer, const Packing& keys,
                                 const Packing& queries, const at::Tensor& qkv,
                                 absl::FunctionRef<at::Tensor(int32_t row, int which)> clean_keys)
    : config_(config), layer_(layer), keys_(keys), queries_(queries), future_(FutureOf(qkv)) {
  MakeGroups();
  for (Group& group : groups_) Gather(group, qkv, clean_keys);
}

void DeviceAttention::MakeGroups() {
  const auto& entries = queries_.entries();
  for (size_t i = 0; i < entries.size(); ++i) {
    const int64_t first_block = entries[i].first_block(), blocks = entries[i].blocks();
    const bool fits =
        !groups_.empty() && groups_.back().first_block == first_block &&
        groups_.back().blocks == blocks &&
        static_cast<int64_t>(groups_.back().count + 1) * blocks * kQueryBlock <= kGroupTokensMax;
    if (!fits) groups_.push_back({i, 0, first_block, blocks, {}, {}, {}});
    ++groups_.back().count;
  }
}

void DeviceAttention::Gather(
    Group& group, const at::Tensor& qkv,
    absl::FunctionRef<at::Tensor(int32_t row, int which)> clean_keys) const {
  const auto queries = absl::MakeConstSpan(queries_.entries()).subspan(group.begin, group.count);
  std::vector<Packing::Entry> keys, asked;  // where in `qkv` each row's keys and queries are
  for (const Packing::Entry& query : queries) {
    keys.push_back(*keys_.Find(query.row));
    asked.push_back({query.row, query.first, query.length,
                     keys.back().offset + query.first - keys.back().first});
  }
  const int64_t count = static_cast<int64_t>(group.count), origin = group.first_block * kQueryBlock;
  const bool full_keys = std::all_of(queries.begin(), queries.end(), [](const auto& query) {
    return query.length % kQueryBlock == 0;
  });
  const bool full_queries =
      full_keys && std::all_of(queries.begin(), queries.end(),
                               [](const auto& query) { return query.first % kQueryBlock == 0; });
  const auto heads = [&](int64_t positions, bool full) {
    const std::vector<int64_t> shape = {count, config_.n_head, positions, config_.d_head};
    return full ? at::empty(shape, qkv.options()) : at::zeros(shape, qkv.options());
  };
  const at::Tensor q = heads(group.blocks * kQueryBlock - origin, full_queries);
  CopyToHeads(qkv, 0, asked, origin, q);
  at::Tensor keys_and_values[2];
  for (int which : {0, 1}) {
    at::Tensor& all = keys_and_values[which];
    all = heads(group.blocks * kQueryBlock, full_keys);
    CopyToHeads(qkv, (which + 1) * config_.d_model, keys, 0, all);
    CopyCleanKeys(
        keys, [&](int32_t row) { return clean_keys(row, which); }, all);
  }
  group.q = q.flatten(0, 1);
  group.k = keys_and_values[0].flatten(0, 1);
  group.v = keys_and_values[1].flatten(0, 1);
}

at::Tensor DeviceAttention::Scores(const Group& group, int64_t block) const {
  const at::Tensor q = group.q.narrow(1, (block - group.first_block) * kQueryBlock, kQueryBlock);
  const at::Tensor k = group.k.narrow(1, 0, (block + 1) * kQueryBlock).transpose(1, 2);
  const ScoreScale scale = ScoreScaleOf(config_, layer_);
  at::Tensor scores = at::bmm(scale.query_factor == 1 ? q : q * scale.query_factor, k);
  if (scale.divisor != 1) scores.div_(scale.divisor);
  if (scale.layer_divisor != 1) scores.div_(scale.layer_divisor);
  scores.narrow(2, block * kQueryBlock, kQueryBlock).masked_fill_(future_, kMinusInfinity);
  return scores;
}

void DeviceAttention::Mix(const Group& group, int64_t block, const at::Tensor& pattern,
                          at::Tensor& mixed) const {
  mixed.narrow(1, (block - group.first_block) * kQueryBlock, kQueryBlock)
      .copy_(at::bmm(pattern, group.v.narrow(1, 0, (block + 1) * kQueryBlock)));
}

void DeviceAttention::Scatter(const Group& group, const at::Tensor& mixed, at::Tensor& z) const {
  const int64_t origin = group.first_block * kQueryBlock;
  const at::Tensor rows = mixed.unflatten(0, {-1, config_.n_head});  // [count, H, queries, dh]
  for (size_t i = 0; i < group.count;) {
    const Packing::Entry& entry = queries_.entries()[group.begin + i];
    const size_t alike = std::min(queries_.EqualFrom(group.begin + i), group.count - i);
    const int64_t count = static_cast<int64_t>(alike), tokens = entry.tokens();
    z.narrow(0, entry.offset, count * tokens)
        .view({count, tokens, config_.n_head, config_.d_head})
        .copy_(rows.narrow(0, static_cast<int64_t>(i), count)
                   .narrow(2, entry.first - origin, tokens)
                   .transpose(1, 2));
    i += alike;
  }
}

at::Tensor DeviceAttention::Run() {
  at::Tensor z =
      at::empty({queries_.tokens(), config_.d_model}, future_.options().dtype(at::kFloat));
  for (Group& group : groups_) {
    at::Tensor mixed = at::empty_like(group.q);
    for (int64_t block = group.first_block; block < group.blocks; ++block)
      Mix(group, block, at::softmax(Scores(group, block), -1), mixed);
    Scatter(group, mixed, z);
  }
  return z;
}

at::Tensor DeviceAttention::BlockOf(const Group& group, const at::Tensor& whole,
                                    int64_t block) const {
  return whole.narrow(1, (block - group.first_block) * kQueryBlock, kQueryBlock)
      .narrow(2, 0, (block + 1) * kQueryBlock);
}

at::Tensor DeviceAttention::RowOf(const std::vector<at::Tensor>& wholes, int32_t row) const {
  for (size_t g = 0; g < groups_.size(); ++g) {
    for (size_t i = 0; i < groups_[g].count; ++i) {
      const Packing::Entry& entry = queries_.entries()[groups_[g].begin + i];
      if (entry.row != row) continue;
      return wholes[g]
          .narrow(0, static_cast<int64_t>(i) * config_.n_head, config_.n_head)
          .narrow(1, entry.first - groups_[g].first_block * kQueryBlock, entry.tokens());
    }
  }
  return {};
}

at::Tensor DeviceAttention::RunVisited(const AttentionVisits& visits) {
  // A patch may read from one group and write to another. So a site is finished for all groups
  // before the next step begins for any.
  std::vector<at::Tensor> scores, patterns;  // by group, [count * H, queries, keys]
  for (const Group& group : groups_) {
    const int64_t keys = group.blocks * kQueryBlock;
    scores.push_back(
        at::full({group.q.size(0), group.q.size(1), keys}, kMinusInfinity, group.q.options()));
    patterns.push_back(at::zeros_like(scores.back()));
    for (int64_t block = group.first_block; block < group.blocks; ++block)
      BlockOf(group, scores.back(), block).copy_(Scores(group, block));
  }
  const auto row_view = [&](const std::vector<at::Tensor>& wholes, int32_t row) {
    return RowOf(wholes, row).narrow(2, 0, queries_.Find(row)->length);
  };
  visits.scores([&](int32_t row) { return row_view(scores, row); });
  for (size_t g = 0; g < groups_.size(); ++g) {
    const Group& group = groups_[g];
    for (int64_t block = group.first_block; block < group.blocks; ++block) {
      const at::Tensor whole = BlockOf(group, scores[g], block).contiguous();
      BlockOf(group, patterns[g], block).copy_(at::softmax(whole, -1));
    }
    for (size_t i = 0; i < group.count; ++i) {
      const int32_t row = queries_.entries()[group.begin + i].row;
      if (!visits.edits_scores(row)) continue;
      // If all keys of a query were knocked out, it attends to nothing; softmax gives NaN instead.
      const at::Tensor pattern = RowOf(patterns, row);
      pattern.masked_fill_((RowOf(scores, row) == kMinusInfinity).all(-1, /*keepdim=*/true), 0);
    }
  }
  scores.clear();
  visits.pattern([&](int32_t row) { return row_view(patterns, row); });
  at::Tensor z =
      at::empty({queries_.tokens(), config_.d_model}, future_.options().dtype(at::kFloat));
  for (size_t g = 0; g < groups_.size(); ++g) {
    const Group& group = groups_[g];
    at::Tensor mixed = at::empty_like(group.q);
    for (int64_t block = group.first_block; block < group.blocks; ++block)
      Mix(group, block, BlockOf(group, patterns[g], block).contiguous(), mixed);
    Scatter(group, mixed, z);
  }
  return z;
}

}  // namespace scalpel::model

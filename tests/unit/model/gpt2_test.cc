#include "server/model/gpt2.h"

#include <c10/core/InferenceMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>
#include <numeric>
#include <set>
#include <utility>

#include "server/spec/sites.h"
#include "tests/unit/support/tiny.h"

namespace scalpel::model {
namespace {

using test::Distance;
using test::SameBits;
using test::TinyConfig;
using test::TinyGpt2;
using ::testing::ElementsAre;

using Prompts = std::vector<std::vector<int32_t>>;
using Key = std::tuple<Site, int32_t, int32_t>;  // site, layer, row

// One site in all rows.
struct SiteValue {
  Site site;
  std::vector<at::Tensor> rows;
};

// Copies what it sees, and edits where it is told to.
class Recorder : public Tap {
 public:
  using Edit = std::function<void(const SiteValue&, int32_t layer)>;

  // `wants`: absent, nothing.
  explicit Recorder(std::function<bool(Site)> wants = nullptr, Edit edit = nullptr)
      : wants_(std::move(wants)), edit_(std::move(edit)) {}

  bool Wants(Site site, int32_t) const override { return wants_ && wants_(site); }
  bool Wants(Site site, int32_t layer, int32_t) const override { return Wants(site, layer); }
  bool Edits(Site site, int32_t layer, int32_t) const override {
    return edit_ && Wants(site, layer);
  }
  void Visit(absl::Span<const Site> sites, int32_t layer, RowOf row_of) override {
    for (const Site site : sites) {
      SiteValue value{site, {}};
      for (int32_t row = 0; row < rows_; ++row) value.rows.push_back(row_of(site, row).value);
      if (edit_) edit_(value, layer);
      ++visits_[{site, layer}];
      for (int32_t row = 0; row < rows_; ++row) seen_[{site, layer, row}] = value.rows[row].clone();
    }
  }
  bool Changed(int32_t) const override { return edit_ != nullptr; }
  bool LayerDone(int32_t layer) override {
    done_.push_back(layer);
    return layer != last_;
  }
  bool Needs(int32_t) const override { return true; }

  at::Tensor At(Site site, int32_t layer, int32_t row = 0) const {
    return seen_.at({site, layer, row});
  }

  int32_t rows_ = 0;
  std::map<Key, at::Tensor> seen_;
  std::map<std::pair<Site, int32_t>, int> visits_;
  std::vector<int32_t> done_;
  int32_t last_ = 1000;  // stops behind this layer

 private:
  std::function<bool(Site)> wants_;
  Edit edit_;
};

bool Everything(Site) { return true; }

// Rows that are computed whole. Logits come back at all positions where `positions` is empty.
std::vector<Row> WholeRows(const Gpt2& gpt2, const Prompts& prompts,
                           const std::vector<std::vector<int64_t>>& positions = {}) {
  std::vector<Row> rows;
  for (const auto& prompt : prompts) {
    Row row{.tokens = prompt,
            .clean = nullptr,
            .stops = {{kNoLayer, Site::kEmbed}},
            .last = {static_cast<int32_t>(gpt2.config().n_layer), Site::kLogits},
            .logit_positions = {}};
    if (positions.empty()) {
      row.logit_positions.resize(prompt.size());
      std::iota(row.logit_positions.begin(), row.logit_positions.end(), 0);
    } else {
      row.logit_positions = positions[rows.size()];
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

// Logits by row.
std::optional<std::vector<at::Tensor>> Forward(
    const Gpt2& gpt2, const Prompts& prompts, Recorder& tap,
    const std::vector<std::vector<int64_t>>& positions = {}) {
  const c10::InferenceMode inference_only;
  tap.rows_ = static_cast<int32_t>(prompts.size());
  const auto answers = gpt2.Forward(WholeRows(gpt2, prompts, positions), tap);
  if (!answers) return std::nullopt;
  std::vector<at::Tensor> logits;
  for (const RowAnswer& answer : *answers) logits.push_back(answer.logits);
  return logits;
}

std::vector<at::Tensor> AllLogits(const Gpt2& gpt2, const Prompts& prompts) {
  Recorder nobody;
  return *Forward(gpt2, prompts, nobody);
}

const Prompts kPrompts = {{1, 2, 3, 4, 5}, {6, 7}, {8, 9, 10, 11, 12}, {13}, {14, 15, 16}};

// The model written out in double precision, one row at a time, from the paper.
at::Tensor Reference(const Gpt2Config& config, const Weights& weights,
                     const std::vector<int32_t>& prompt) {
  const auto d = [](const at::Tensor& t) { return t.to(at::kDouble); };
  const auto norm = [&](const at::Tensor& x, const LayerNormWeights& w) {
    const at::Tensor centered = x - x.mean(-1, true);
    return centered / (centered.square().mean(-1, true) + config.layer_norm_epsilon).sqrt() *
               d(w.gain) +
           d(w.bias);
  };
  const auto linear = [&](const at::Tensor& x, const LinearWeights& w) {
    return at::mm(x, d(w.weight)) + d(w.bias);
  };
  const int64_t length = static_cast<int64_t>(prompt.size());
  const at::Tensor seen = at::ones({length, length}, at::kBool).tril();
  at::Tensor x = d(weights.wte).index_select(0, at::tensor(prompt, at::kInt)) +
                 d(weights.wpe).narrow(0, 0, length);
  for (int64_t layer = 0; layer < config.n_layer; ++layer) {
    const BlockWeights& block = weights.blocks[layer];
    const auto qkv = linear(norm(x, block.ln1), block.qkv).chunk(3, 1);
    std::vector<at::Tensor> heads;
    for (int64_t h = 0; h < config.n_head; ++h) {
      const auto part = [&](int i) { return qkv[i].narrow(1, h * config.d_head, config.d_head); };
      at::Tensor scores = at::mm(part(0), part(1).t());
      if (config.scale_attn_weights) scores = scores / std::sqrt(config.d_head);
      if (config.scale_attn_by_inverse_layer_idx) scores = scores / (layer + 1.0);
      heads.push_back(at::mm(scores.masked_fill(~seen, -INFINITY).softmax(-1), part(2)));
    }
    x = x + linear(at::cat(heads, 1), block.attn_out);
    x = x + linear(at::gelu(linear(norm(x, block.ln2), block.mlp_in), "tanh"), block.mlp_out);
  }
  return at::mm(norm(x, weights.ln_f), d(weights.lm_head).t());
}

TEST(Forward, EqualsTheReferenceUnderEveryFlag) {
  std::vector<at::Tensor> answers;
  for (int flags = 0; flags < 16; ++flags) {
    Gpt2Config config = TinyConfig();
    config.scale_attn_weights = flags & 1;
    config.scale_attn_by_inverse_layer_idx = flags & 2;
    config.reorder_and_upcast_attn = flags & 4;
    config.tie_word_embeddings = flags & 8;
    // Ten times the usual weights: otherwise attention is so flat that its scale hardly shows.
    Weights weights = RandomWeights(config, 3);
    for (BlockWeights& block : weights.blocks) block.qkv.weight.mul_(10);
    const at::Tensor expected = Reference(config, weights, kPrompts[0]);
    const Gpt2 gpt2(config, std::move(weights), at::kCPU);
    answers.push_back(AllLogits(gpt2, kPrompts)[0]);
    EXPECT_LT(Distance(answers.back(), expected), 1e-5) << "flags " << flags;
  }
  int other_roundings = 0;
  for (int flags = 0; flags < 16; ++flags) {
    EXPECT_GT(Distance(answers[flags], answers[flags ^ 1]), 1e-4) << flags;
    EXPECT_GT(Distance(answers[flags], answers[flags ^ 2]), 1e-4) << flags;
    EXPECT_LT(Distance(answers[flags], answers[flags ^ 4]), 1e-5) << flags;  // only roundings
    other_roundings += !SameBits(answers[flags], answers[flags ^ 4]);
    EXPECT_GT(Distance(answers[flags], answers[flags ^ 8]), 1e-4) << flags;
  }
  EXPECT_GT(other_roundings, 0);
}

TEST(Forward, ActivationAndEpsilonChangeTheResult) {
  const at::Tensor base = AllLogits(TinyGpt2(), kPrompts)[0];
  Gpt2Config relu = TinyConfig(), loose = TinyConfig();
  relu.activation = Activation::kRelu;
  loose.layer_norm_epsilon = 0.1;
  for (const Gpt2Config& config : {relu, loose}) {
    EXPECT_GT(
        Distance(AllLogits(Gpt2(config, RandomWeights(config, 7), at::kCPU), kPrompts)[0], base),
        1e-4);
  }
}

TEST(Forward, PackedRowsEqualEachRowAloneBitForBit) {
  const std::vector<at::Tensor> together = AllLogits(TinyGpt2(), kPrompts);
  for (size_t row = 0; row < kPrompts.size(); ++row) {
    EXPECT_TRUE(SameBits(AllLogits(TinyGpt2(), {kPrompts[row]})[0], together[row]))
        << "row " << row;
  }
  const Prompts reversed(kPrompts.rbegin(), kPrompts.rend());
  const std::vector<at::Tensor> other = AllLogits(TinyGpt2(), reversed);
  for (size_t row = 0; row < kPrompts.size(); ++row) {
    EXPECT_TRUE(SameBits(other[kPrompts.size() - 1 - row], together[row])) << "row " << row;
  }
}

TEST(Forward, LogitsDoNotDependOnLaterTokens) {
  const at::Tensor whole = AllLogits(TinyGpt2(), {{1, 2, 3, 4, 5}})[0];
  const at::Tensor changed = AllLogits(TinyGpt2(), {{1, 2, 3, 50, 51}})[0];
  EXPECT_TRUE(SameBits(whole.narrow(0, 0, 3), changed.narrow(0, 0, 3)));
  EXPECT_GT(Distance(whole[3], changed[3]), 1e-3);
}

TEST(Forward, SelectedLogitsEqualThoseOfAllPositionsBitForBit) {
  const std::vector<at::Tensor> all = AllLogits(TinyGpt2(), kPrompts);
  Recorder nobody;
  const auto some = *Forward(TinyGpt2(), kPrompts, nobody, {{0, 4}, {}, {2}, {0}, {}});
  EXPECT_TRUE(SameBits(some[0], at::stack({all[0][0], all[0][4]})));
  EXPECT_FALSE(some[1].defined());
  EXPECT_TRUE(SameBits(some[2], all[2].narrow(0, 2, 1)));
  EXPECT_TRUE(SameBits(some[3], all[3]));
  const auto none = *Forward(TinyGpt2(), kPrompts, nobody, std::vector<std::vector<int64_t>>(5));
  for (const at::Tensor& row : none) EXPECT_FALSE(row.defined());
}

TEST(Forward, ObservingEverythingChangesNoBit) {
  Recorder everything(Everything);
  const auto seen = *Forward(TinyGpt2(), kPrompts, everything);
  const auto unseen = AllLogits(TinyGpt2(), kPrompts);
  for (size_t row = 0; row < kPrompts.size(); ++row) EXPECT_TRUE(SameBits(seen[row], unseen[row]));
}

// The lengths that a site's axes promise in one row of `length` tokens.
std::vector<int64_t> PromisedSizes(const v1::SiteFacts& facts, int64_t length) {
  std::vector<int64_t> sizes;
  for (const int axis : facts.axes()) {
    if (axis == v1::AXIS_HEAD) {
      sizes.push_back(TinyConfig().n_head);
    } else if (axis == v1::AXIS_UNIT) {
      sizes.push_back(spec::UnitSize(facts.unit_axis(), TinyConfig()));
    } else {
      sizes.push_back(length);
    }
  }
  return sizes;
}

TEST(Forward, EverySiteIsVisitedOnceAndHasTheSizesOfItsAxes) {
  Recorder everything(Everything);
  ASSERT_TRUE(Forward(TinyGpt2(), kPrompts, everything));
  size_t fired = 0;
  for (const spec::SiteEntry& entry : spec::AllSites()) {
    const int32_t layers = entry.facts.per_layer() ? TinyConfig().n_layer : 1;
    for (int32_t i = 0; i < layers; ++i, ++fired) {
      const int32_t layer = entry.facts.per_layer() ? i : kNoLayer;
      EXPECT_EQ((everything.visits_[{spec::ToModel(entry.site), layer}]), 1) << entry.name;
      for (size_t row = 0; row < kPrompts.size(); ++row) {
        EXPECT_EQ(everything.At(spec::ToModel(entry.site), layer, row).sizes().vec(),
                  PromisedSizes(entry.facts, kPrompts[row].size()))
            << entry.name;
      }
    }
  }
  EXPECT_EQ(everything.visits_.size(), fired);  // and nothing else fires
}

// Editable sites reach what follows them; the others do not.
TEST(Forward, OnlyEditableSitesAffectWhatFollows) {
  const at::Tensor clean = AllLogits(TinyGpt2(), {kPrompts[0]})[0];
  for (const spec::SiteEntry& entry : spec::AllSites()) {
    const Site site = spec::ToModel(entry.site);
    Recorder editor([site](Site s) { return s == site; },
                    [site](const SiteValue& value, int32_t) {
                      if (value.site == site) value.rows[0].mul_(3);
                    });
    const at::Tensor edited = (*Forward(TinyGpt2(), {kPrompts[0]}, editor))[0];
    EXPECT_EQ(!SameBits(edited, clean), entry.facts.editable()) << entry.name;
  }
}

TEST(Forward, SitesOfABlockSatisfyItsEquations) {
  Recorder all(Everything);
  ASSERT_TRUE(Forward(TinyGpt2(), kPrompts, all));
  const Weights weights = RandomWeights(TinyConfig(), 7);
  for (int32_t row = 0; row < static_cast<int32_t>(kPrompts.size()); ++row) {
    EXPECT_TRUE(
        SameBits(all.At(Site::kResidPre, 0, row),
                 all.At(Site::kEmbed, kNoLayer, row) + all.At(Site::kPosEmbed, kNoLayer, row)));
    for (int32_t l = 0; l < TinyConfig().n_layer; ++l) {
      const auto at_site = [&](Site site) { return all.At(site, l, row); };
      EXPECT_TRUE(
          SameBits(at_site(Site::kResidMid), at_site(Site::kResidPre) + at_site(Site::kAttnOut)));
      EXPECT_TRUE(
          SameBits(at_site(Site::kResidPost), at_site(Site::kResidMid) + at_site(Site::kMlpOut)));
      if (l > 0) {
        EXPECT_TRUE(SameBits(at_site(Site::kResidPre), all.At(Site::kResidPost, l - 1, row)));
      }
      const auto parts = at_site(Site::kQkv).chunk(3, 1);
      EXPECT_TRUE(SameBits(parts[0], at_site(Site::kQ).flatten(1)));
      EXPECT_TRUE(SameBits(parts[1], at_site(Site::kK).flatten(1)));
      EXPECT_TRUE(SameBits(parts[2], at_site(Site::kV).flatten(1)));
      EXPECT_LT(Distance(at_site(Site::kHeadResult).sum(1) + weights.blocks[l].attn_out.bias,
                         at_site(Site::kAttnOut)),
                1e-5);
      const at::Tensor pattern = at_site(Site::kPattern);
      EXPECT_TRUE(at::allclose(pattern.sum(-1), at::ones_like(pattern.sum(-1))));
      EXPECT_EQ(pattern.triu(1).abs().sum().item<float>(), 0);
      EXPECT_LT(Distance(at::matmul(pattern, at_site(Site::kV).transpose(0, 1)).transpose(0, 1),
                         at_site(Site::kZ)),
                1e-5);
      const at::Tensor centered =
          at_site(Site::kResidPre) - at_site(Site::kResidPre).mean(-1, true);
      const at::Tensor scale =
          (centered.square().mean(-1, true) + TinyConfig().layer_norm_epsilon).sqrt();
      EXPECT_LT(Distance(at_site(Site::kLn1Scale), scale), 1e-5);
      const auto& ln1 = weights.blocks[l].ln1;
      EXPECT_LT(Distance(at_site(Site::kLn1Out), centered / scale * ln1.gain + ln1.bias), 1e-5);
    }
    EXPECT_LT(Distance(all.At(Site::kLogits, kNoLayer, row),
                       at::mm(all.At(Site::kLnFOut, kNoLayer, row), weights.lm_head.t())),
              1e-5);
  }
}

TEST(Forward, AFullyKnockedOutQueryAttendsToNothing) {
  Recorder knockout(
      [](Site s) { return s == Site::kAttnScores || s == Site::kPattern || s == Site::kZ; },
      [](const SiteValue& value, int32_t) {
        if (value.site == Site::kAttnScores) value.rows[0].select(1, 2).fill_(-INFINITY);
      });
  const at::Tensor logits = (*Forward(TinyGpt2(), {kPrompts[0]}, knockout))[0];
  EXPECT_EQ(knockout.At(Site::kPattern, 0).select(1, 2).abs().max().item<float>(), 0);
  EXPECT_EQ(knockout.At(Site::kZ, 0)[2].abs().max().item<float>(), 0);
  EXPECT_FALSE(logits.isnan().any().item<bool>());
}

TEST(Forward, ReturnsEditedLogits) {
  Recorder editor([](Site s) { return s == Site::kLogits; },
                  [](const SiteValue& value, int32_t) { value.rows[0].select(1, 7).fill_(99); });
  const at::Tensor logits = (*Forward(TinyGpt2(), {kPrompts[0]}, editor, {{4}}))[0];
  EXPECT_EQ(logits[0][7].item<float>(), 99);
}

TEST(Forward, StopsAfterTheLayerThatTheTapNames) {
  for (const int32_t last : {kNoLayer, 0, 1, 2}) {
    Recorder tap(Everything);
    tap.last_ = last;
    EXPECT_FALSE(Forward(TinyGpt2(), kPrompts, tap).has_value());
    EXPECT_EQ(tap.done_.back(), last);
    EXPECT_EQ(tap.done_.size(), static_cast<size_t>(last + 2));
    for (const auto& [site_and_layer, count] : tap.visits_) EXPECT_LE(site_and_layer.second, last);
    EXPECT_FALSE(tap.visits_.contains({Site::kLnFOut, kNoLayer}));
  }
  Recorder tap;
  EXPECT_TRUE(Forward(TinyGpt2(), kPrompts, tap).has_value());
  EXPECT_THAT(tap.done_, ElementsAre(kNoLayer, 0, 1, 2));
}

// The meta device has shapes and no memory: a tensor made on another device by accident meets one
// of it and throws. meta_device.cc has what libtorch lacks of it.
TEST(Forward, MakesEveryTensorOnTheModelsDevice) {
  for (const bool upcast : {false, true}) {
    Gpt2Config config = TinyConfig();
    config.reorder_and_upcast_attn = upcast;
    config.scale_attn_by_inverse_layer_idx = true;
    const Gpt2 meta(config, RandomWeights(config, 1), at::kMeta);
    Recorder editor(Everything, [](const SiteValue& value, int32_t) {
      for (const at::Tensor& row : value.rows) {
        EXPECT_TRUE(row.is_meta()) << static_cast<int>(value.site);
        row.mul_(2);
      }
    });
    const auto logits = Forward(meta, kPrompts, editor);
    ASSERT_TRUE(logits);
    EXPECT_TRUE((*logits)[0].is_meta());
    EXPECT_EQ((*logits)[0].sizes().vec(), (std::vector<int64_t>{5, config.vocab_size}));
  }
}

TEST(Gpt2, NamesItsKernels) {
  EXPECT_EQ(TinyGpt2().kernels(), KernelsName(at::kCPU));
  EXPECT_TRUE(TinyGpt2().device().is_cpu());
}

}  // namespace
}  // namespace scalpel::model

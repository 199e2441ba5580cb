#include "server/engine/non_finite.h"

#include <limits>
#include <memory>
#include <vector>

#include "server/engine/cone.h"
#include "server/engine/plan_tap.h"
#include "server/engine/tensor_sender.h"

namespace scalpel::engine {
namespace {

using model::Site;

// What the run sends has been sent before.
class NoSink final : public EventSink {
 public:
  void Push(Event) override {}
};

// Whether the site's values are looked at: all but those that are made of others beside them, at
// some cost (the heads' results, QKV as a whole), and the logits, of which only few may be wanted.
bool LooksAt(Site site) {
  return site != Site::kQkv && site != Site::kHeadResult && site != Site::kLogits;
}

// Which entries of a value are not finite. Scores are minus infinity where a query may not attend.
at::Tensor NotFinite(const at::Tensor& value, Site site) {
  if (site != Site::kAttnScores) return at::isfinite(value).logical_not();
  return value.isnan().logical_or_(value == std::numeric_limits<float>::infinity());
}

// Carries out the plan, and looks at one row.
class Search final : public model::Tap {
 public:
  Search(const spec::Plan& plan, int32_t row, at::Device device, absl::FunctionRef<bool()> wanted)
      : plan_(plan),
        row_(row),
        wanted_(wanted),
        sender_(sink_),
        tap_(plan, device, sink_, sender_, [wanted] { return wanted(); }) {}

  bool Wants(Site site, int32_t layer) const override {
    return LooksAt(site) || tap_.Wants(site, layer);
  }
  bool Wants(Site site, int32_t layer, int32_t row) const override {
    return (row == row_ && LooksAt(site)) || tap_.Wants(site, layer, row);
  }
  bool Edits(Site site, int32_t layer, int32_t row) const override {
    return tap_.Edits(site, layer, row);
  }
  bool Changed(int32_t row) const override { return tap_.Changed(row); }
  bool Needs(int32_t) const override { return true; }

  void Visit(absl::Span<const Site> sites, int32_t layer, model::RowOf row_of) override {
    for (const Site site : sites) Look(site, layer, row_of, /*by_intervention=*/false);
    tap_.Visit(sites, layer, row_of);
    for (const Site site : sites) Look(site, layer, row_of, /*by_intervention=*/true);
  }

  bool LayerDone(int32_t layer) override {
    tap_.FinishLayer(layer);
    return !found_ && GoesOn();
  }
  bool GoesOn() override {
    left_ = left_ || !wanted_();
    return !left_;
  }

  // `value`: of the row, its first position being `first`.
  void Note(const at::Tensor& value, Site site, int32_t layer, int64_t first,
            bool by_intervention) {
    if (found_ || left_ || !value.defined()) return;
    at::Tensor bad = NotFinite(value, site);
    const bool attention = spec::IsAttention(spec::EntryOf(site).facts);
    if (attention) bad = bad.transpose(0, 1);  // [query, head, key]
    bad = bad.contiguous();
    if (!bad.any().item<bool>()) return;
    const int64_t at = bad.flatten().to(at::kByte).argmax().item<int64_t>();
    const int64_t inner = bad.size(-1), entries = bad.numel() / bad.size(0);
    found_.emplace();
    found_->set_site(spec::ToProto(site));
    if (layer != model::kNoLayer) found_->set_layer(layer);
    found_->set_prompt(plan_.rows[row_].prompt);
    found_->set_position(static_cast<int32_t>(first + at / entries));
    found_->set_clean(plan_.rows[row_].clean);
    if (bad.dim() == 3) found_->set_head(static_cast<int32_t>(at % entries / inner));
    found_->set_by_intervention(by_intervention);
  }

  const std::optional<v1::FirstNonFinite>& found() const { return found_; }

 private:
  void Look(Site site, int32_t layer, model::RowOf row_of, bool by_intervention) {
    if (found_ || left_ || !LooksAt(site)) return;
    const model::RowValue value = row_of(site, row_);
    Note(value.value, site, layer, value.first, by_intervention);
  }

  const spec::Plan& plan_;
  const int32_t row_;
  const absl::FunctionRef<bool()> wanted_;
  NoSink sink_;
  TensorSender sender_;
  PlanTap tap_;
  std::optional<v1::FirstNonFinite> found_;
  bool left_ = false;  // the caller; values mean nothing any more
};

}  // namespace

std::optional<v1::FirstNonFinite> FindFirstNonFinite(const model::Gpt2& gpt2,
                                                     const spec::Plan& plan, int32_t row,
                                                     absl::FunctionRef<bool()> wanted) {
  const std::vector<std::shared_ptr<const model::CleanState>> nothing(plan.rows.size());
  const std::vector<model::Row> rows = Cones(plan, gpt2.config(), nothing, 0);
  Search search(plan, row, gpt2.device(), wanted);
  const auto answers = gpt2.Forward(rows, search);
  if (search.found() || !answers) return search.found();
  const at::Tensor& logits = (*answers)[row].logits;  // at the positions asked, in their order
  if (!logits.defined()) return std::nullopt;
  for (int64_t i = 0; i < logits.size(0); ++i) {
    search.Note(logits[i].unsqueeze(0), Site::kLogits, model::kNoLayer,
                plan.logit_positions[row][i], search.Edits(Site::kLogits, model::kNoLayer, row));
  }
  return search.found();
}

}  // namespace scalpel::engine

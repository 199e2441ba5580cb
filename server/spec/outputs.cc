#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/spec/compile.h"

namespace scalpel::spec {
namespace {

// Fills in the default form; false after a violation.
bool CheckForm(Compilation& c, v1::LogitsRequest* logits) {
  const int64_t vocab = c.facts.config.vocab_size;
  switch (logits->form_case()) {
    case v1::LogitsRequest::FORM_NOT_SET:
      logits->mutable_top_k()->set_k(static_cast<int32_t>(std::min<int64_t>(10, vocab)));
      return true;
    case v1::LogitsRequest::kFull:
      NormalizeDataType(c, logits->mutable_full(), "logits.full");
      return true;
    case v1::LogitsRequest::kTopK: {
      const int64_t most = std::min<int64_t>(c.limits->max_top_k(), vocab);
      if (logits->top_k().k() >= 1 && logits->top_k().k() <= most) return true;
      c.violations.Add("logits.top_k.k",
                       absl::StrCat(logits->top_k().k(), " is outside [1, ", most, "]"));
      return false;
    }
    case v1::LogitsRequest::kIds: {
      const auto& ids = logits->ids().ids();
      if (ids.empty() || ids.size() > c.limits->max_top_k()) {
        c.violations.Add("logits.ids.ids", absl::StrCat("has ", ids.size(), " ids; give 1 to ",
                                                        c.limits->max_top_k()));
        return false;
      }
      for (int i = 0; i < ids.size(); ++i) {
        if (ids[i] >= 0 && ids[i] < vocab) continue;
        c.violations.Add(absl::StrCat("logits.ids.ids[", i, "]"),
                         absl::StrCat(ids[i], " is outside [0, ", vocab, ")"));
        return false;
      }
      return true;
    }
    case v1::LogitsRequest::kNone:
      return false;
  }
  return false;
}

// The form as the plan says it. It has been checked.
LogitsOutput OutputOf(const v1::LogitsRequest& logits) {
  LogitsOutput output;
  if (logits.has_full()) output.full = logits.full().dtype();
  output.top_k = logits.top_k().k();
  output.ids.assign(logits.ids().ids().begin(), logits.ids().ids().end());
  return output;
}

void CompileLogits(Compilation& c) {
  c.plan.logit_positions.resize(c.plan.rows.size());
  v1::LogitsRequest* logits = c.request.mutable_logits();
  if (!CheckForm(c, logits)) return;
  c.plan.logits = OutputOf(*logits);
  if (!logits->has_positions()) logits->mutable_positions()->mutable_indices()->add_values(-1);
  for (size_t row = 0; row < c.plan.rows.size(); ++row) {
    if (c.plan.rows[row].clean && !c.request.include_clean_run()) continue;
    if (c.plan.tokens[row].empty()) continue;
    const auto positions = ResolvePositions(&logits->positions(), c.plan.tokens[row],
                                            "logits.positions", c.violations);
    if (!positions) return;
    c.plan.logit_positions[row] = positions->ToVector();
  }
}

// Outputs that are whole activations, of every row that comes back.
class WholeOutputs {
 public:
  explicit WholeOutputs(Compilation& c) : c_(c) {
    std::map<std::pair<bool, size_t>, std::vector<int32_t>> batches;
    for (size_t row = 0; row < c.plan.rows.size(); ++row) {
      const bool clean = c.plan.rows[row].clean;
      // Clean rows that only serve as a reference are not sent back.
      if (clean && !c.request.include_clean_run()) continue;
      batches[{clean, c.plan.tokens[row].size()}].push_back(static_cast<int32_t>(row));
    }
    for (auto& [kind, rows] : batches) batches_.push_back(std::move(rows));
  }

  // What leaves of one site, in front of what is observed there already. Batch by batch, so that a
  // batch that leaves twice is read once.
  void Add(int32_t layer, model::Site at, v1::Moment moment, std::vector<TensorOutput> outputs) {
    if (outputs.empty()) return;
    const SiteEntry& site = EntryOf(at);
    const auto first = static_cast<int32_t>(c_.plan.tensors.size());
    std::vector<Observation> observations;
    for (const std::vector<int32_t>& rows : batches_) {
      for (size_t i = 0; i < outputs.size(); ++i)
        observations.push_back({.kind = Observation::Kind::kTensor,
                                .index = first + static_cast<int32_t>(i),
                                .rows = {rows.begin(), rows.end()},
                                .region = Whole(site, rows.front())});
    }
    for (TensorOutput& output : outputs) {
      output.header.set_site(site.site);
      output.dtype = c_.request.block_outputs().dtype();
      output.batched = true;
      c_.plan.tensors.push_back(std::move(output));
    }
    SitePlan& plan = c_.plan.sites[{layer, at}];
    auto& list = moment == v1::MOMENT_BEFORE ? plan.before : plan.after;
    list.insert(list.begin(), std::make_move_iterator(observations.begin()),
                std::make_move_iterator(observations.end()));
  }

 private:
  // All of a site in a row. Sites of one shape share it.
  std::shared_ptr<const Region> Whole(const SiteEntry& site, int32_t row) {
    const auto length = static_cast<int64_t>(c_.plan.tokens[row].size());
    auto& region = whole_[{length, IsAttention(site.facts)}];
    if (region != nullptr) return region;
    std::vector<IndexSet> axes(site.facts.axes_size(), IndexSet::Arithmetic(0, length, 1));
    if (IsAttention(site.facts))
      axes.front() = IndexSet::Arithmetic(0, c_.facts.config.n_head, 1);
    else
      axes.back() = IndexSet::Arithmetic(0, c_.facts.config.d_model, 1);
    return region = std::make_shared<const Region>(std::move(axes));
  }

  Compilation& c_;
  std::vector<std::vector<int32_t>> batches_;  // edited before clean, then by length
  std::map<std::pair<int64_t, bool>, std::shared_ptr<const Region>> whole_;
};

// Fills in the layers; false after a violation.
bool CheckBlockOutputs(Compilation& c) {
  if (c.request.output_attentions()) c.request.mutable_block_outputs();
  if (!c.request.has_block_outputs()) return true;
  v1::BlockOutputs* outputs = c.request.mutable_block_outputs();
  NormalizeDataType(c, outputs, "block_outputs");
  const auto layers =
      ResolveList(outputs->layers(), c.facts.config.n_layer, "block_outputs.layers", c.violations);
  if (!layers) return false;
  outputs->mutable_layers()->Assign(layers->begin(), layers->end());
  return true;
}

// Element 0 of a block's output tuple is its output, element 1 its attention weights.
TensorOutput TupleElement(int32_t layer, int32_t element) {
  TensorOutput output;
  output.header.set_kind(element == 0 ? v1::TENSOR_KIND_BLOCK_HIDDEN_STATES
                                      : v1::TENSOR_KIND_BLOCK_ATTENTIONS);
  output.header.set_name(absl::StrCat("block_outputs[", layer, "][", element, "]"));
  output.header.set_layer(layer);
  output.header.set_moment(v1::MOMENT_AFTER);
  output.tuple_element = element;
  return output;
}

TensorOutput HiddenStates(int32_t entry) {
  TensorOutput output;
  output.header.set_kind(v1::TENSOR_KIND_HIDDEN_STATES);
  output.header.set_name(absl::StrCat("hidden_states[", entry, "]"));
  output.header.set_index(entry);
  return output;
}

// Entry i of the hidden states is the output of block i - 1. The first is what the first block is
// given, before any edit of it; the last comes from behind the final LayerNorm.
void CompileWholeOutputs(Compilation& c) {
  if (!CheckBlockOutputs(c) || !c.violations.empty()) return;
  const auto n_layer = static_cast<int32_t>(c.facts.config.n_layer);
  const bool hidden = c.request.output_hidden_states();
  const std::set<int32_t> tuples(c.request.block_outputs().layers().begin(),
                                 c.request.block_outputs().layers().end());
  WholeOutputs outputs(c);
  if (hidden) outputs.Add(0, model::Site::kResidPre, v1::MOMENT_BEFORE, {HiddenStates(0)});
  for (int32_t layer = 0; layer < n_layer; ++layer) {
    std::vector<TensorOutput> of_block;
    if (tuples.contains(layer)) of_block.push_back(TupleElement(layer, 0));
    if (hidden && layer + 1 < n_layer) of_block.push_back(HiddenStates(layer + 1));
    outputs.Add(layer, model::Site::kResidPost, v1::MOMENT_AFTER, std::move(of_block));
    if (tuples.contains(layer) && c.request.output_attentions())
      outputs.Add(layer, model::Site::kPattern, v1::MOMENT_AFTER, {TupleElement(layer, 1)});
  }
  if (hidden)
    outputs.Add(model::kNoLayer, model::Site::kLnFOut, v1::MOMENT_AFTER, {HiddenStates(n_layer)});
}

}  // namespace

void CompileOutputs(Compilation& c) {
  CompileLogits(c);
  CompileWholeOutputs(c);
}

}  // namespace scalpel::spec

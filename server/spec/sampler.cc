#include "server/spec/sampler.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/kernels/log_softmax.h"
#include "server/kernels/math64.h"
#include "server/kernels/moments.h"
#include "server/kernels/order.h"
#include "server/spec/philox.h"

namespace scalpel::spec {
namespace {

constexpr float kExcluded = -std::numeric_limits<float>::infinity();

// The last word of a draw's counter: "SAMP". Noise has the index of an intervention there, so that
// the two share no random numbers.
constexpr uint32_t kDrawWord = 0x53414d50;

// NaN if any of the scores is.
float LargestOf(const std::vector<float>& scores) {
  return kernels::ExtremesOf(scores.data(), static_cast<int64_t>(scores.size())).max;
}

// What is done to the logits whether or not a token is drawn: repetition penalty, minimum length.
std::vector<float> Constrained(absl::Span<const float> logits, const v1::Sampling& sampling,
                               absl::Span<const int32_t> sequence,
                               absl::Span<const int32_t> banned) {
  std::vector<float> scores(logits.begin(), logits.end());
  const auto penalty = static_cast<float>(sampling.repetition_penalty());
  for (const int32_t id : sequence)
    scores[id] = logits[id] < 0 ? logits[id] * penalty : logits[id] / penalty;
  for (const int32_t id : banned) scores[id] = kExcluded;
  return scores;
}

void KeepTopK(int32_t top_k, std::vector<float>& scores) {
  // As integers, whose order has no holes where a score is NaN.
  std::vector<int32_t> orders(scores.size());
  std::transform(scores.begin(), scores.end(), orders.begin(), kernels::OrderOf);
  const auto kth = orders.begin() + std::min<int64_t>(top_k, std::ssize(orders)) - 1;
  std::nth_element(orders.begin(), kth, orders.end(), std::greater<>());
  const float least = kernels::FromOrder(*kth);
  for (float& score : scores) {
    if (score < least) score = kExcluded;
  }
}

// Returns the indices of the numbers in rising order, those of equal numbers in their own. By radix
// sort: std::sort takes several times as long for a whole vocabulary.
std::vector<uint32_t> RisingOrder(const std::vector<float>& numbers) {
  constexpr int kDigitBits = 11;
  constexpr uint32_t kDigits = 1u << kDigitBits;
  struct Item {
    uint32_t key;
    uint32_t index;
  };
  std::vector<Item> items(numbers.size()), sorted(numbers.size());
  for (uint32_t i = 0; i < items.size(); ++i) {
    // Adding 0 makes -0 the 0 that it equals.
    const auto order = static_cast<uint32_t>(kernels::OrderOf(numbers[i] + 0.0f));
    items[i] = {order ^ 0x80000000u, i};
  }
  for (int shift = 0; shift < 32; shift += kDigitBits) {
    const auto digit = [shift](const Item& item) { return (item.key >> shift) % kDigits; };
    std::array<uint32_t, kDigits + 1> begin = {};
    for (const Item& item : items) ++begin[digit(item) + 1];
    std::partial_sum(begin.begin(), begin.end(), begin.begin());
    for (const Item& item : items) sorted[begin[digit(item)]++] = item;
    items.swap(sorted);
  }
  std::vector<uint32_t> order(items.size());
  std::transform(items.begin(), items.end(), order.begin(),
                 [](const Item& item) { return item.index; });
  return order;
}

// The tokens that may be drawn, by rising id. Exponentials are computed once: a token that is
// excluded only leaves the sum of the others.
class Distribution {
 public:
  // `scores`: the largest, `largest`, is finite. They outlive the distribution.
  Distribution(const std::vector<float>& scores, float largest)
      : scores_(scores), largest_(largest) {
    ids_.reserve(scores.size());
    weights_.reserve(scores.size());
    for (int32_t id = 0; id < std::ssize(scores); ++id) {
      if (scores[id] == kExcluded) continue;
      ids_.push_back(id);
      weights_.push_back(static_cast<double>(scores[id]) - largest);
    }
    kernels::Exp(weights_.data(), weights_.data(), std::ssize(weights_));
    AddUp();
  }

  void KeepTopP(double top_p) {
    // As in `generate`. Applied, it would exclude what is too small for float32.
    if (top_p == 1) return;
    const auto most = static_cast<float>(1 - top_p);
    std::vector<float> logits(ids_.size());
    std::transform(ids_.begin(), ids_.end(), logits.begin(),
                   [this](int32_t id) { return scores_[id]; });
    const std::vector<uint32_t> rising = RisingOrder(logits);
    std::vector<bool> kept(ids_.size(), true);
    double sum = 0;  // PyTorch, too, adds up floats in double precision.
    for (size_t i = 0; i + 1 < rising.size(); ++i) {
      sum += Probability(rising[i]);
      if (static_cast<float>(sum) > most) break;
      kept[rising[i]] = false;
    }
    Keep(kept);
  }

  void KeepMinP(double min_p) {
    const float largest = static_cast<float>(1 / total_);  // its weight is e^0
    const float least = static_cast<float>(min_p) * largest;
    std::vector<bool> kept(ids_.size());
    for (size_t i = 0; i < ids_.size(); ++i) kept[i] = Probability(i) >= least;
    Keep(kept);
  }

  const std::vector<int32_t>& ids() const { return ids_; }

  double LogProb(int32_t id) const { return scores_[id] - (largest_ + kernels::Log(total_)); }

  // Returns the first token at which the running sum of the weights exceeds u times their sum.
  // `u`: within (0, 1).
  int32_t Draw(double u) const {
    const double limit = u * total_;
    double sum = 0;
    for (size_t i = 0; i < ids_.size(); ++i) {
      sum += weights_[i];
      if (sum > limit) return ids_[i];
    }
    return ids_.back();  // unreachable: the last sum is the total, which is above the limit
  }

 private:
  float Probability(size_t index) const { return static_cast<float>(weights_[index] / total_); }

  void Keep(const std::vector<bool>& kept) {
    size_t count = 0;
    for (size_t i = 0; i < ids_.size(); ++i) {
      if (!kept[i]) continue;
      ids_[count] = ids_[i];
      weights_[count++] = weights_[i];
    }
    ids_.resize(count);
    weights_.resize(count);
    AddUp();
  }

  // In the order in which a draw adds them up, so that it reaches the same sum.
  void AddUp() { total_ = std::accumulate(weights_.begin(), weights_.end(), 0.0); }

  const std::vector<float>& scores_;
  const double largest_;
  std::vector<int32_t> ids_;
  std::vector<double> weights_;  // e^(score - largest)
  double total_ = 0;
};

// What is done besides where a token is drawn: temperature and top-k, written to `scores`; then
// top-p and min-p, which only the result shows. Returns nullopt if no token can be drawn.
std::optional<Distribution> Warp(const v1::Sampling& sampling, std::vector<float>& scores) {
  const auto temperature = static_cast<float>(sampling.temperature());
  for (float& score : scores) score /= temperature;
  if (sampling.has_top_k()) KeepTopK(sampling.top_k(), scores);
  const float largest = LargestOf(scores);
  if (!std::isfinite(largest)) return std::nullopt;
  Distribution distribution(scores, largest);
  if (sampling.has_top_p()) distribution.KeepTopP(sampling.top_p());
  if (sampling.has_min_p()) distribution.KeepMinP(sampling.min_p());
  return distribution;
}

}  // namespace

void CheckSampling(v1::Sampling& sampling, int64_t vocab_size, const std::string& field,
                   Violations& violations) {
  const auto refuse = [&](absl::string_view name, const std::string& why) {
    violations.Add(absl::StrCat(field, ".", name), why);
  };
  // Checks a number that is used as float32, in which it must not become 0 or infinity.
  const auto check_positive = [&](absl::string_view name, double number, absl::string_view remedy) {
    if (!(number > 0)) {
      refuse(name, absl::StrCat(number, " is not above 0; ", remedy));
    } else if (number < std::numeric_limits<float>::min() ||
               number > std::numeric_limits<float>::max()) {
      refuse(name, absl::StrCat(number, " is outside float32's normal range; ", remedy));
    }
  };
  const auto check_drawn = [&](absl::string_view name, bool given) {
    if (given && !sampling.sample())
      refuse(name, "has no effect without `sample`; set `sample`, or leave it out");
    return given && sampling.sample();
  };
  if (check_drawn("temperature", sampling.has_temperature()))
    check_positive("temperature", sampling.temperature(),
                   "for the most likely token, leave `sample` and the temperature out");
  if (check_drawn("top_k", sampling.has_top_k()) &&
      (sampling.top_k() < 1 || sampling.top_k() > vocab_size))
    refuse("top_k", absl::StrCat(sampling.top_k(), " is outside [1, ", vocab_size,
                                 "]; leave it out to exclude no token"));
  if (check_drawn("top_p", sampling.has_top_p()) &&
      !(sampling.top_p() > 0 && sampling.top_p() <= 1))
    refuse("top_p",
           absl::StrCat(sampling.top_p(), " is outside (0, 1]; leave it out to exclude no token"));
  if (check_drawn("min_p", sampling.has_min_p()) &&
      !(sampling.min_p() >= 0 && sampling.min_p() <= 1))
    refuse("min_p",
           absl::StrCat(sampling.min_p(), " is outside [0, 1]; leave it out to exclude no token"));
  if (sampling.has_repetition_penalty())
    check_positive("repetition_penalty", sampling.repetition_penalty(), "1 is no penalty");

  if (sampling.sample() && !sampling.has_temperature()) sampling.set_temperature(1);
  if (!sampling.has_repetition_penalty()) sampling.set_repetition_penalty(1);
}

std::vector<float> Processed(absl::Span<const float> logits, const v1::Sampling& sampling,
                             absl::Span<const int32_t> sequence, absl::Span<const int32_t> banned) {
  std::vector<float> scores = Constrained(logits, sampling, sequence, banned);
  if (!sampling.sample()) return scores;
  const std::optional<Distribution> left = Warp(sampling, scores);
  if (!left) return scores;
  std::vector<float> processed(scores.size(), kExcluded);
  for (const int32_t id : left->ids()) processed[id] = scores[id];
  return processed;
}

std::optional<Choice> Choose(absl::Span<const float> logits, const v1::Sampling& sampling,
                             absl::Span<const int32_t> sequence, absl::Span<const int32_t> banned,
                             const Draw& draw) {
  const double normalizer = kernels::LogSumExp(logits.data(), static_cast<int64_t>(logits.size()));
  if (!std::isfinite(normalizer)) return std::nullopt;
  const auto log_prob = [&](int32_t id) { return static_cast<float>(logits[id] - normalizer); };
  std::vector<float> scores = Constrained(logits, sampling, sequence, banned);
  if (!sampling.sample()) {
    const float largest = LargestOf(scores);
    if (!std::isfinite(largest)) return std::nullopt;
    const auto first = std::find(scores.begin(), scores.end(), largest);
    const auto id = static_cast<int32_t>(first - scores.begin());
    return Choice{.id = id, .log_prob = log_prob(id), .sampling_log_prob = 0};
  }
  const std::optional<Distribution> left = Warp(sampling, scores);
  if (!left) return std::nullopt;
  const std::array<uint32_t, 4> words =
      Philox(draw.seed, {static_cast<uint32_t>(draw.step), static_cast<uint32_t>(draw.continuation),
                         static_cast<uint32_t>(draw.prompt), kDrawWord});
  const int32_t id = left->Draw(UniformOf(words[0], words[1]));
  return Choice{.id = id,
                .log_prob = log_prob(id),
                .sampling_log_prob = static_cast<float>(left->LogProb(id))};
}

}  // namespace scalpel::spec

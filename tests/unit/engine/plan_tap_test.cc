// What a plan's part of a pass does at its sites, without a model around it.

#include "server/engine/plan_tap.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/unit/support/tiny.h"

namespace scalpel::engine {
namespace {

using model::Site;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Keeps the names of the tensors that leave, and notes other events.
class Names final : public EventSink {
 public:
  void Push(Event event) override {
    names.push_back(event.tensor ? event.tensor->header.name() : "event");
  }
  std::vector<std::string> names;
};

// Two prompts at RESID_POST of layer 0, under `text`. The caller leaves when it has been asked for
// `patience` times.
struct Visited {
  Visited(const std::string& text, int patience)
      : plan(test::CompileOrThrow(test::RequestOf(text))),
        sender(sink),
        tap(*plan, at::kCPU, sink, sender, [left = patience]() mutable { return left-- > 0; }) {
    for (const auto& tokens : plan->tokens)
      values.push_back(at::ones({static_cast<int64_t>(tokens.size()), 12}));
    const Site site = Site::kResidPost;
    tap.Visit({&site, 1}, 0, [this](Site, int32_t row) {
      ++reads;
      return model::RowValue{values[row]};
    });
    tap.FinishLayer(0);
  }

  const std::shared_ptr<const spec::Plan> plan;
  Names sink;
  TensorSender sender;
  PlanTap tap;
  std::vector<at::Tensor> values;
  int reads = 0;
};

std::string At(const std::string& kind, const std::string& what) {
  return absl::StrCat(kind, " { place { site: SITE_RESID_POST where { layers: 0 prompts: 0 } } ",
                      what, " } ");
}

const std::string kCaptures = At("captures", "name: \"a\" moment: MOMENT_BEFORE") +
                              At("captures", "name: \"b\"") + At("captures", "name: \"c\"");

TEST(PlanTap, ReadsAndEditsInOrder) {
  const Visited all(At("interventions", "scale { factor: 3 }") + kCaptures, 100);
  EXPECT_THAT(all.sink.names, ElementsAre("a", "b", "c"));
  EXPECT_EQ(all.values[0].sum().item<float>(), 4 * 12 * 3);
  EXPECT_EQ(all.values[1].sum().item<float>(), 3 * 12);
  EXPECT_TRUE(all.tap.Changed(0));
  EXPECT_FALSE(all.tap.Changed(1));
  EXPECT_FALSE(all.tap.stopped());
  EXPECT_EQ(all.tap.Reports()[0].elements_changed(), 4 * 12);
}

// A layer may have thousands of observations and steps, and a caller who leaves must not wait, nor
// let others wait, for all of them.
TEST(PlanTap, StopsBetweenTwoObservations) {
  const Visited some(kCaptures, 2);
  EXPECT_EQ(some.reads, 2);
  EXPECT_TRUE(some.tap.stopped());
  EXPECT_THAT(some.sink.names, IsEmpty());
}

TEST(PlanTap, StopsBetweenTwoSteps) {
  const std::string scale = At("interventions", "scale { factor: 2 }");
  const Visited some(scale + scale + scale + kCaptures, 3);
  EXPECT_TRUE(some.tap.stopped());
  EXPECT_EQ(some.values[0].max().item<float>(), 4);  // a capture before, and two steps
  EXPECT_THAT(some.sink.names, IsEmpty());
}

// A step that reads an earlier layer does not need its row in its own layer.
TEST(PlanTap, WantsTheRowsThatItReads) {
  const Visited patch(R"(interventions { place { site: SITE_RESID_POST
      where { layers: 2 prompts: 1 } } patch { prompt: 0 layer: 0 positions { range { end: 3 } } } })",
                      100);
  EXPECT_TRUE(patch.tap.Wants(Site::kResidPost, 0, 0));
  EXPECT_FALSE(patch.tap.Wants(Site::kResidPost, 0, 1));
  EXPECT_FALSE(patch.tap.Wants(Site::kResidPost, 2, 0));
  EXPECT_TRUE(patch.tap.Edits(Site::kResidPost, 2, 1));
  EXPECT_FALSE(patch.tap.Wants(Site::kResidPost, 1));
}

}  // namespace
}  // namespace scalpel::engine

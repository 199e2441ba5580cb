#include "client/cpp/spec_request.h"

#include <google/protobuf/text_format.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace scalpel::client {
namespace {

template <typename Message>
Message Parse(const std::string& text) {
  Message message;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &message)) << text;
  return message;
}

template <typename Message>
void ExpectEqual(const absl::StatusOr<Message>& actual, const std::string& expected) {
  ASSERT_TRUE(actual.ok()) << actual.status();
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(*actual, Parse<Message>(expected)))
      << actual->ShortDebugString() << "\nbut expected\n"
      << expected;
}

absl::StatusOr<v1::Intervention> Intervention(const std::string& operation,
                                              const std::string& text) {
  for (const OperationFlag& flag : OperationFlags()) {
    if (flag.name == operation) return InterventionOf(flag, text);
  }
  return absl::NotFoundError(operation);
}

TEST(ClientSpecRequest, ReadsPlaces) {
  ExpectEqual(Intervention("zero", "K:layer=5,head=2"),
              "place { site: SITE_K where { layers: 5 heads: 2 } } zero {}");
  ExpectEqual(Intervention("zero", "attn.c_attn:output:layers=3,units=128:192,prompt=0"),
              "place { path: 'attn.c_attn:output' where { layers: 3 prompts: 0 units { range { "
              "start: 128 end: 192 } } } }"
              "zero {}");
  ExpectEqual(
      Intervention("zero", "resid_post:layer=1:4,position=-1,0,name=mine"),
      "name: 'mine' place { site: SITE_RESID_POST where {"
      "layers: 1 layers: 2 layers: 3 positions { indices { values: -1 values: 0 } } } } zero {}");
  ExpectEqual(
      Intervention("zero", "embed:token=262,318"),
      "place { site: SITE_EMBED where { positions { tokens { ids: 262 ids: 318 } } } } zero {}");
  ExpectEqual(Intervention("zero", "resid_post"), "place { site: SITE_RESID_POST } zero {}");
}

TEST(ClientSpecRequest, ReadsStepsOfAGeneration) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"prompt", "end: 1"},
      {"generated", "start: 1"},
      {"3", "start: 3 end: 4"},
      {"2:", "start: 2"},
      {"1:9:2", "start: 1 end: 9 step: 2"},
      {"0", "start: 0 end: 1"},
  };
  for (const auto& [text, range] : cases) {
    ExpectEqual(Intervention("zero", absl::StrCat("z:steps=", text)),
                absl::StrCat("place { site: SITE_Z where { steps { ", range, " } } } zero {}"));
    ExpectEqual(ProbeOf(absl::StrCat("z:std,steps=", text)),
                absl::StrCat("place { site: SITE_Z where { steps { ", range,
                             " } } } statistics: STATISTIC_STD"));
  }
}

TEST(ClientSpecRequest, ReadsEveryOperation) {
  ExpectEqual(Intervention("scale", "resid_post:layer=9,factor=0.1"),
              "place { site: SITE_RESID_POST where { layers: 9 } } scale { factor: 0.1 }");
  ExpectEqual(Intervention("scale", "z:factor=0"), "place { site: SITE_Z } scale { factor: 0 }");
  ExpectEqual(Intervention("add", "z:value=0.1"), "place { site: SITE_Z } add { constant: 0.1 }");
  ExpectEqual(Intervention("add", "z:value=1,-2e1,coefficient=3"),
              "place { site: SITE_Z } add { tensor { values: 1 values: -20 } coefficient: 3 }");
  ExpectEqual(Intervention("set", "z:values=5"), "place { site: SITE_Z } set { constant: 5 }");
  ExpectEqual(
      Intervention("noise",
                   "mlp_post:layer=6,units=::2,mean=10,std=1,seed=18446744073709551615,add"),
      "place { site: SITE_MLP_POST where { layers: 6 units { range { step: 2 } } } }"
      "noise { mean: 10 std: 1 seed: 18446744073709551615 mode: NOISE_MODE_ADD }");
  ExpectEqual(Intervention("clamp", "z:min=-1,max=1"),
              "place { site: SITE_Z } clamp { min: -1 max: 1 }");
  ExpectEqual(Intervention("mean", "z:over=0:4"),
              "place { site: SITE_Z } mean { over { range { start: 0 end: 4 } } }");
  ExpectEqual(
      Intervention("patch", "z:prompt=0,from=1,from_layer=2,from_head=3,4,from_position=-1"),
      "place { site: SITE_Z where { prompts: 0 } }"
      "patch { prompt: 1 layer: 2 heads: 3 heads: 4 positions { indices { values: -1 } } }");
  ExpectEqual(Intervention("patch", "pattern:from_clean=0,from_key=2"),
              "place { site: SITE_PATTERN }"
              "patch { clean_prompt: 0 key_positions { indices { values: 2 } } }");
  ExpectEqual(Intervention("project-out", "resid_mid:direction=1,0,factor=0.5"),
              "place { site: SITE_RESID_MID } project_out { direction { values: 1 values: 0 } "
              "factor: 0.5 }");
  ExpectEqual(Intervention("knockout", "attn_scores:layer=3,query=7,key=2"),
              "place { site: SITE_ATTN_SCORES where { layers: 3 positions { indices { values: 7 } }"
              "key_positions { indices { values: 2 } } } } knockout {}");
  ExpectEqual(Intervention("knockout", "attn_scores:pair=7:2,-1:0"),
              "place { site: SITE_ATTN_SCORES }"
              "knockout { pairs { query: 7 key: 2 } pairs { query: -1 key: 0 } }");
}

TEST(ClientSpecRequest, HasAFlagForEachOperationOfTheContract) {
  std::vector<std::string> flags, fields;
  for (const OperationFlag& flag : OperationFlags())
    flags.push_back(absl::StrReplaceAll(flag.name, {{"-", "_"}}));
  const auto* oneof = v1::Intervention::descriptor()->FindOneofByName("operation");
  for (int i = 0; i < oneof->field_count(); ++i) fields.push_back(oneof->field(i)->name());
  EXPECT_EQ(flags, fields);
}

TEST(ClientSpecRequest, ReadsProbesInTheOrderWritten) {
  ExpectEqual(ProbeOf("resid_post:std,mean,before,quantile=0.1,0.9,layer=3"),
              "place { site: SITE_RESID_POST where { layers: 3 } } moment: MOMENT_BEFORE"
              "  statistics: [STATISTIC_STD, STATISTIC_MEAN] quantiles: [0.1, 0.9]");
  ExpectEqual(ProbeOf("pattern:entropy,per_head"),
              "place { site: SITE_PATTERN } statistics: STATISTIC_ENTROPY keep: AXIS_HEAD");
  ExpectEqual(
      ProbeOf("z:min,bins=20,min=-3,max=3"),
      "place { site: SITE_Z } statistics: STATISTIC_MIN histogram { bins: 20 min: -3 max: 3 }");
}

TEST(ClientSpecRequest, ReadsCaptures) {
  ExpectEqual(CaptureOf("z:layer=3,head=1,float16,after"),
              "place { site: SITE_Z where { layers: 3 heads: 1 } } dtype: DATA_TYPE_FLOAT16 "
              "moment: MOMENT_AFTER");
}

TEST(ClientSpecRequest, ReadsLists) {
  ExpectEqual(PositionsOf("--positions", "-1"), "indices { values: -1 }");
  ExpectEqual(PositionsOf("--positions", ":"), "range {}");
  const auto ids = Int32sOf("--tokens", "464, 3139,5:7");
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(*ids, (std::vector<int32_t>{464, 3139, 5, 6}));
  EXPECT_FALSE(Int32sOf("--tokens", "2147483648").ok());
  EXPECT_EQ(Int32sOf("--tokens", "1,,2").status().message(),
            "--tokens 1,,2\n           ^ a number is missing; write a list as 1,3");
}

TEST(ClientSpecRequest, NamesTheRemedyAtTheCharacter) {
  const auto error = [](const std::string& operation, const std::string& text) {
    return std::string(Intervention(operation, text).status().message());
  };
  EXPECT_EQ(error("zero", "K:haed=2"),
            "--zero K:haed=2\n         ^ unknown `haed`; known are layer=, head=, prompt=, unit=, "
            "position=, query=, "
            "token=, key=, steps=, name=");
  EXPECT_EQ(error("zero", "K:steps=all"),
            "--zero K:steps=all\n               ^ steps are prompt, generated, one such as 3, or "
            "a range 1:4");
  EXPECT_EQ(error("zero", "K:steps=1,2"),
            "--zero K:steps=1,2\n                 ^ `steps` takes one value; remove this one");
  EXPECT_EQ(error("zero", "K:layer=x"),
            "--zero K:layer=x\n               ^ `x` is not an integer; write one such as 5");
  EXPECT_EQ(error("scale", "K:factor=2,3"),
            "--scale K:factor=2,3\n                   ^ `factor` takes one value; remove this one");
  EXPECT_EQ(error("zero", "K:layer"),
            "--zero K:layer\n         ^ `layer` needs a value; write layer=5");
  EXPECT_EQ(error("noise", "K:add=1"),
            "--noise K:add=1\n          ^ `add` takes no value; write only the word");
  EXPECT_EQ(error("zero", "K:layer=1,layers=2"),
            "--zero K:layer=1,layers=2\n                 ^ `layer` is given twice; list its values "
            "as layer=1,3");
  EXPECT_EQ(error("zero", "K:query=1,position=2"),
            "--zero K:query=1,position=2\n       ^ position, query and token choose the same "
            "thing; keep one of them");
  EXPECT_EQ(error("knockout", "attn_scores:pair=7"),
            "--knockout attn_scores:pair=7\n                            ^ a pair is QUERY:KEY, "
            "such as 7:2");
  EXPECT_FALSE(Intervention("patch", "z:from=0,from_clean=0").ok());
  EXPECT_FALSE(Intervention("patch", "z:from=4294967296").ok());
  EXPECT_FALSE(ProbeOf("z:stdd").ok());
  EXPECT_FALSE(ProbeOf("z:before,after,std").ok());
}

}  // namespace
}  // namespace scalpel::client

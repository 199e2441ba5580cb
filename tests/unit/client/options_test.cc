#include "client/cpp/options.h"

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <set>
#include <sstream>

#include "absl/strings/str_split.h"
#include "client/cpp/help.h"
#include "client/cpp/request_file.h"
#include "client/cpp/text.h"

namespace scalpel::client {
namespace {

std::string ErrorOf(const std::vector<std::string>& arguments) {
  return std::string(ParseOptions(arguments, "").status().message());
}

TEST(ClientOptions, ReadsFlagsAndPrompts) {
  const auto options = ParseOptions({"run", "one", "--zero", "K:layer=5", "--seed=7", "--clean",
                                     "--positions", "-1", "--", "--not a flag"},
                                    "host:1");
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->server, "host:1");
  EXPECT_EQ(options->request.interventions_size(), 1);
  EXPECT_EQ(options->request.seed(), 7u);
  EXPECT_TRUE(options->request.include_clean_run());
  EXPECT_EQ(options->request.logits().positions().indices().values(0), -1);
  ASSERT_EQ(options->request.prompts_size(), 2);
  EXPECT_EQ(options->request.prompts(0).text(), "one");
  EXPECT_EQ(options->request.prompts(1).text(), "--not a flag");
}

TEST(ClientOptions, KeepsTheOrderOfInterventions) {
  const auto options =
      ParseOptions({"run", "--scale", "z:factor=2", "--zero", "z", "--scale", "q:factor=3"}, "");
  ASSERT_TRUE(options.ok());
  ASSERT_EQ(options->request.interventions_size(), 3);
  EXPECT_TRUE(options->request.interventions(0).has_scale());
  EXPECT_TRUE(options->request.interventions(1).has_zero());
  EXPECT_TRUE(options->request.interventions(2).has_scale());
}

// Of the metrics that are numbers: the most probable tokens come from a request in a file.
TEST(ClientOptions, HasAFlagForEachMetricOfTheContract) {
  const auto options = ParseOptions(
      {"sweep", "x", "--logit-diff", " a", " b", "--score", " a", " b", "--kl", "--agreement",
       "--logit", " a", "--log-prob", " a", "--prob", " a", "--rank", " a", "--loss"},
      "");
  ASSERT_TRUE(options.ok()) << options.status();
  std::set<int> kinds = {v1::Metric::kTopK};
  for (const v1::Metric& metric : options->sweep.metrics()) kinds.insert(metric.kind_case());
  const auto* oneof = v1::Metric::descriptor()->FindOneofByName("kind");
  for (int i = 0; i < oneof->field_count(); ++i)
    EXPECT_TRUE(kinds.contains(oneof->field(i)->number())) << oneof->field(i)->name();
}

TEST(ClientOptions, SaysWhatIsWrong) {
  EXPECT_EQ(ErrorOf({}), "a command is missing; see scalpel-cli --help");
  EXPECT_EQ(ErrorOf({"fly"}),
            "unknown command `fly`; use run, sweep, generate, model, tokenize, detokenize, health, "
            "status, top");
  EXPECT_EQ(ErrorOf({"run", "--fly"}), "unknown flag --fly; see scalpel-cli --help");
  EXPECT_EQ(ErrorOf({"run", "--zero"}), "--zero: a value is missing; see scalpel-cli --help");
  EXPECT_EQ(ErrorOf({"run", "--clean=1"}), "--clean takes no value; write only --clean");
  EXPECT_EQ(ErrorOf({"model", "--clean"}), "--clean belongs to the command run; remove it");
  EXPECT_EQ(ErrorOf({"--clean", "model"}), "--clean belongs to the command run; remove it");
  EXPECT_EQ(ErrorOf({"model", "--zero", "K"}),
            "--zero belongs to the command run or sweep or generate; remove it");
  EXPECT_EQ(ErrorOf({"run", "--over", "layers"}), "--over belongs to the command sweep; remove it");
  EXPECT_EQ(ErrorOf({"sweep", "--clean"}), "--clean belongs to the command run; remove it");
  EXPECT_EQ(ErrorOf({"sweep", "--over", "units"}),
            "--over: `unit` is not an axis; write layers, heads, positions or values=A,B,...");
  EXPECT_EQ(ErrorOf({"sweep", "--logit-diff", " a"}),
            "--logit-diff: a value is missing; see scalpel-cli --help");
  EXPECT_EQ(ErrorOf({"sweep", "--at", "end"}),
            "--at: `end` is not a position; write one such as -1");
  EXPECT_EQ(ErrorOf({"model", "x"}), "`x`: model takes no such argument; remove it");
  EXPECT_EQ(ErrorOf({"tokenize", "a", "b"}), "tokenize takes one TEXT; put it in quotes");
  EXPECT_EQ(ErrorOf({"run", "--deadline", "nan"}),
            "--deadline: `nan` is not a time in seconds; write one up to 86400");
  EXPECT_EQ(ErrorOf({"run", "--deadline", "0"}),
            "--deadline: `0` is not a time in seconds; write one up to 86400");
  EXPECT_EQ(ErrorOf({"run", "--top-k", "x"}),
            "--top-k: `x` is not an integer; write one such as 10");
  EXPECT_EQ(ErrorOf({"run", "--stop", "x"}), "--stop belongs to the command generate; remove it");
  EXPECT_EQ(ErrorOf({"generate", "--max-new-tokens", "x"}),
            "--max-new-tokens: `x` is not an integer; write one such as 20");
  EXPECT_EQ(ErrorOf({"generate", "--top-p", "x"}),
            "--top-p: `x` is not a number; write one such as 0.9");
  for (const char* mode : {"all", "unspecified", ""}) {
    EXPECT_EQ(ErrorOf({"generate", "--reuse-kv", mode}),
              absl::StrCat("--reuse-kv: `", mode,
                           "` is none of intervened, clean_prompt, recompute_all"));
  }
  EXPECT_EQ(ErrorOf({"run", "a\xff"}), "`a\\xff` is not UTF-8; convert it");
}

TEST(ClientOptions, TakesNoTokenFromTheCommandLine) {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"model", "--token", "secret"}, {"model", "--token=secret"}}) {
    EXPECT_EQ(ErrorOf(arguments),
              "--token: other users of this machine see command lines, and shells keep them; write "
              "the token to a file for --token-file, or set SCALPEL_TOKEN");
  }
}

TEST(ClientOptions, ReadsSecurityFlags) {
  EXPECT_FALSE(ParseOptions({"model"}, "")->security.tls);
  EXPECT_TRUE(ParseOptions({"model", "--tls"}, "")->security.tls);
  const auto options = ParseOptions({"model", "--ca", "ca.pem", "--cert=me.pem", "--key", "me.key",
                                     "--server-name", "scalpel.test", "--token-file", "token"},
                                    "");
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_TRUE(options->security.tls);
  EXPECT_EQ(options->security.ca_file, "ca.pem");
  EXPECT_EQ(options->security.certificate_file, "me.pem");
  EXPECT_EQ(options->security.key_file, "me.key");
  EXPECT_EQ(options->security.server_name, "scalpel.test");
  EXPECT_EQ(options->security.token_file, "token");
  const auto plain = ParseOptions({"model", "--token-file", "x", "--allow-plaintext-token"}, "");
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_FALSE(plain->security.tls);
  EXPECT_TRUE(plain->security.allow_plaintext_token);
}

TEST(ClientOptions, HelpFitsEightyColumnsAndNamesEveryFlagAndExitCode) {
  const std::string help = HelpText();
  for (const absl::string_view line : absl::StrSplit(help, '\n')) {
    EXPECT_LE(Columns(line), 80) << line;
  }
  for (const char* word :
       {"--zero", "--project-out", "--save", "--server", "  130  ", "  4    ", "NO_COLOR"}) {
    EXPECT_NE(help.find(word), std::string::npos) << word;
  }
}

TEST(ClientRequestFile, AddsFlagsToAFile) {
  const auto options = ParseOptions(
      {"run", "-", "second", "--zero", "z", "--top-k", "3", "--block-outputs", "1"}, "");
  ASSERT_TRUE(options.ok()) << options.status();
  std::istringstream in(R"({
    "prompts": [{"text": "first"}],
    "interventions": [{"place": {"path": "k"}, "zero": {}}],
    "logits": {"positions": {"indices": {"values": ["0"]}}, "ids": {"ids": [5]}},
    "blockOutputs": {"layers": [0], "dtype": "DATA_TYPE_FLOAT16"}, "seed": "4"})");
  const auto request = RequestOf(*options, in);
  ASSERT_TRUE(request.ok()) << request.status();
  ASSERT_EQ(request->prompts_size(), 2);
  EXPECT_EQ(request->prompts(1).text(), "second");
  EXPECT_EQ(request->interventions_size(), 2);
  EXPECT_EQ(request->logits().top_k().k(), 3);
  EXPECT_EQ(request->logits().positions().indices().values(0), 0);
  ASSERT_EQ(request->block_outputs().layers_size(), 1);
  EXPECT_EQ(request->block_outputs().layers(0), 1);
  EXPECT_EQ(request->block_outputs().dtype(), v1::DATA_TYPE_FLOAT16);
  EXPECT_EQ(request->seed(), 4u);
}

TEST(ClientOptions, ReadsASweep) {
  const auto options = ParseOptions(
      {"sweep",   "one",       "--source", "other",  "--patch", "resid_pre", "--over", "layers=0:2",
       "--over",  "positions", "--score",  " A",     "id:7",    "--prob",    " A",     "--loss",
       "--top-k", "2",         "--at=-2",  "--seed", "3",       "--reports"},
      "");
  ASSERT_TRUE(options.ok()) << options.status();
  std::istringstream none;
  const auto request = SweepRequestOf(*options, none);
  ASSERT_TRUE(request.ok()) << request.status();
  v1::SweepRequest expected;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(R"(
      prompts { text: "one" } sources { text: "other" }
      grid { interventions { place { site: SITE_RESID_PRE } patch { clean_prompt: 1 } }
             axes { layers { values: [0, 1] } } axes { positions {} } }
      metrics { name: "score \" A\" - id:7" position: -2
                patching_score { target_texts: " A" distractors: 7 } }
      metrics { name: "p \" A\"" position: -2 probabilities { texts: " A" } }
      metrics { loss {} } metrics { position: -2 top_k { k: 2 } }
      reports: true seed: 3)",
                                                            &expected));
  EXPECT_EQ(request->DebugString(), expected.DebugString());
}

TEST(ClientOptions, HasAFlagForEveryWayToGenerate) {
  const auto options = ParseOptions({"generate",
                                     "one",
                                     "--scale",
                                     "resid_post:factor=2,steps=generated",
                                     "--probe",
                                     "z:std",
                                     "--max-new-tokens",
                                     "20",
                                     "--min-new-tokens=0",
                                     "--stop",
                                     "\n",
                                     "--stop",
                                     "b",
                                     "--stop-ids",
                                     "13,30",
                                     "--ignore-eos",
                                     "--reuse-kv",
                                     "clean_prompt",
                                     "--unsteered",
                                     "--continuations",
                                     "3",
                                     "--sample",
                                     "--temperature",
                                     "0.7",
                                     "--top-k",
                                     "50",
                                     "--top-p",
                                     "0.9",
                                     "--min-p",
                                     "0",
                                     "--repetition-penalty",
                                     "1.2",
                                     "--seed",
                                     "7",
                                     "--allow-non-finite",
                                     "--validate-only",
                                     "--model",
                                     "m"},
                                    "");
  ASSERT_TRUE(options.ok()) << options.status();
  std::istringstream none;
  const auto request = GenerateRequestOf(*options, none);
  ASSERT_TRUE(request.ok()) << request.status();
  v1::GenerateRequest expected;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(R"(
      model: "m" prompts { text: "one" }
      interventions { place { site: SITE_RESID_POST where { steps { start: 1 } } }
                      scale { factor: 2 } }
      probes { place { site: SITE_Z } statistics: STATISTIC_STD }
      sampling { sample: true temperature: 0.7 top_k: 50 top_p: 0.9 min_p: 0
                 repetition_penalty: 1.2 }
      stop { max_new_tokens: 20 min_new_tokens: 0 ids: [13, 30] ignore_eos: true
             strings: ["\n", "b"] }
      continuations: 3 unsteered: true reuse_kv: KV_REUSE_CLEAN_PROMPT seed: 7
      validate_only: true allow_non_finite: true)",
                                                            &expected));
  EXPECT_EQ(request->DebugString(), expected.DebugString());
  for (const google::protobuf::Message* part :
       {static_cast<const google::protobuf::Message*>(&request->sampling()),
        static_cast<const google::protobuf::Message*>(&request->stop())}) {
    std::vector<const google::protobuf::FieldDescriptor*> fields;
    part->GetReflection()->ListFields(*part, &fields);
    EXPECT_EQ(static_cast<int>(fields.size()), part->GetDescriptor()->field_count());
  }
}

TEST(ClientRequestFile, AddsFlagsToAGeneration) {
  const auto options = ParseOptions({"generate", "-", "second", "--max-new-tokens", "5"}, "");
  std::istringstream in(R"({"prompts": [{"text": "first"}], "stop": {"maxNewTokens": 9, "ids": [3]},
      "captures": [{"place": {"path": "z"}}], "unsteered": true})");
  const auto request = GenerateRequestOf(*options, in);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->prompts_size(), 2);
  EXPECT_EQ(request->stop().max_new_tokens(), 5);
  EXPECT_EQ(request->stop().ids_size(), 1);
  EXPECT_EQ(request->captures_size(), 1);
  EXPECT_TRUE(request->unsteered());
  EXPECT_FALSE(request->has_sampling());
  std::istringstream sweep(R"({"grid": {}})");
  EXPECT_NE(GenerateRequestOf(*options, sweep).status().message().find("not a GenerateRequest"),
            std::string::npos);
}

TEST(ClientOptions, MeasuresKlInASweepByDefault) {
  const auto options =
      ParseOptions({"sweep", "one", "--scale", "z", "--over", "values=0,0.5,-1e3"}, "");
  ASSERT_TRUE(options.ok()) << options.status();
  std::istringstream none;
  const auto request = SweepRequestOf(*options, none);
  ASSERT_TRUE(request.ok()) << request.status();
  ASSERT_EQ(request->metrics_size(), 1);
  EXPECT_TRUE(request->metrics(0).has_kl_from_clean());
  EXPECT_EQ(request->grid().axes(0).values().values(2), -1000);
}

TEST(ClientRequestFile, AddsFlagsToASweep) {
  const auto options = ParseOptions({"sweep", "-", "--over", "heads=5", "--kl"}, "");
  std::istringstream grid(R"({"prompts": [{"text": "a"}],
      "grid": {"interventions": [{"place": {"path": "z"}, "zero": {}}], "axes": [{"layers": {}}]}})");
  const auto request = SweepRequestOf(*options, grid);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->grid().axes_size(), 2);
  EXPECT_EQ(request->metrics_size(), 1);
  std::istringstream list(R"({"variants": {"variants": [{}]}})");
  EXPECT_EQ(SweepRequestOf(*options, list).status().message(),
            "-: has variants, to which flags cannot add; leave out --over and interventions");
  std::istringstream run(R"({"interventions": []})");
  EXPECT_NE(SweepRequestOf(*options, run).status().message().find("not a SweepRequest"),
            absl::string_view::npos);
}

TEST(ClientRequestFile, RefusesWhatIsNotARequest) {
  const auto options = ParseOptions({"run", "-"}, "");
  std::istringstream unknown(R"({"prompt": []})");
  const auto request = RequestOf(*options, unknown);
  EXPECT_NE(request.status().message().find("-: not a RunRequest in protobuf JSON: "),
            absl::string_view::npos)
      << request.status();
  EXPECT_NE(request.status().message().find("prompt"), absl::string_view::npos);
  std::istringstream broken("{");
  EXPECT_FALSE(RequestOf(*options, broken).ok());
  std::istringstream none;
  EXPECT_EQ(RequestOf(*ParseOptions({"run", "missing.json"}, ""), none).status().message(),
            "missing.json: cannot be opened; check the path");
}

}  // namespace
}  // namespace scalpel::client

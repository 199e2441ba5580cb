// The whole program against a server that plays back canned events.

#include "client/cpp/cli.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/json_util.h>
#include <grpcpp/ext/health_check_service_server_builder_option.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <csignal>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "client/cpp/text.h"
#include "proto/google/rpc/error_details.pb.h"
#include "proto/google/rpc/status.pb.h"
#include "proto/scalpel/v1/service.grpc.pb.h"

namespace scalpel::client {
namespace {

using testing::HasSubstr;
using testing::Not;

// Answers Run and Sweep with what a test gives it.
class FakeService : public v1::InterventionService::Service {
 public:
  using Stream = grpc::ServerWriter<v1::RunResponse>;

  std::function<grpc::Status(grpc::ServerContext&, const v1::RunRequest&, Stream&)> run;
  std::vector<v1::SweepResponse> sweep;
  std::function<grpc::Status(v1::GetStatusResponse&)> status;

  grpc::Status GetStatus(grpc::ServerContext*, const v1::GetStatusRequest*,
                         v1::GetStatusResponse* response) override {
    return status(*response);
  }

  grpc::Status Sweep(grpc::ServerContext*, const v1::SweepRequest*,
                     grpc::ServerWriter<v1::SweepResponse>* stream) override {
    for (const v1::SweepResponse& event : sweep) stream->Write(event);
    return grpc::Status::OK;
  }

  grpc::Status Run(grpc::ServerContext* context, const v1::RunRequest* request,
                   Stream* stream) override {
    return run(*context, *request, *stream);
  }

  grpc::Status GetModel(grpc::ServerContext*, const v1::GetModelRequest* request,
                        v1::GetModelResponse* response) override {
    if (!request->model().empty() && request->model() != "tiny") {
      return {grpc::StatusCode::NOT_FOUND, "model: no such model; the served one is `tiny`"};
    }
    response->set_model("tiny");
    response->mutable_config()->set_n_layer(4);
    response->mutable_config()->set_vocab_size(50257);
    response->mutable_config()->set_layer_norm_epsilon(1e-5);
    response->mutable_limits()->set_max_request_bytes(16 << 20);
    response->add_operations("zero");
    response->add_statistics(v1::STATISTIC_ABS_MAX);
    v1::SiteInfo* site = response->add_sites();
    site->set_name("k");
    site->set_unit_size(64);
    site->mutable_facts()->set_per_layer(true);
    site->mutable_facts()->set_editable(true);
    for (const auto axis : {v1::AXIS_POSITION, v1::AXIS_HEAD, v1::AXIS_UNIT}) {
      site->mutable_facts()->add_axes(axis);
    }
    for (const char* alias : {"attn.hook_k", "hook_k"}) site->mutable_facts()->add_aliases(alias);
    return grpc::Status::OK;
  }

  grpc::Status Tokenize(grpc::ServerContext*, const v1::TokenizeRequest* request,
                        v1::TokenizeResponse* response) override {
    response->add_ids(static_cast<int>(request->text().size()));
    response->add_tokens(request->text());
    return grpc::Status::OK;
  }

  grpc::Status Detokenize(grpc::ServerContext*, const v1::DetokenizeRequest* request,
                          v1::DetokenizeResponse* response) override {
    response->set_text(absl::StrCat(" ids\x1b ", request->ids_size()));
    return grpc::Status::OK;
  }
};

struct Outcome {
  int code;
  std::string out;
  std::string err;
};

class ClientCli : public testing::Test {
 protected:
  ClientCli() {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    address_ = absl::StrCat("127.0.0.1:", port);
  }

  ~ClientCli() override { server_->Shutdown(std::chrono::system_clock::now()); }

  Outcome Program(const std::vector<std::string>& arguments, int columns = 80,
                  bool terminal = false, const std::string& token = "") {
    std::istringstream in;
    std::ostringstream out;
    std::ostringstream err;
    const int code =
        RunProgram(arguments, {in, Screen{out, columns, terminal}, err, address_, terminal, token});
    return {code, out.str(), err.str()};
  }

  // Plays the events back to every run.
  void Play(std::vector<v1::RunResponse> events) {
    service_.run = [events = std::move(events)](grpc::ServerContext&, const v1::RunRequest&,
                                                FakeService::Stream& stream) {
      for (const v1::RunResponse& event : events) stream.Write(event);
      return grpc::Status::OK;
    };
  }

  FakeService service_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

v1::RunResponse Event(const std::string& json) {
  v1::RunResponse event;
  const auto status = google::protobuf::util::JsonStringToMessage(json, &event);
  EXPECT_TRUE(status.ok()) << status << " in " << json;
  return event;
}

v1::RunResponse Started(const std::string& statistics, bool clean) {
  return Event(absl::StrCat(
      R"({"started": {"requestId": "r1", "cost": {"tokens": 4, "flops": 2.5e9},
    "prompts": [{"ids": [10, 11], "tokens": ["The", " end"]}],
    "normalized": {"prompts": [{"tokenIds": {"ids": [10, 11]}}], "includeCleanRun": )",
      clean ? "true" : "false", R"(, "probes": [{"name": "resid_post[0]", "statistics": [)",
      statistics, "]}]}}}"));
}

std::string Result(int layer, bool clean, double std) {
  return absl::StrCat(R"({"name": "resid_post[0]", "site": "SITE_RESID_POST", "layer": )", layer,
                      R"(, "clean": )", clean ? "true" : "false",
                      R"(, "statistics": [{"statistic": "STATISTIC_STD", "values": [)",
                      std::isfinite(std) ? absl::StrCat(std) : "\"NaN\"", "]}]}");
}

v1::RunResponse Layer(int layer, const std::vector<std::string>& results) {
  return Event(absl::StrCat(R"({"layerStatistics": {"layer": )", layer, R"(, "results": [)",
                            absl::StrJoin(results, ","), "]}}"));
}

v1::RunResponse Finished() {
  return Event(
      R"({"finished": {"queueUs": 200, "computeUs": 31500,
                   "tokensComputed": 4, "tensorBytes": 12}})");
}

TEST_F(ClientCli, ShowsCleanAndEditedSideBySideOnOneScale) {
  Play({Started("\"STATISTIC_STD\"", true), Layer(0, {Result(0, true, 1), Result(0, false, 1)}),
        Layer(1, {Result(1, true, 4.5), Result(1, false, NAN)}),
        Layer(2, {Result(2, true, 8), Result(2, false, 2)}),
        Event(R"({"logits": {"clean": true, "positions": [{"position": 1, "tokens": [
              {"tokenId": 5, "token": " Paris", "logit": 9, "logProb": -0.6931472}]}]}})"),
        Event(R"({"logits": {"positions": [{"position": 1, "tokens": [
              {"tokenId": 6, "token": "\n", "logit": 9, "logProb": 0}]}]}})"),
        Event(
            R"({"interventionReport": {"name": "zero[0]", "sitesTouched": 1,
              "elementsSelected": 5120, "elementsChanged": 5119, "maxAbsChange": 3.25}})"),
        Finished()});
  const Outcome outcome = Program({"run", "The end", "--clean"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  // The total time is the one thing that differs between runs.
  const std::string before_total = outcome.out.substr(0, outcome.out.find(", total "));
  EXPECT_EQ(before_total, R"(run r1  1 prompt, 4 tokens, 2.5 GFLOP
  0  "The end"

                                         std
  layer  probe              clean     edited
      0  resid_post[0]          1          1
      1  resid_post[0]        4.5        nan
      2  resid_post[0]          8          2

std of resid_post[0] at layers 0 to 2, from 1 to 8
  clean   ▁▅█
  edited  ▁?▂

next token after position 1, " end"
  clean                                  edited
  " Paris"               50.0% ████      "\n"                  100.0% ████████

interventions
  #  name     places  elements  changed  max |change|
  0  zero[0]       1     5,120    5,119          3.25

queue 0.2 ms, compute 31.5 ms)");
  for (const absl::string_view line : absl::StrSplit(outcome.out, '\n')) {
    EXPECT_LE(Columns(line), 80) << line;
  }
  EXPECT_THAT(outcome.out, Not(HasSubstr("\x1b")));
}

v1::SweepResponse SweepEvent(const std::string& json) {
  v1::SweepResponse event;
  const auto status = google::protobuf::util::JsonStringToMessage(json, &event);
  EXPECT_TRUE(status.ok()) << status << " in " << json;
  return event;
}

std::vector<v1::SweepResponse> SmallSweep() {
  std::vector<v1::SweepResponse> events = {
      SweepEvent(R"({"started": {"requestId": "s1", "variants": 6, "cost": {"flops": 2.5e9},
          "axes": [{"name": "layer", "labels": ["0", "1"]},
                   {"name": "position", "labels": ["0 \" a\"", "1 \" b\"", "2 \"\u001b\""]}],
          "prompts": [{"ids": [1, 2, 3], "tokens": [" a", " b", "\u001b"]}],
          "normalized": {"prompts": [{}], "metrics": [{"name": "diff"}]}}})"),
      SweepEvent(R"({"clean": {"metrics": [{"name": "diff", "values": [1.5]}]}})"),
      SweepEvent(R"({"progress": {"done": 3, "total": 6}})")};
  for (int i = 5; i >= 0; --i) {
    events.push_back(SweepEvent(absl::StrCat(R"({"variant": {"index": )", i,
                                             R"(, "coordinates": [)", i / 3, ", ", i % 3, "]}}")));
  }
  events.push_back(SweepEvent(R"({"matrix": {"name": "diff", "shape": [2, 3],
      "values": [1.5, 0, "NaN", 2, 1, 9.5]}})"));
  events.push_back(SweepEvent(R"({"finished": {"queueUs": 200, "computeUs": 60000,
      "tokensComputed": 12, "variants": 6}})"));
  return events;
}

TEST_F(ClientCli, DrawsASweepInDigitsWithoutATerminal) {
  service_.sweep = SmallSweep();
  const Outcome outcome = Program({"sweep", "x"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  EXPECT_EQ(outcome.out.substr(0, outcome.out.find(", total ")),
            R"(sweep s1  2 layers x 3 positions, 1 prompt, 2.5 GFLOP
  0  " a b\x1b"

diff  clean 1.5
            layer
  position  0 1
  0 " a"    1 2
  1 " b"    0 1
  2 "\x1b"  ? 9
  0 is 0, 9 is 9.5, clean 1.5
  furthest from clean
  layer 1, position 2 "\x1b"  9.5    +8
  layer 0, position 1 " b"      0  -1.5
  layer 1, position 0 " a"      2  +0.5
  layer 1, position 1 " b"      1  -0.5
  layer 0, position 0 " a"    1.5    +0

queue 0.2 ms, compute 60.0 ms, 10.0 ms a variant)");
}

TEST_F(ClientCli, DrawsASweepInColoursAndShowsProgress) {
  service_.sweep = SmallSweep();
  const Outcome outcome = Program({"sweep", "x"}, 80, /*terminal=*/true);
  EXPECT_THAT(outcome.out, HasSubstr("\x1b[48;5;226;38;5;16m 9.50 \x1b[0m"));
  EXPECT_THAT(outcome.err, HasSubstr("3 of 6 variants"));
  EXPECT_THAT(outcome.err, testing::EndsWith("\r\x1b[K"));
}

TEST_F(ClientCli, AnIncompleteSweepIsAnError) {
  service_.sweep = SmallSweep();
  service_.sweep.pop_back();
  const Outcome outcome = Program({"sweep", "x"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("ended without `finished`"));
}

TEST_F(ClientCli, PutsStatisticsBelowEachOtherWhereTheyDoNotFit) {
  Play({Started(R"("STATISTIC_MEAN", "STATISTIC_STD", "STATISTIC_MIN", "STATISTIC_MAX")", true),
        Layer(0, {Result(0, true, 1.5), Result(0, false, 2)}), Finished()});
  const Outcome outcome = Program({"run", "x"});
  EXPECT_THAT(outcome.out,
              HasSubstr("  layer  probe          statistic           clean     edited\n"
                        "      0  resid_post[0]  std                   1.5          2\n"));
}

TEST_F(ClientCli, ShowsEachRowWhileLaterLayersStillCompute) {
  // Reads what was printed when the server is between two layers.
  std::ostringstream out;
  std::mutex mutex;
  struct Locked : std::stringbuf {
    explicit Locked(std::mutex& mutex) : mutex(mutex) {}
    std::streamsize xsputn(const char* text, std::streamsize size) override {
      const std::lock_guard lock(mutex);
      return std::stringbuf::xsputn(text, size);
    }
    std::string Text() {
      const std::lock_guard lock(mutex);
      return str();
    }
    std::mutex& mutex;
  } buffer(mutex);
  std::ostream stream_out(&buffer);
  bool seen = false;
  service_.run = [&](grpc::ServerContext&, const v1::RunRequest&, FakeService::Stream& stream) {
    stream.Write(Started("\"STATISTIC_STD\"", false));
    stream.Write(Layer(0, {Result(0, false, 1.25)}));
    for (int i = 0; i < 1000 && !seen; ++i) {
      seen = buffer.Text().find("1.25") != std::string::npos;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    stream.Write(Finished());
    return grpc::Status::OK;
  };
  std::istringstream in;
  std::ostringstream err;
  EXPECT_EQ(RunProgram({"run", "x"}, {in, Screen{stream_out, 80}, err, address_}), 0) << err.str();
  EXPECT_TRUE(seen);
}

TEST_F(ClientCli, ShowsNumbersPerHeadAndHistograms) {
  Play({Started("\"STATISTIC_ENTROPY\"", false),
        Layer(1, {R"({"name": "resid_post[0]", "layer": 1, "shape": ["3"],
                      "statistics": [
                        {"statistic": "STATISTIC_ENTROPY", "values": [0.5, 1, 1.5]}]})",
                  R"({"name": "h", "layer": 1,
                      "histogram": {"counts": ["0", "7", "3"], "below": ["2"], "above": ["0"]}})"}),
        Finished()});
  const Outcome outcome = Program({"run", "x"});
  EXPECT_THAT(outcome.out, HasSubstr("  layer 1 resid_post[0] entropy [3]\n         0.5 1 1.5\n"));
  EXPECT_THAT(outcome.out, HasSubstr("  layer 1 h histogram, 2 below, 0 above\n         ▁█▄\n"));
}

TEST_F(ClientCli, PrintsRawEventsAsJson) {
  Play({Started("\"STATISTIC_STD\"", false), Finished()});
  const Outcome outcome = Program({"run", "x", "--json"});
  EXPECT_EQ(outcome.code, 0);
  const std::vector<std::string> lines = absl::StrSplit(outcome.out, '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_TRUE(Event(lines[0]).has_started());
  EXPECT_EQ(Event(lines[1]).finished().compute_us(), 31500);
  EXPECT_THAT(lines[0], HasSubstr("\"request_id\":\"r1\""));
}

v1::RunResponse Chunk(const std::string& data, uint64_t offset) {
  v1::RunResponse event;
  v1::TensorChunk* chunk = event.mutable_tensor_chunk();
  chunk->set_offset(offset);
  chunk->set_data(data);
  if (offset > 0) return event;
  v1::TensorHeader* header = chunk->mutable_header();
  header->set_kind(v1::TENSOR_KIND_CAPTURE);
  header->set_name("z[0]");
  header->set_layer(3);
  header->add_prompts(0);
  header->set_dtype(v1::DATA_TYPE_FLOAT16);
  header->add_shape(4);
  header->set_size_bytes(8);
  return event;
}

TEST_F(ClientCli, SavesTensors) {
  Play({Started("", false), Chunk("abcd", 0), Chunk("efgh", 4), Finished()});
  const std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) / "scalpel_cli_test";
  std::filesystem::remove_all(folder);
  const Outcome outcome = Program({"run", "x", "--save", folder.string()});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("  tensor 0  z[0] layer 3 prompt 0  float16 [4], 8 B\n"));
  EXPECT_EQ(std::filesystem::file_size(folder / "z.0.layer3.prompt0.npy"), 128 + 8u);
  std::filesystem::remove_all(folder);
}

TEST_F(ClientCli, RefusesBrokenStreams) {
  Play({Started("", false), Chunk("abcd", 0), Finished()});
  Outcome outcome = Program({"run", "x"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(outcome.err, "scalpel-cli: tensor 0: the stream ended after 4 of 8 bytes\n");
  Play({Started("", false), Chunk("abcd", 0), Chunk("efgh", 5)});
  outcome = Program({"run", "x"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(outcome.err, "scalpel-cli: tensor 0, chunk at byte 5: it should start at byte 4\n");
  Play({Started("", false)});
  outcome = Program({"run", "x"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(outcome.err, "scalpel-cli: the stream ended without `finished`; run it again\n");
}

TEST_F(ClientCli, AcceptsTheOneEventOfValidateOnly) {
  v1::RunResponse started = Started("", false);
  started.mutable_started()->mutable_normalized()->set_validate_only(true);
  Play({started});
  const Outcome outcome = Program({"run", "x", "--validate-only"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("\"validate_only\": true"));
}

TEST_F(ClientCli, SendsTheRequestOfTheCommandLine) {
  v1::RunRequest received;
  std::string request_id;
  service_.run = [&](grpc::ServerContext& context, const v1::RunRequest& request,
                     FakeService::Stream& stream) {
    received = request;
    const auto found = context.client_metadata().find("x-request-id");
    if (found != context.client_metadata().end()) {
      request_id.assign(found->second.begin(), found->second.end());
    }
    stream.Write(Finished());
    return grpc::Status::OK;
  };
  EXPECT_EQ(Program({"run", "hello", "--zero", "K:layer=5,head=2", "--request-id", "mine",
                     "--model", "m"})
                .code,
            0);
  EXPECT_EQ(received.model(), "m");
  EXPECT_EQ(received.prompts(0).text(), "hello");
  EXPECT_EQ(received.interventions(0).place().site(), v1::SITE_K);
  EXPECT_EQ(received.interventions(0).place().where().heads(0), 2);
  EXPECT_EQ(request_id, "mine");
}

grpc::Status Refusal(grpc::StatusCode code, const google::protobuf::Message& detail) {
  google::rpc::Status status;
  status.set_code(code);
  status.add_details()->PackFrom(detail);
  return {code, "no\x1b[31m", status.SerializeAsString()};
}

TEST_F(ClientCli, PrintsEveryViolationEscaped) {
  google::rpc::BadRequest bad;
  for (const char* field : {"interventions[0].place", "probes[1]\n"}) {
    auto* violation = bad.add_field_violations();
    violation->set_field(field);
    violation->set_description("is wrong; say something else");
  }
  service_.run = [&](auto&, auto&, auto&) {
    return Refusal(grpc::StatusCode::INVALID_ARGUMENT, bad);
  };
  const Outcome outcome = Program({"run", "x"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(outcome.err,
            "scalpel-cli: INVALID_ARGUMENT: no\\x1b[31m\n"
            "  interventions[0].place: is wrong; say something else\n"
            "  probes[1]\\n: is wrong; say something else\n");
}

TEST_F(ClientCli, PrintsQuotaAndRetry) {
  google::rpc::QuotaFailure quota;
  quota.add_violations()->set_subject("limits.max_response_bytes");
  quota.mutable_violations(0)->set_description("2 GiB of 1 GiB");
  service_.run = [&](auto&, auto&, auto&) {
    return Refusal(grpc::StatusCode::RESOURCE_EXHAUSTED, quota);
  };
  Outcome outcome = Program({"run", "x"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("RESOURCE_EXHAUSTED: no"));
  EXPECT_THAT(outcome.err, HasSubstr("  limits.max_response_bytes: 2 GiB of 1 GiB\n"));
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_nanos(500'000'000);
  service_.run = [&](auto&, auto&, auto&) {
    return Refusal(grpc::StatusCode::RESOURCE_EXHAUSTED, retry);
  };
  outcome = Program({"run", "x"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("  try again after 0.5 s\n"));
}

// The first `failures` calls of Run end with `failure`, later ones succeed.
void FailFirst(FakeService& service, int failures, const grpc::Status& failure, int* calls) {
  service.run = [=](grpc::ServerContext&, const v1::RunRequest&, FakeService::Stream& stream) {
    if (++*calls <= failures) return failure;
    stream.Write(Finished());
    return grpc::Status::OK;
  };
}

TEST_F(ClientCli, RetriesIfTheServerSendsRetryInfo) {
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_nanos(300'000'000);
  int calls = 0;
  FailFirst(service_, 1, Refusal(grpc::StatusCode::RESOURCE_EXHAUSTED, retry), &calls);
  const auto began = std::chrono::steady_clock::now();
  const Outcome full = Program({"run", "x"});
  EXPECT_EQ(full.code, 0) << full.err;
  EXPECT_EQ(calls, 2);
  EXPECT_GE(std::chrono::steady_clock::now() - began, std::chrono::milliseconds(300));
  calls = 0;
  FailFirst(service_, 2, {grpc::StatusCode::UNAVAILABLE, "loading"}, &calls);
  EXPECT_EQ(Program({"run", "x"}).code, 0);
  EXPECT_EQ(calls, 3);
}

TEST_F(ClientCli, DoesNotRetryWhereThatCannotHelp) {
  int calls = 0;
  FailFirst(service_, 9, Refusal(grpc::StatusCode::RESOURCE_EXHAUSTED, google::rpc::QuotaFailure()),
            &calls);
  EXPECT_EQ(Program({"run", "x"}).code, 1);
  EXPECT_EQ(calls, 1);
  // What has been shown cannot be taken back.
  calls = 0;
  service_.run = [&](auto&, auto&, FakeService::Stream& stream) {
    ++calls;
    stream.Write(Started("", false));
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "it went away");
  };
  EXPECT_EQ(Program({"run", "x"}).code, 3);
  EXPECT_EQ(calls, 1);
}

TEST_F(ClientCli, SendsTheTokenAndPrintsARemedyIfRefused) {
  std::string sent;
  grpc::Status answer(grpc::StatusCode::UNAUTHENTICATED, "no token");
  service_.run = [&](grpc::ServerContext& context, auto&, auto&) {
    const auto found = context.client_metadata().find("authorization");
    sent = found == context.client_metadata().end()
               ? "none"
               : std::string(found->second.begin(), found->second.end());
    return answer;
  };
  Outcome outcome = Program({"run", "x"});
  EXPECT_EQ(sent, "none");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(outcome.err,
            "scalpel-cli: UNAUTHENTICATED: no token\n"
            "  give a token by --token-file or $SCALPEL_TOKEN, or --cert and --key\n");
  outcome = Program({"run", "x"}, 80, false, "secret");
  EXPECT_EQ(sent, "Bearer secret");
  EXPECT_THAT(outcome.err, HasSubstr("  the token is wrong or has expired"));
  EXPECT_THAT(outcome.err, Not(HasSubstr("secret")));
  answer = {grpc::StatusCode::PERMISSION_DENIED, "a reader may not"};
  outcome = Program({"run", "x"}, 80, false, "secret");
  EXPECT_THAT(outcome.err, HasSubstr("PERMISSION_DENIED: a reader may not\n  who runs the server"));
  outcome = Program({"run", "x", "--server", "example.org:1"}, 80, false, "secret");
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("would travel to example.org:1 unencrypted; add --tls"));
}

TEST_F(ClientCli, ExitCodesTellUsageConnectionAndDeadlineApart) {
  EXPECT_EQ(Program({"run", "x", "--zero", "K:haed=1"}).code, 2);
  EXPECT_EQ(Program({"run", "missing.json"}).code, 2);
  EXPECT_EQ(Program({"detokenize", "x"}).code, 2);
  const Outcome no_server = Program({"model", "--server", "127.0.0.1:1"});
  EXPECT_EQ(no_server.code, 3);
  EXPECT_THAT(no_server.err, HasSubstr("is a server ready at 127.0.0.1:1?"));
  service_.run = [](grpc::ServerContext& context, const v1::RunRequest&, FakeService::Stream&) {
    while (!context.IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return grpc::Status::CANCELLED;
  };
  const Outcome late = Program({"run", "x", "--deadline", "0.2"});
  EXPECT_EQ(late.code, 4);
  EXPECT_THAT(late.err, HasSubstr("DEADLINE_EXCEEDED"));
}

TEST_F(ClientCli, CancelsTheCallOnCtrlC) {
  bool cancelled = false;
  service_.run = [&](grpc::ServerContext& context, const v1::RunRequest&,
                     FakeService::Stream& stream) {
    stream.Write(Started("", false));
    std::raise(SIGINT);
    for (int i = 0; i < 2000 && !context.IsCancelled(); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    cancelled = context.IsCancelled();
    return grpc::Status::CANCELLED;
  };
  const Outcome outcome = Program({"run", "x"});
  EXPECT_EQ(outcome.code, 130);
  EXPECT_EQ(outcome.err, "scalpel-cli: interrupted\n");
  server_->Shutdown();  // waits for the handler
  EXPECT_TRUE(cancelled);
}

TEST_F(ClientCli, CancelsTheCallWhenTheOutputIsClosed) {
  bool cancelled = false;
  service_.run = [&](grpc::ServerContext& context, const v1::RunRequest&,
                     FakeService::Stream& stream) {
    stream.Write(Started("", false));
    for (int i = 0; i < 2000 && !context.IsCancelled(); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    cancelled = context.IsCancelled();
    return grpc::Status::CANCELLED;
  };
  struct Closed : std::streambuf {
  } closed;
  std::ostream out(&closed);
  std::istringstream in;
  std::ostringstream err;
  EXPECT_EQ(RunProgram({"run", "x"}, {in, Screen{out, 80}, err, address_}), 0);
  EXPECT_EQ(err.str(), "");
  server_->Shutdown();  // waits for the handler
  EXPECT_TRUE(cancelled);
}

TEST_F(ClientCli, ShowsTheModel) {
  const Outcome outcome = Program({"model"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("n_layer                          4\n"));
  EXPECT_THAT(outcome.out, HasSubstr("vocab_size                       50,257\n"));
  EXPECT_THAT(outcome.out,
              HasSubstr("  k     LE  [position, head, unit 64]  attn.hook_k hook_k\n"));
  EXPECT_THAT(outcome.out, testing::ContainsRegex("max_request_bytes +16 MiB\n"));
  EXPECT_THAT(outcome.out, HasSubstr("statistics  abs_max\n"));
  for (const absl::string_view line : absl::StrSplit(outcome.out, '\n')) {
    EXPECT_LE(Columns(line), 80) << line;
  }
  const Outcome missing = Program({"model", "--model", "other"});
  EXPECT_EQ(missing.code, 1);
  EXPECT_EQ(missing.err,
            "scalpel-cli: NOT_FOUND: model: no such model; the served one is `tiny`\n");
}

// The status of a server after this many seconds of constant load.
v1::GetStatusResponse StatusAfter(int64_t seconds) {
  v1::GetStatusResponse status;
  status.set_server_version("1.2.3");
  status.set_model("tiny");
  status.set_device("cpu");
  status.set_state(v1::SERVER_STATE_SERVING);
  status.set_uptime_us(seconds * 1'000'000);
  v1::MethodStatus* run = status.add_methods();
  run->set_method("Run");
  run->set_calls(2);
  run->set_ended(10 * seconds);
  status.add_callers()->set_name(
      "ali\x1b"
      "ce");
  status.mutable_callers(0)->set_calls(2);
  status.add_rejections()->set_reason("queue_full");
  status.mutable_rejections(0)->set_count(7);
  status.add_rejections()->set_reason("invalid");
  v1::EngineStatus* engine = status.mutable_engine();
  engine->set_queued(3);
  engine->set_running(1);
  engine->set_waves(20 * seconds);
  engine->set_rows(40 * seconds);
  engine->set_tokens(1000 * seconds);
  engine->set_tokens_computed(250 * seconds);
  engine->set_flops(4e9 * static_cast<double>(seconds));
  engine->set_flops_computed(1e9 * static_cast<double>(seconds));
  engine->set_busy_us(500'000 * seconds);
  status.mutable_baseline_cache()->set_hits(3);
  status.mutable_baseline_cache()->set_misses(1);
  status.mutable_baseline_cache()->set_entries(2);
  status.mutable_memory()->set_resident_bytes(512 << 20);
  status.mutable_memory()->set_limit_bytes(int64_t{2} << 30);
  status.set_connections(4);
  return status;
}

TEST_F(ClientCli, ShowsTheStatus) {
  service_.status = [](v1::GetStatusResponse& status) {
    return status = StatusAfter(3725), grpc::Status::OK;
  };
  const Outcome outcome = Program({"status"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  for (const char* part :
       {"scalpel 1.2.3  tiny on cpu  serving, up 1h2m5s\n", "queue        3 waiting, 1 running\n",
        "engine       50% busy, 20/s passes, 40/s rows\n", "tokens       1000/s, 75% saved\n",
        "compute      1 GFLOP/s, 75% saved\n", "cache        0 B of 0 B, 2 prompts, 75% hits\n",
        "memory       512 MiB of 2 GiB\n", "connections  4\n", "Run             2  37,250  10/s\n",
        "ali\\x1bce          2\n", "queue_full       7\n"}) {
    EXPECT_THAT(outcome.out, HasSubstr(part));
  }
  EXPECT_THAT(outcome.out, Not(HasSubstr("invalid"))) << "nothing was";
  const Outcome json = Program({"status", "--json"});
  EXPECT_THAT(json.out, HasSubstr("\"state\":\"SERVER_STATE_SERVING\""));
}

TEST_F(ClientCli, ShowsALoadingServer) {
  service_.status = [](v1::GetStatusResponse& status) {
    status.set_server_version("1.2.3");
    status.set_state(v1::SERVER_STATE_LOADING);
    status.set_uptime_us(2'000'000);
    return grpc::Status::OK;
  };
  const Outcome outcome = Program({"status"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, testing::StartsWith("scalpel 1.2.3  loading, up 2s\n"));
  EXPECT_THAT(outcome.out, Not(HasSubstr("queue")));
}

TEST_F(ClientCli, TopShowsRatesOfTheLastInterval) {
  // 3725 s of work, and then a second without.
  int64_t asked = 0;
  service_.status = [&asked](v1::GetStatusResponse& status) {
    status = StatusAfter(3725);
    status.set_uptime_us(status.uptime_us() + 1'000'000 * asked++);
    return grpc::Status::OK;
  };
  const Outcome outcome = Program({"top", "--refreshes", "2"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(asked, 2);
  const size_t second = outcome.out.find("\n\nscalpel 1.2.3");
  ASSERT_NE(second, std::string::npos) << outcome.out;
  EXPECT_THAT(outcome.out.substr(0, second), HasSubstr("50% busy"));
  EXPECT_THAT(outcome.out.substr(second), HasSubstr("0% busy, 0/s passes"));
  EXPECT_THAT(outcome.out.substr(second), HasSubstr("tokens       0/s\n"));
  EXPECT_THAT(outcome.out, Not(HasSubstr("\x1b")));
}

TEST_F(ClientCli, TopReplacesWhatATerminalShows) {
  service_.status = [](v1::GetStatusResponse& status) {
    return status = StatusAfter(9), grpc::Status::OK;
  };
  std::istringstream in;
  std::ostringstream out, err;
  EXPECT_EQ(RunProgram({"top", "--refreshes", "1"},
                       {in, Screen{out, 80, /*colour=*/false, /*terminal=*/true}, err, address_}),
            0);
  EXPECT_THAT(out.str(), testing::StartsWith("\x1b[H\x1b[Jscalpel 1.2.3"));
}

TEST_F(ClientCli, TopEndsQuietlyAndFailsLoudly) {
  service_.status = [](v1::GetStatusResponse& status) {
    std::raise(SIGINT);
    return status = StatusAfter(9), grpc::Status::OK;
  };
  const Outcome interrupted = Program({"top"});
  EXPECT_EQ(interrupted.code, 0);
  EXPECT_EQ(interrupted.err, "");
  service_.status = [](v1::GetStatusResponse&) {
    return grpc::Status(grpc::StatusCode::PERMISSION_DENIED, "needs the role operator");
  };
  const Outcome refused = Program({"top"});
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, HasSubstr("needs the role operator"));
  EXPECT_EQ(Program({"top", "--refreshes", "0"}).code, 2);
  EXPECT_EQ(Program({"top", "often"}).code, 2);
}

TEST_F(ClientCli, TokenizesDetokenizesAndAsksForHealth) {
  EXPECT_EQ(Program({"tokenize", " four"}).out,
            "  position  id  token\n         0   5  \" four\"\n5\n");
  EXPECT_EQ(Program({"detokenize", "1,2", "3"}).out, "\" ids\\x1b 3\"\n");
  EXPECT_EQ(Program({"health"}).out, "SERVING\n");
  EXPECT_EQ(Program({"health", "--json"}).out, "{\"status\":\"SERVING\"}\n");
  const Outcome unknown = Program({"health", "other"});
  EXPECT_EQ(unknown.code, 1);
  EXPECT_THAT(unknown.err, HasSubstr("NOT_FOUND"));
  server_->GetHealthCheckService()->SetServingStatus(false);
  const Outcome loading = Program({"health"});
  EXPECT_EQ(loading.out, "NOT_SERVING\n");
  EXPECT_EQ(loading.code, 3);
}

}  // namespace
}  // namespace scalpel::client

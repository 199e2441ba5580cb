#include "client/cpp/flags.h"

#include <cstdint>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "client/cpp/generate_flags.h"
#include "client/cpp/spec_request.h"
#include "client/cpp/sweep_flags.h"
#include "client/cpp/text.h"

namespace scalpel::client {
namespace {

constexpr int64_t kDeadlineSecondsMax = 86400;

using View = absl::string_view;

absl::Status Wrong(absl::string_view flag, absl::string_view value, absl::string_view remedy) {
  return absl::InvalidArgumentError(absl::StrCat(flag, ": `", Printable(value), "` ", remedy));
}

// Calls `use` with the parsed value, or returns the parser's error.
template <typename T, typename Use>
absl::Status With(const absl::StatusOr<T>& value, Use use) {
  if (value.ok()) use(*value);
  return value.status();
}

absl::Status SetDeadline(absl::string_view value, Options& options) {
  double seconds;
  if (!absl::SimpleAtod(value, &seconds) || !(seconds > 0 && seconds <= kDeadlineSecondsMax)) {
    return Wrong("--deadline", value,
                 absl::StrCat("is not a time in seconds; write one up to ", kDeadlineSecondsMax));
  }
  options.deadline_seconds = seconds;
  return absl::OkStatus();
}

absl::Status SetTopK(absl::string_view value, Options& options) {
  int32_t k;
  if (!absl::SimpleAtoi(value, &k)) {
    return Wrong("--top-k", value, "is not an integer; write one such as 10");
  }
  options.request.mutable_logits()->mutable_top_k()->set_k(k);
  return absl::OkStatus();
}

absl::Status SetSeed(absl::string_view value, Options& options) {
  uint64_t seed;
  if (!absl::SimpleAtoi(value, &seed)) {
    return Wrong("--seed", value, "is not an integer from 0 to 2^64 - 1");
  }
  options.request.set_seed(seed);
  return absl::OkStatus();
}

absl::Status SetBlockOutputs(absl::string_view value, Options& options) {
  v1::BlockOutputs* outputs = options.request.mutable_block_outputs();
  if (value == "all") return absl::OkStatus();
  return With(Int32sOf("--block-outputs", value), [outputs](const std::vector<int32_t>& layers) {
    outputs->mutable_layers()->Add(layers.begin(), layers.end());
  });
}

absl::Status SetDtype(absl::string_view value, Options& options) {
  for (const auto dtype : {v1::DATA_TYPE_FLOAT32, v1::DATA_TYPE_FLOAT16, v1::DATA_TYPE_BFLOAT16}) {
    if (value == NameOf(dtype)) {
      options.request.mutable_block_outputs()->set_dtype(dtype);
      return absl::OkStatus();
    }
  }
  return Wrong("--block-dtype", value, "is not a type; write float32, float16 or bfloat16");
}

std::vector<Flag> CommonFlags() {
  return {
      {"--server", "HOST:PORT", "default $SCALPEL_SERVER_ADDRESS, or 127.0.0.1:50051",
       [](View value, Options& options) {
         return options.server = std::string(value), absl::OkStatus();
       }},
      {"--deadline", "SECONDS", "give up after this time; default 600", SetDeadline},
      {"--request-id", "ID", "names the call in the server's log",
       [](View value, Options& options) {
         return options.request_id = std::string(value), absl::OkStatus();
       }},
      {"--model", "NAME", "the model; default: the one that is served",
       [](View value, Options& options) {
         return options.model = std::string(value), absl::OkStatus();
       }},
      {"--json", nullptr, "print messages as protobuf JSON, one per line",
       [](View, Options& options) { return options.json = true, absl::OkStatus(); }},
      {"--help", nullptr, "print this text",
       [](View, Options& options) { return options.help = true, absl::OkStatus(); }},
  };
}

// Sets a field of Security. All of these flags except the token's also turn on TLS.
template <std::string Security::*field, bool tls = true>
absl::Status SetSecurity(View value, Options& options) {
  options.security.*field = std::string(value);
  options.security.tls |= tls;
  return absl::OkStatus();
}

std::vector<Flag> SecurityFlagList() {
  return {
      {"--tls", nullptr, "encrypt, and check the server's certificate",
       [](View, Options& options) { return options.security.tls = true, absl::OkStatus(); }},
      {"--ca", "FILE", "trusted CAs, in PEM; default: the system's",
       SetSecurity<&Security::ca_file>},
      {"--cert", "FILE", "your certificate, for mutual TLS; needs --key",
       SetSecurity<&Security::certificate_file>},
      {"--key", "FILE", "the private key of --cert", SetSecurity<&Security::key_file>},
      {"--server-name", "NAME", "name in the server's certificate, if not its host",
       SetSecurity<&Security::server_name>},
      {"--token-file", "FILE", "holds a bearer token; default $SCALPEL_TOKEN",
       SetSecurity<&Security::token_file, false>},
      {"--allow-plaintext-token", nullptr, "allow sending the token without TLS",
       [](View, Options& options) {
         return options.security.allow_plaintext_token = true, absl::OkStatus();
       }},
  };
}

absl::Status SetRefreshes(absl::string_view value, Options& options) {
  if (absl::SimpleAtoi(value, &options.refreshes) && options.refreshes > 0) return absl::OkStatus();
  return Wrong("--refreshes", value, "is not a number of times; write one such as 10");
}

std::vector<Flag> TopFlags() {
  return {{"--refreshes", "N", "stop after N times; default: at Ctrl-C", SetRefreshes}};
}

std::vector<Flag> RequestFlags() {
  return {
      {"--prompt", "TEXT", "adds a prompt",
       [](View value, Options& options) {
         return options.request.add_prompts()->set_text(std::string(value)), absl::OkStatus();
       }},
      {"--tokens", "IDS", "adds a prompt of token ids, such as 464,3139",
       [](View value, Options& options) {
         return With(Int32sOf("--tokens", value), [&options](const std::vector<int32_t>& ids) {
           options.request.add_prompts()->mutable_token_ids()->mutable_ids()->Add(ids.begin(),
                                                                                  ids.end());
         });
       }},
      {"--probe", "SPEC", "statistics, layer by layer",
       [](View value, Options& options) {
         return With(ProbeOf(value),
                     [&options](const v1::Probe& probe) { *options.request.add_probes() = probe; });
       }},
      {"--top-k", "N", "N largest logits: shown (run: 10), or drawn from", SetTopK},
      {"--seed", "N", "key of the noise, and of draws; default 0", SetSeed},
      {"--allow-non-finite", nullptr, "admit NaN and infinities in interventions",
       [](View, Options& options) {
         return options.request.set_allow_non_finite(true), absl::OkStatus();
       }},
      {"--validate-only", nullptr, "only check the request and show its cost",
       [](View, Options& options) {
         return options.request.set_validate_only(true), absl::OkStatus();
       }},
  };
}

std::vector<Flag> AnswerFlags() {
  return {
      {"--clean", nullptr, "also run without interventions, and show both",
       [](View, Options& options) {
         return options.request.set_include_clean_run(true), absl::OkStatus();
       }},
      {"--capture", "SPEC", "sends an activation back whole",
       [](View value, Options& options) {
         return With(CaptureOf(value), [&options](const v1::Capture& capture) {
           *options.request.add_captures() = capture;
         });
       }},
      {"--logit-ids", "IDS", "the logits of these tokens",
       [](View value, Options& options) {
         return With(Int32sOf("--logit-ids", value), [&options](const std::vector<int32_t>& ids) {
           options.request.mutable_logits()->mutable_ids()->mutable_ids()->Add(ids.begin(),
                                                                               ids.end());
         });
       }},
      {"--full-logits", nullptr, "all logits, as a tensor",
       [](View, Options& options) {
         return options.request.mutable_logits()->mutable_full(), absl::OkStatus();
       }},
      {"--no-logits", nullptr, "no logits",
       [](View, Options& options) {
         return options.request.mutable_logits()->mutable_none(), absl::OkStatus();
       }},
      {"--positions", "POSITIONS", "where logits are read; default -1, the last",
       [](View value, Options& options) {
         return With(PositionsOf("--positions", value), [&options](const v1::Positions& positions) {
           *options.request.mutable_logits()->mutable_positions() = positions;
         });
       }},
      {"--block-outputs", "LAYERS", "output tuples of these blocks, such as 0,9, or all",
       SetBlockOutputs},
      {"--block-dtype", "TYPE", "their type: float32, float16 or bfloat16", SetDtype},
      {"--attentions", nullptr, "the tuples carry attention weights",
       [](View, Options& options) {
         return options.request.set_output_attentions(true), absl::OkStatus();
       }},
      {"--hidden-states", nullptr, "the n_layer + 1 hidden states",
       [](View, Options& options) {
         return options.request.set_output_hidden_states(true), absl::OkStatus();
       }},
      {"--save", "DIR", "write every tensor as .npy; replaces old files",
       [](View value, Options& options) {
         return options.save_folder = std::string(value), absl::OkStatus();
       }},
  };
}

}  // namespace

const std::vector<FlagGroup>& FlagGroups() {
  static const auto* const kGroups = new std::vector<FlagGroup>{
      {"Flags of every command", {}, CommonFlags()},
      {"TLS and tokens: all but the token's flags imply --tls", {}, SecurityFlagList()},
      {"What runs", {"run", "sweep", "generate"}, RequestFlags()},
      {"What comes back", {"run"}, AnswerFlags()},
      {"What varies, and what is measured", {"sweep"}, SweepFlags()},
      {"How text goes on", {"generate"}, GenerateFlags()},
      {"Refreshing", {"top"}, TopFlags()},
  };
  return *kGroups;
}

}  // namespace scalpel::client

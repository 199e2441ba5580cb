#include "server/config.h"

#include <cstdint>
#include <iterator>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace scalpel {
namespace {

namespace fs = std::filesystem;

// Each setter returns what is wrong with the value and what would be right; empty: nothing.
using Setter = std::string (*)(const std::string& value, Config* config);

std::string SetInteger(const std::string& value, int64_t least, int64_t most, int64_t* out) {
  if (absl::SimpleAtoi(value, out) && *out >= least && *out <= most) return "";
  return absl::StrCat("is not a whole number in [", least, ", ", most, "]");
}

template <typename Integer>
std::string SetInteger(const std::string& value, int64_t least, int64_t most, Integer* out) {
  int64_t wide = 0;
  std::string problem = SetInteger(value, least, most, &wide);
  if (problem.empty()) *out = static_cast<Integer>(wide);
  return problem;
}

std::string SetChoice(const std::string& value, std::initializer_list<absl::string_view> choices,
                      std::string* out) {
  std::string known;
  for (const absl::string_view choice : choices) {
    if (value == choice) {
      *out = value;
      return "";
    }
    absl::StrAppend(&known, known.empty() ? "" : ", ", choice);
  }
  return absl::StrCat("is none of ", known);
}

std::string SetModel(const std::string& value, Config* config) {
  if (value.empty()) return "is empty; give the folder with config.json";
  config->model = value;
  return "";
}

std::string SetModelName(const std::string& value, Config* config) {
  for (const unsigned char byte : value) {
    const bool plain = byte > 0x20 && byte < 0x7F;
    if (!plain) return "has spaces or bytes that are not ASCII; leave them out";
  }
  if (value.empty() || value.size() > 128) return "is not 1 to 128 characters long";
  config->model_name = value;
  return "";
}

std::string SetListen(const std::string& value, Config* config) {
  constexpr char kProblem[] = "is not HOST:PORT, such as 127.0.0.1:50051 or [::1]:50051";
  const size_t colon = value.rfind(':');
  if (colon == std::string::npos || colon == 0) return kProblem;
  const std::string host = value.substr(0, colon), port = value.substr(colon + 1);
  const bool bracketed = host.front() == '[' && host.back() == ']';
  if (!bracketed && host.find_first_of(":[]/ ") != std::string::npos) return kProblem;
  int number = 0;
  if (std::string problem = SetInteger(port, 0, 65535, &number); !problem.empty()) return kProblem;
  config->listen = value;
  return "";
}

struct Flag {
  absl::string_view name;
  absl::string_view value;  // as --help shows it; empty: the flag takes none
  absl::string_view help;
  Setter set;
};

constexpr int64_t kBytesMin = int64_t{64} << 10;
constexpr int64_t kBytesMax = int64_t{1} << 40;

constexpr Flag kFlags[] = {
    {"model", "DIR", "folder with config.json and model.safetensors (required)", SetModel},
    {"model-name", "NAME", "the name that requests may give (default: the folder's)", SetModelName},
    {"listen", "HOST:PORT", "where to listen; port 0 is any free one (default 127.0.0.1:50051)",
     SetListen},
    {"device", "DEVICE", "auto, cpu or cuda (default auto)",
     [](const std::string& value, Config* config) {
       return SetChoice(value, {"auto", "cpu", "cuda"}, &config->device);
     }},
    {"kernels", "NAME",
     "of linear layers on a CPU: auto (onednn, unless MKL is twice as fast), onednn or mkl "
     "(default "
     "auto)",
     [](const std::string& value, Config* config) {
       return SetChoice(value, {"auto", "onednn", "mkl"}, &config->kernels);
     }},
    {"threads", "N", "threads that compute on the CPU (default: all)",
     [](const std::string& value, Config* config) {
       return SetInteger(value, 1, 1024, &config->threads);
     }},
    {"max-response-bytes", "N", "estimated bytes of one response (default 1 GiB)",
     [](const std::string& value, Config* config) {
       return SetInteger(value, kBytesMin, kBytesMax, &config->limits.response_bytes_max);
     }},
    {"max-request-bytes", "N", "bytes of one request message (default 16 MiB)",
     [](const std::string& value, Config* config) {
       return SetInteger(value, 1024, INT32_MAX, &config->limits.request_bytes_max);
     }},
    {"max-tokens", "N", "tokens of one request, all rows together (default 16384)",
     [](const std::string& value, Config* config) {
       return SetInteger(value, 1, int64_t{1} << 24, &config->limits.tokens_max);
     }},
    {"max-queue", "N", "requests that wait for the engine (default 64)",
     [](const std::string& value, Config* config) {
       return SetInteger(value, 1, 100'000, &config->limits.queue_max);
     }},
    {"max-buffered-bytes", "N", "bytes of responses not yet read, all together (default 2 GiB)",
     [](const std::string& value, Config* config) {
       return SetInteger(value, kBytesMin, kBytesMax, &config->limits.buffered_bytes_max);
     }},
    {"wave-tokens", "N", "positions of several requests that share one pass (default 512)",
     [](const std::string& value, Config* config) {
       return SetInteger(value, 1, int64_t{1} << 20, &config->limits.wave_tokens_max);
     }},
    {"baseline-cache-bytes", "N", "clean runs kept for later requests; 0: none (default 1 GiB)",
     [](const std::string& value, Config* config) {
       return SetInteger(value, 0, kBytesMax, &config->limits.baseline_cache_bytes_max);
     }},
    {"drain-seconds", "N", "how long calls may go on after SIGTERM or Ctrl-C (default 30)",
     [](const std::string& value, Config* config) {
       return SetInteger(value, 0, 3600, &config->limits.drain_seconds_max);
     }},
    {"lame-duck-seconds", "N",
     "how long to serve on after SIGTERM while health says NOT_SERVING (default 0)",
     [](const std::string& value, Config* config) {
       return SetInteger(value, 0, 3600, &config->lame_duck_seconds);
     }},
    {"max-connections", "N", "connections open at once (default 1000)",
     [](const std::string& value, Config* config) {
       return SetInteger(value, 1, 1'000'000, &config->limits.connections_max);
     }},
    {"max-streams-per-connection", "N", "calls at once on one connection (default 100)",
     [](const std::string& value, Config* config) {
       return SetInteger(value, 1, 100'000, &config->limits.concurrent_streams_max);
     }},
    {"max-metadata-bytes", "N", "metadata of one call (default 16384)",
     [](const std::string& value, Config* config) {
       return SetInteger(value, 1024, 1 << 20, &config->limits.metadata_bytes_max);
     }},
    {"transport-bytes", "N", "received and not yet handed over, all together (default 256 MiB)",
     [](const std::string& value, Config* config) {
       return SetInteger(value, kBytesMin, kBytesMax, &config->limits.transport_bytes_max);
     }},
    {"tls-cert", "FILE", "certificate of the server in PEM form (default: no TLS)",
     [](const std::string& value, Config* config) {
       config->tls_cert = value;
       return std::string();
     }},
    {"tls-key", "FILE", "its private key",
     [](const std::string& value, Config* config) {
       config->tls_key = value;
       return std::string();
     }},
    {"tls-client-ca", "FILE", "clients must show a certificate that this one signed",
     [](const std::string& value, Config* config) {
       config->tls_client_ca = value;
       return std::string();
     }},
    {"log-level", "LEVEL", "debug, info, warn, error or off (default info)",
     [](const std::string& value, Config* config) {
       return SetChoice(value, {"debug", "info", "warn", "error", "off"}, &config->log_level);
     }},
    {"healthcheck", "", "ask the server at --listen how it is; exit 0 if SERVING, else 1",
     [](const std::string&, Config* config) {
       config->healthcheck = true;
       return std::string();
     }},
    {"help", "", "this text",
     [](const std::string&, Config* config) {
       config->help = true;
       return std::string();
     }},
    {"version", "", "the server's version",
     [](const std::string&, Config* config) {
       config->version = true;
       return std::string();
     }},
};

const Flag* FindFlag(absl::string_view name) {
  for (const Flag& flag : kFlags) {
    if (flag.name == name) return &flag;
  }
  return nullptr;
}

absl::Status Wrong(absl::string_view flag, absl::string_view problem) {
  return absl::InvalidArgumentError(absl::StrCat("--", flag, ": ", problem));
}

// Sets the flag at argv[*next], and moves *next past it and its value.
absl::Status SetFlag(int argc, const char* const* argv, int* next, Config* config) {
  const std::string argument = argv[(*next)++];
  const bool dashes = argument.size() > 2 && argument.compare(0, 2, "--") == 0;
  const size_t equals = argument.find('=');
  const std::string name =
      dashes ? argument.substr(2, equals == std::string::npos ? equals : equals - 2) : "";
  const Flag* flag = FindFlag(name);
  if (flag == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(argument, ": no such flag; --help lists them"));
  }
  const bool given = equals != std::string::npos;
  if (flag->value.empty() && given) return Wrong(flag->name, "takes no value; leave it out");
  std::string value = given ? argument.substr(equals + 1) : "";
  if (!flag->value.empty() && !given) {
    if (*next >= argc) {
      return Wrong(flag->name, absl::StrCat("needs a value: --", flag->name, " ", flag->value));
    }
    value = argv[(*next)++];
  }
  const std::string problem = flag->set(value, config);
  return problem.empty() ? absl::OkStatus()
                         : Wrong(flag->name, absl::StrCat("\"", value, "\" ", problem));
}

}  // namespace

absl::StatusOr<Config> ParseFlags(int argc, const char* const* argv) {
  Config config;
  for (int next = 1; next < argc;) {
    if (absl::Status status = SetFlag(argc, argv, &next, &config); !status.ok()) return status;
  }
  if (config.help || config.version || config.healthcheck) return config;
  if (config.model.empty()) return Wrong("model", "is required; give the folder with config.json");
  if (config.model_name.empty()) config.model_name = DefaultModelName(config.model);
  if (config.limits.buffered_bytes_max < config.limits.response_bytes_max) {
    return Wrong(
        "max-buffered-bytes",
        absl::StrCat(config.limits.buffered_bytes_max, " is less than --max-response-bytes, ",
                     config.limits.response_bytes_max, "; raise it or lower the other"));
  }
  return config;
}

std::string HelpText() {
  std::string text =
      "scalpel-server: runs a GPT-2 model under interventions that come with each request, over "
      "gRPC.\n\n"
      "usage: scalpel-server --model DIR [flags]\n\n";
  for (const Flag& flag : kFlags) {
    const std::string usage =
        absl::StrCat("--", flag.name, flag.value.empty() ? "" : " ", flag.value);
    absl::StrAppendFormat(&text, "  %-25s %s\n", usage, flag.help);
  }
  return text;
}

std::string DefaultModelName(const fs::path& folder) {
  fs::path path = fs::absolute(folder).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();  // a slash at the end
  const fs::path snapshots = path.parent_path();
  if (snapshots.filename() == "snapshots") {
    const std::string repository = snapshots.parent_path().filename().string();
    const size_t dashes = repository.rfind("--");
    if (repository.compare(0, 8, "models--") == 0) return repository.substr(dashes + 2);
  }
  return path.has_filename() ? path.filename().string() : "model";  // the root has no name
}

}  // namespace scalpel

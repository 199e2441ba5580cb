#include "server/program/banner.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "server/base/address.h"
#include "server/model/config.h"
#include "server/spec/sites.h"

namespace scalpel {
namespace {

constexpr size_t kHashDigits = 12;

// Formats 1'234'567 as `1.2 M`.
std::string Millions(int64_t count) {
  return absl::StrFormat("%.1f M", static_cast<double>(count) / 1e6);
}

// A request that scales the output of a late block, and probes the standard deviation of the
// residual stream at each layer.
std::string ExampleRequest(const spec::ModelFacts& facts) {
  const std::string prompt =
      facts.tokenizer ? R"("text":"When Mary and John went to the store, John gave a drink to")"
                      : R"("token_ids":{"ids":[0]})";
  return absl::StrCat(
      R"({"prompts":[{)", prompt, R"(}],"interventions":[{"place":{"path":"blocks.)",
      facts.config.n_layer * 3 / 4, R"(.hook_resid_post"},"scale":{"factor":0.1}}],)",
      R"("probes":[{"place":{"path":"resid_post"},"statistics":["STATISTIC_STD"]}]})");
}

// The flags by which grpcurl verifies the server and identifies the caller.
std::string CredentialFlags(const Config& config) {
  std::string flags = config.tls_cert.empty() ? "-plaintext" : "-cacert CA.pem";
  if (!config.tls_client_ca.empty()) absl::StrAppend(&flags, " -cert CLIENT.pem -key CLIENT.key");
  if (!config.tokens.empty()) {
    absl::StrAppend(&flags, R"( -H "authorization: Bearer $SCALPEL_TOKEN")");
  }
  return flags;
}

}  // namespace

std::string Banner(const rpc::Backend& backend, const Config& config, const std::string& address,
                   absl::Duration startup) {
  const model::Gpt2Config& model = backend.facts.config;
  std::string text;
  absl::StrAppendFormat(&text,
                        "  model     %s: %d layers, %d heads, width %d, %s parameters, float32\n",
                        backend.facts.name, model.n_layer, model.n_head, model.d_model,
                        Millions(model.ParameterCount()));
  absl::StrAppendFormat(&text, "  weights   sha256 %s\n",
                        backend.facts.weights_sha256.substr(0, kHashDigits));
  absl::StrAppendFormat(&text, "  device    %s, %s, %d threads\n", backend.device, backend.kernels,
                        backend.threads);
  const auto sites = spec::AllSites();
  const auto editable = std::count_if(sites.begin(), sites.end(),
                                      [](const auto& site) { return site.facts.editable(); });
  absl::StrAppendFormat(&text, "  sites     %d to observe, %d of them to edit\n", sites.size(),
                        editable);
  absl::StrAppendFormat(&text, "  limits    %d tokens a prompt, %d a request\n", model.n_ctx,
                        config.limits->max_tokens());
  absl::StrAppendFormat(&text, "  start-up  %.1f s\n\n", absl::ToDoubleSeconds(startup));
  absl::StrAppend(&text, "listening on ", address, "\n\ntry:\n  grpcurl ", CredentialFlags(config),
                  " -d '", ExampleRequest(backend.facts), "' ", Reachable(address),
                  " scalpel.v1.InterventionService/Run\n\n");
  return text;
}

}  // namespace scalpel

#include "server/program/gatekeeper.h"

#include <utility>

namespace scalpel {
namespace {

access::Policy PolicyOf(const Config& config, const access::TokenFile* tokens) {
  access::Policy policy;
  if (tokens != nullptr) policy.tokens = [tokens] { return tokens->tokens(); };
  policy.client_certificates = !config.tls_client_ca.empty();
  policy.per_caller = {config.limits->max_calls_per_caller(),
                       config.limits->max_tokens_per_second_per_caller()};
  return policy;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Gatekeeper>> Gatekeeper::Open(const Config& config) {
  std::unique_ptr<access::TokenFile> tokens;
  if (!config.tokens.empty()) {
    auto opened = access::TokenFile::Open(config.tokens);
    if (!opened.ok()) return opened.status();
    tokens = *std::move(opened);
  }
  return std::unique_ptr<Gatekeeper>(new Gatekeeper(config, std::move(tokens)));
}

Gatekeeper::Gatekeeper(const Config& config, std::unique_ptr<access::TokenFile> tokens)
    : tokens_(std::move(tokens)), gate_(PolicyOf(config, tokens_.get())) {}

}  // namespace scalpel

// The gate that the settings ask for.

#ifndef SCALPEL_SERVER_PROGRAM_GATEKEEPER_H_
#define SCALPEL_SERVER_PROGRAM_GATEKEEPER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "server/access/gate.h"
#include "server/access/token_file.h"
#include "server/config/config.h"

namespace scalpel {

// Owns the gate and the token file that it uses. Thread-safe.
class Gatekeeper {
 public:
  // Reads the token file, if one is set, and follows its changes. Errors as in TokenFile::Open.
  static absl::StatusOr<std::unique_ptr<Gatekeeper>> Open(const Config& config);

  access::Gate& gate() { return gate_; }
  // Returns the token file, or null if callers need no token.
  const access::TokenFile* tokens() const { return tokens_.get(); }

 private:
  Gatekeeper(const Config& config, std::unique_ptr<access::TokenFile> tokens);

  const std::unique_ptr<access::TokenFile> tokens_;
  access::Gate gate_;  // uses tokens_
};

}  // namespace scalpel

#endif  // SCALPEL_SERVER_PROGRAM_GATEKEEPER_H_

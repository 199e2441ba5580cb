// Who may call, as the settings say.

#ifndef SCALPEL_SERVER_PROGRAM_GATEKEEPER_H_
#define SCALPEL_SERVER_PROGRAM_GATEKEEPER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "server/access/gate.h"
#include "server/access/token_file.h"
#include "server/config/config.h"

namespace scalpel {

class Gatekeeper {
 public:
  // Reads the file of tokens, if there is one, and keeps it current. Errors as TokenFile::Open's.
  static absl::StatusOr<std::unique_ptr<Gatekeeper>> Open(const Config& config);

  access::Gate& gate() { return gate_; }
  const access::TokenFile* tokens() const { return tokens_.get(); }  // null: callers need none

 private:
  Gatekeeper(const Config& config, std::unique_ptr<access::TokenFile> tokens);

  const std::unique_ptr<access::TokenFile> tokens_;
  access::Gate gate_;  // uses them
};

}  // namespace scalpel

#endif  // SCALPEL_SERVER_PROGRAM_GATEKEEPER_H_

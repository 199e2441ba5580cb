// What gRPC 1.51 and newer versions of gRPC need differently to take credentials of the C
// interface.

#ifndef SCALPEL_SERVER_NET_CORE_CREDENTIALS_H_
#define SCALPEL_SERVER_NET_CORE_CREDENTIALS_H_

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpcpp/security/server_credentials.h>

#include <memory>
#include <string>
#include <type_traits>

namespace scalpel::net {

// grpc::ServerCredentials that own credentials of the C interface. Newer versions of the base class
// hold these themselves.
template <typename Base, bool kIsAbstract = std::is_abstract_v<Base>>
class BasicCoreCredentials final : public Base {
 public:
  explicit BasicCoreCredentials(grpc_server_credentials* core) : Base(core) {}
};

// In gRPC 1.51 the base class holds nothing, and its functions are pure.
template <typename Base>
class BasicCoreCredentials<Base, true> final : public Base {
 public:
  explicit BasicCoreCredentials(grpc_server_credentials* core) : core_(core) {}
  ~BasicCoreCredentials() override { grpc_server_credentials_release(core_); }

  void SetAuthMetadataProcessor(const std::shared_ptr<grpc::AuthMetadataProcessor>&) override {}

 private:
  int AddPortToServer(const std::string& address, grpc_server* server) override {
    return grpc_server_add_http2_port(server, address.c_str(), core_);
  }

  grpc_server_credentials* const core_;
};

using CoreCredentials = BasicCoreCredentials<grpc::ServerCredentials>;

}  // namespace scalpel::net

#endif  // SCALPEL_SERVER_NET_CORE_CREDENTIALS_H_

// One call to the server: its channel, deadline and cancellation.

#ifndef SCALPEL_CLIENT_CPP_CALL_H_
#define SCALPEL_CLIENT_CPP_CALL_H_

#include <memory>
#include <ostream>
#include <string>

#include "client/cpp/errors.h"
#include "client/cpp/interrupt.h"
#include "client/cpp/options.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"

namespace scalpel::client {

// Holds what every command needs. SIGINT cancels the call while it lives.
class Call {
 public:
  explicit Call(const Options& options);

  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  grpc::ClientContext* context() { return &context_; }

  // The exit code of the call's end; says on `err` why it failed.
  ExitCode End(const grpc::Status& status, std::ostream& err) const;

 private:
  const std::string server_;
  const std::shared_ptr<grpc::Channel> channel_;
  grpc::ClientContext context_;
  const Interrupt interrupt_;  // last: its thread cancels the context
};

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_CALL_H_

// The gRPC implementation of InterventionService in proto/scalpel/v1/service.proto.

#ifndef SCALPEL_SERVER_RPC_SERVICE_H_
#define SCALPEL_SERVER_RPC_SERVICE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "proto/scalpel/v1/service.grpc.pb.h"
#include "server/access/gate.h"
#include "server/contract/limits.h"
#include "server/insight/metrics.h"
#include "server/net/departures.h"
#include "server/net/stall_watch.h"
#include "server/rpc/backend.h"
#include "server/rpc/calls.h"
#include "server/rpc/response_stream.h"
#include "server/rpc/workers.h"

namespace scalpel::rpc {

// All methods are raw: messages are parsed here, because gRPC's own parser answers an unreadable
// one with UNIMPLEMENTED.
using RawInterventionService = v1::InterventionService::WithRawCallbackMethod_GetModel<
    v1::InterventionService::WithRawCallbackMethod_Tokenize<
        v1::InterventionService::WithRawCallbackMethod_Detokenize<
            v1::InterventionService::WithRawCallbackMethod_Run<
                v1::InterventionService::WithRawCallbackMethod_Sweep<
                    v1::InterventionService::WithRawCallbackMethod_Generate<
                        v1::InterventionService::WithRawCallbackMethod_GetStatus<
                            v1::InterventionService::Service>>>>>>>;

// Collaborators, which must outlive the service, and options.
struct Dependencies {
  access::Gate& gate;
  insight::Metrics& metrics;
  absl::Duration slow_call = absl::ZeroDuration();     // see Calls; zero: no call is slow
  absl::Duration reader_patience = absl::Minutes(10);  // see net::StallWatch
};

// Before Open and after Close every method but GetStatus answers UNAVAILABLE. Thread-safe.
class Service final : public RawInterventionService {
 public:
  Service(const Limits& limits, const Dependencies& dependencies);

  // Starts to serve `backend`.
  void Open(std::shared_ptr<const Backend> backend);
  // Refuses new calls. Calls in progress continue.
  void Close();
  // Asks the gate whether a call of server reflection may proceed, and sets its caller and permit.
  // Errors as in access::Gate::Enter.
  absl::Status AdmitReflection(const grpc::CallbackServerContext& context, Call* call) const;
  // Waits until no streaming call and no large answer is in progress. Returns false if `deadline`
  // passes first.
  bool WaitIdle(absl::Time deadline);
  // After Close, returns the peers whose connections can be closed; see net::Departures::Due.
  std::vector<std::string> TurnedAway() { return departures_.Due(absl::Now()); }

  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* Detokenize(grpc::CallbackServerContext* context,
                                       const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* response) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* Run(grpc::CallbackServerContext* context,
                                                  const grpc::ByteBuffer* request) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* Sweep(grpc::CallbackServerContext* context,
                                                    const grpc::ByteBuffer* request) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* Generate(grpc::CallbackServerContext* context,
                                                       const grpc::ByteBuffer* request) override;
  grpc::ServerUnaryReactor* GetStatus(grpc::CallbackServerContext* context,
                                      const grpc::ByteBuffer* request,
                                      grpc::ByteBuffer* response) override;

 private:
  // Answers a unary call with `answer(out)`, which returns absl::Status, if the call is admitted.
  template <typename Answerer>
  grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context, absl::string_view method,
                                   grpc::ByteBuffer* out, Answerer answer);
  // Parses the request of a unary call and answers it with `handle(request, backend)`, which
  // returns an absl::StatusOr of the response.
  template <typename Request, typename Handle>
  grpc::ServerUnaryReactor* AnswerServed(grpc::CallbackServerContext* context,
                                         absl::string_view method, const grpc::ByteBuffer& in,
                                         grpc::ByteBuffer* out, Handle handle);

  // Starts a streaming call.
  grpc::ServerWriteReactor<grpc::ByteBuffer>* Stream(grpc::CallbackServerContext* context,
                                                     absl::string_view method, Opener open,
                                                     const grpc::ByteBuffer& request);

  // The begin and end of a call that WaitIdle waits for. CallBegins must be called before Current,
  // so that WaitIdle after Close misses no call that was let in.
  void CallBegins(const std::string& peer);
  void CallEnds(Call& call, const absl::Status& status);

  // Returns the backend; null, with the reason in `unavailable`, before Open and after Close.
  std::shared_ptr<const Backend> Current(const grpc::CallbackServerContext& context,
                                         absl::Status* unavailable);
  v1::GetStatusResponse Status() const;

  const Limits limits_;
  const Dependencies dependencies_;
  const absl::Time began_ = absl::Now();
  Calls calls_;
  net::Departures departures_;
  mutable absl::Mutex mutex_;
  std::shared_ptr<const Backend> backend_ ABSL_GUARDED_BY(mutex_);  // null until Open
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  int running_ ABSL_GUARDED_BY(mutex_) = 0;  // calls that WaitIdle waits for
  net::StallWatch stalls_;
  Workers workers_;  // read and compile the requests of streaming calls
};

}  // namespace scalpel::rpc

#endif  // SCALPEL_SERVER_RPC_SERVICE_H_

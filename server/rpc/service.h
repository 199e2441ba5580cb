// The service of proto/scalpel/v1/service.proto on the wire.

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

// Messages are taken raw and parsed here, because gRPC's own parsing answers an unreadable one with
// UNIMPLEMENTED.
using RawInterventionService = v1::InterventionService::WithRawCallbackMethod_GetModel<
    v1::InterventionService::WithRawCallbackMethod_Tokenize<
        v1::InterventionService::WithRawCallbackMethod_Detokenize<
            v1::InterventionService::WithRawCallbackMethod_Run<
                v1::InterventionService::WithRawCallbackMethod_Sweep<
                    v1::InterventionService::WithRawCallbackMethod_GetStatus<
                        v1::InterventionService::Service>>>>>>;

// What the service stands in.
struct Surroundings {
  access::Gate& gate;  // these two outlive the service
  insight::Metrics& metrics;
  absl::Duration slow_call = absl::ZeroDuration();     // what takes longer is worth a warning
  absl::Duration reader_patience = absl::Minutes(10);  // as net::StallWatch takes it
};

// Every method but GetStatus answers UNAVAILABLE before Open and after Close. Thread-safe.
class Service final : public RawInterventionService {
 public:
  Service(const Limits& limits, const Surroundings& surroundings);

  // Begins to serve.
  void Open(std::shared_ptr<const Backend> backend);
  // Refuses new calls. Those that run go on.
  void Close();
  // Whether the gate lets a call of server reflection pass. It is logged, and counts
  // among its caller's calls.
  absl::Status AdmitReflection(const grpc::CallbackServerContext& context, Call* call) const;
  // Waits until no call is under way whose answer takes its time; false: `deadline` passed first.
  bool WaitIdle(absl::Time deadline);
  // After Close: peers whose connections can be ended, since nothing more is to be had there.
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
  grpc::ServerUnaryReactor* GetStatus(grpc::CallbackServerContext* context,
                                      const grpc::ByteBuffer* request,
                                      grpc::ByteBuffer* response) override;

 private:
  // Answers a unary call with `answer(out)`, if it is admitted.
  template <typename Answerer>
  grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context, absl::string_view method,
                                   grpc::ByteBuffer* out, Answerer answer);
  // The same with `handle(request, backend)`, which returns absl::StatusOr of a response.
  template <typename Request, typename Handle>
  grpc::ServerUnaryReactor* AnswerServed(grpc::CallbackServerContext* context,
                                         absl::string_view method, const grpc::ByteBuffer& in,
                                         grpc::ByteBuffer* out, Handle handle);

  // Begins a streaming call.
  grpc::ServerWriteReactor<grpc::ByteBuffer>* Stream(grpc::CallbackServerContext* context,
                                                     absl::string_view method, Opener open,
                                                     const grpc::ByteBuffer& request);

  // A call whose answer takes its time, so that WaitIdle waits for it. To begin before it is asked
  // whether the service is closed.
  void CallBegins(const std::string& peer);
  void CallEnds(Call& call, const absl::Status& status);

  // What is served to this caller; null with the reason in `unavailable`.
  std::shared_ptr<const Backend> Current(const grpc::CallbackServerContext& context,
                                         absl::Status* unavailable);
  v1::GetStatusResponse Status() const;

  const Limits limits_;
  const Surroundings surroundings_;
  const absl::Time began_ = absl::Now();
  Calls calls_;
  net::Departures departures_;
  mutable absl::Mutex mutex_;
  std::shared_ptr<const Backend> backend_ ABSL_GUARDED_BY(mutex_);  // null: not open yet
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  int running_ ABSL_GUARDED_BY(mutex_) = 0;  // streaming calls, and large answers
  net::StallWatch stalls_;
  Workers workers_;  // read and compile the requests of streaming calls
};

}  // namespace scalpel::rpc

#endif  // SCALPEL_SERVER_RPC_SERVICE_H_

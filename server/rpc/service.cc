#include "server/rpc/service.h"

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "server/rpc/call.h"
#include "server/rpc/codec.h"
#include "server/rpc/describe.h"
#include "server/rpc/entrance.h"
#include "server/rpc/errors.h"
#include "server/rpc/large_answer.h"
#include "server/rpc/openings.h"
#include "server/rpc/status.h"
#include "server/rpc/text.h"

namespace scalpel::rpc {
namespace {

// So that one large request leaves a thread for the others.
constexpr int kCompilingThreads = 2;

absl::Status CheckModel(const std::string& asked, const std::string& served) {
  if (asked.empty() || asked == served) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat("model: this server has \"", served, "\", not \"",
                                          absl::CEscape(asked.substr(0, 128)),
                                          "\"; leave the field out, or ask GetModel"));
}

}  // namespace

Service::Service(const Limits& limits, const Dependencies& dependencies)
    : limits_(limits),
      dependencies_(dependencies),
      calls_(limits->max_calls(), dependencies.slow_call, dependencies.gate, dependencies.metrics),
      stalls_(dependencies.reader_patience),
      workers_(kCompilingThreads) {}

void Service::Open(std::shared_ptr<const Backend> backend) {
  absl::MutexLock lock(&mutex_);
  backend_ = std::move(backend);
}

void Service::Close() {
  absl::MutexLock lock(&mutex_);
  closed_ = true;
}

absl::Status Service::AdmitReflection(const grpc::CallbackServerContext& context,
                                      Call* call) const {
  return EnterGate(context, dependencies_.gate, call);
}

bool Service::WaitIdle(absl::Time deadline) {
  absl::MutexLock lock(&mutex_);
  const auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return running_ == 0; };
  return mutex_.AwaitWithDeadline(absl::Condition(&idle), deadline);
}

std::shared_ptr<const Backend> Service::Current(const grpc::CallbackServerContext& context,
                                                absl::Status* unavailable) {
  absl::MutexLock lock(&mutex_);
  if (closed_) {
    departures_.TurnAway(context.peer(), absl::Now());
    *unavailable = absl::UnavailableError("the server is shutting down; try another replica");
    return nullptr;
  }
  if (backend_ == nullptr) {
    *unavailable = absl::UnavailableError(
        "the model is being loaded; try again when the health service says SERVING");
  }
  return backend_;
}

template <typename Answerer>
grpc::ServerUnaryReactor* Service::Answer(grpc::CallbackServerContext* context,
                                          absl::string_view method, grpc::ByteBuffer* out,
                                          Answerer answer) {
  Call call = calls_.Begin(context, method);
  const absl::Status status =
      call.admission.ok() ? Guarded([&] { return answer(out); }) : call.admission;
  call.response_bytes = static_cast<int64_t>(out->Length());
  if (out->Length() > kSmallAnswerBytes) {
    CallBegins(context->peer());
    auto watched = stalls_.Watch(context, call.request_id);
    return new LargeAnswer(std::move(call), std::move(watched),
                           [this](Call& ended, const absl::Status& how) { CallEnds(ended, how); });
  }
  calls_.End(call, status);
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpc(status, call.request_id));
  return reactor;
}

template <typename Request, typename Handle>
grpc::ServerUnaryReactor* Service::AnswerServed(grpc::CallbackServerContext* context,
                                                absl::string_view method,
                                                const grpc::ByteBuffer& in, grpc::ByteBuffer* out,
                                                Handle handle) {
  return Answer(context, method, out, [&](grpc::ByteBuffer* answer) {
    absl::Status failure;
    const std::shared_ptr<const Backend> backend = Current(*context, &failure);
    if (backend == nullptr) return failure;
    Request request;
    if (failure = Parse(in, limits_, &request); !failure.ok()) return failure;
    failure = CheckModel(request.model(), backend->facts.name);
    if (!failure.ok()) return failure;
    const auto response = handle(request, *backend);
    if (response.ok()) *answer = Serialize(*response);
    return response.status();
  });
}

grpc::ServerUnaryReactor* Service::GetModel(grpc::CallbackServerContext* context,
                                            const grpc::ByteBuffer* request,
                                            grpc::ByteBuffer* response) {
  return AnswerServed<v1::GetModelRequest>(
      context, "GetModel", *request, response,
      [this](const v1::GetModelRequest&, const Backend& backend) {
        return absl::StatusOr<v1::GetModelResponse>(DescribeModel(backend, limits_));
      });
}

grpc::ServerUnaryReactor* Service::Tokenize(grpc::CallbackServerContext* context,
                                            const grpc::ByteBuffer* request,
                                            grpc::ByteBuffer* response) {
  return AnswerServed<v1::TokenizeRequest>(
      context, "Tokenize", *request, response,
      [this](const v1::TokenizeRequest& asked, const Backend& backend) {
        return rpc::Tokenize(asked, backend.facts, limits_);
      });
}

grpc::ServerUnaryReactor* Service::Detokenize(grpc::CallbackServerContext* context,
                                              const grpc::ByteBuffer* request,
                                              grpc::ByteBuffer* response) {
  return AnswerServed<v1::DetokenizeRequest>(
      context, "Detokenize", *request, response,
      [this](const v1::DetokenizeRequest& asked, const Backend& backend) {
        return rpc::Detokenize(asked, backend.facts, limits_);
      });
}

grpc::ServerUnaryReactor* Service::GetStatus(grpc::CallbackServerContext* context,
                                             const grpc::ByteBuffer* request,
                                             grpc::ByteBuffer* response) {
  return Answer(context, "GetStatus", response, [&](grpc::ByteBuffer* answer) {
    v1::GetStatusRequest asked;
    if (absl::Status failure = Parse(*request, limits_, &asked); !failure.ok()) return failure;
    const v1::GetStatusResponse status = Status();
    const bool loading = status.model().empty();
    absl::Status failure = loading ? absl::OkStatus() : CheckModel(asked.model(), status.model());
    if (failure.ok()) *answer = Serialize(status);
    return failure;
  });
}

v1::GetStatusResponse Service::Status() const {
  StatusFacts facts{.uptime = absl::Now() - began_,
                    .calls = calls_.counts(),
                    .rejections = dependencies_.metrics.Rejections()};
  {
    absl::MutexLock lock(&mutex_);
    facts.backend = backend_;
    facts.draining = closed_;
  }
  return DescribeStatus(facts, limits_);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* Service::Stream(grpc::CallbackServerContext* context,
                                                            absl::string_view method, Opener open,
                                                            const grpc::ByteBuffer& request) {
  CallBegins(context->peer());  // before Current: see the header
  absl::Status unavailable;
  std::shared_ptr<const Backend> backend = Current(*context, &unavailable);
  ResponseStream::Hooks hooks;
  hooks.ending = [this](Call& call) { calls_.GiveBack(call); };
  hooks.done = [this](Call& call, const absl::Status& status) { CallEnds(call, status); };
  return ResponseStream::Start(context, calls_.Begin(context, method), open, request,
                               std::move(backend), unavailable, limits_, stalls_, workers_,
                               std::move(hooks));
}

void Service::CallBegins(const std::string& peer) {
  departures_.CallBegins(peer);
  absl::MutexLock lock(&mutex_);
  ++running_;
}

void Service::CallEnds(Call& call, const absl::Status& status) {
  departures_.CallEnds(call.peer);
  calls_.End(call, status);
  absl::MutexLock lock(&mutex_);
  --running_;
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* Service::Run(grpc::CallbackServerContext* context,
                                                         const grpc::ByteBuffer* request) {
  return Stream(context, "Run", OpenRun, *request);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* Service::Sweep(grpc::CallbackServerContext* context,
                                                           const grpc::ByteBuffer* request) {
  return Stream(context, "Sweep", OpenSweep, *request);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* Service::Generate(grpc::CallbackServerContext* context,
                                                              const grpc::ByteBuffer* request) {
  return Stream(context, "Generate", OpenGenerate, *request);
}

}  // namespace scalpel::rpc

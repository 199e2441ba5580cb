#include "server/rpc/response_stream.h"

#include <utility>

#include "absl/time/clock.h"
#include "server/rpc/errors.h"

namespace scalpel::rpc {

ResponseStream* ResponseStream::Start(grpc::CallbackServerContext* context,
                                      absl::string_view method, Opener open,
                                      const grpc::ByteBuffer& request,
                                      std::shared_ptr<const Backend> backend,
                                      const absl::Status& unavailable, const Limits& limits,
                                      std::function<void()> done) {
  std::shared_ptr<ResponseStream> call(
      new ResponseStream(context, method, std::move(backend), limits, std::move(done)));
  call->self_ = call;
  const absl::Status status = Guarded([&] {
    if (call->backend_ == nullptr) return unavailable;
    return open({.request = request,
                 .backend = *call->backend_,
                 .limits = limits,
                 .request_id = call->call_.request_id,
                 .deadline = absl::FromChrono(context->deadline()),
                 .stream = call->stream_});
  });
  if (!status.ok()) {
    call->stream_->Cancel();  // drops `started`, if it came so far
    call->stream_->Close(status);
  }
  call->stream_->SetReady([weak = call->weak_from_this()] {
    if (const std::shared_ptr<ResponseStream> alive = weak.lock()) alive->Advance();
  });
  return call.get();
}

ResponseStream::ResponseStream(grpc::CallbackServerContext* context, absl::string_view method,
                               std::shared_ptr<const Backend> backend, const Limits& limits,
                               std::function<void()> done)
    : context_(context),
      backend_(std::move(backend)),
      limits_(limits),
      done_(std::move(done)),
      call_(BeginCall(context, method)) {}

void ResponseStream::OnWriteDone(bool ok) {
  if (!ok) Leave();
  Proceed();
}

void ResponseStream::OnCancel() {
  Leave();
  Advance();
}

void ResponseStream::Leave() {
  gone_ = true;
  stream_->Cancel();
}

void ResponseStream::OnDone() {
  LogCall(call_, status_);
  // The engine may keep this object for a moment longer, but no bytes of its own.
  tensor_.reset();
  message_.Clear();
  const std::shared_ptr<ResponseStream> last = std::move(self_);
  done_();
}

void ResponseStream::Advance() {
  {
    absl::MutexLock lock(&mutex_);
    again_ = true;
    if (taken_) return;
    taken_ = true;
  }
  Proceed();
}

bool ResponseStream::GiveUpTurn() {
  absl::MutexLock lock(&mutex_);
  taken_ = again_;
  again_ = false;
  return !taken_;
}

void ResponseStream::Proceed() {
  do {
    if (gone_) {
      return End(absl::Now() >= absl::FromChrono(context_->deadline())
                     ? absl::DeadlineExceededError("the deadline passed")
                     : absl::CancelledError("the call was cancelled"));
    }
    bool found = false;
    if (absl::Status status = Guarded([&] { return NextMessage(&found); }); !status.ok()) {
      Leave();
      return End(status);
    }
    if (found) return StartWrite(&message_);
    if (const std::optional<absl::Status> end = stream_->End()) return End(*end);
  } while (!GiveUpTurn());
}

absl::Status ResponseStream::NextMessage(bool* found) {
  if (tensor_ && tensor_->done()) tensor_.reset();
  if (!tensor_) {
    std::optional<engine::Event> event = stream_->Pop();
    if (!event) return absl::OkStatus();
    if (event->tensor) {
      tensor_.emplace(*std::move(event->tensor), static_cast<size_t>(limits_.chunk_bytes));
    } else if (event->sweep) {
      TakeMessage(*event->sweep);
    } else {
      TakeMessage(event->message);
    }
  }
  if (tensor_) message_ = tensor_->Next();
  *found = true;
  return absl::OkStatus();
}

template <typename Response>
void ResponseStream::TakeMessage(const Response& response) {
  if (response.has_finished()) {
    call_.queue_us = response.finished().queue_us();
    call_.compute_us = response.finished().compute_us();
    call_.tokens = response.finished().tokens_computed();
  }
  message_ = Serialize(response);
}

void ResponseStream::End(const absl::Status& status) {
  status_ = ToGrpc(status, call_.request_id);
  Finish(status_);
}

}  // namespace scalpel::rpc

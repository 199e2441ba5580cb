#include "server/rpc/run_stream.h"

#include <utility>

#include "absl/time/clock.h"
#include "server/rpc/errors.h"
#include "server/spec/plan.h"

namespace scalpel::rpc {

RunStream* RunStream::Start(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                            std::shared_ptr<const Backend> backend, const absl::Status& unavailable,
                            const Limits& limits, std::function<void()> done) {
  std::shared_ptr<RunStream> stream(
      new RunStream(context, std::move(backend), limits, std::move(done)));
  stream->self_ = stream;
  const absl::Status status =
      Guarded([&] { return stream->backend_ == nullptr ? unavailable : stream->Submit(*request); });
  if (!status.ok()) {
    stream->stream_->Cancel();  // drops `started`, if it came so far
    stream->stream_->Close(status);
  }
  stream->stream_->SetReady([weak = stream->weak_from_this()] {
    if (const std::shared_ptr<RunStream> alive = weak.lock()) alive->Advance();
  });
  return stream.get();
}

RunStream::RunStream(grpc::CallbackServerContext* context, std::shared_ptr<const Backend> backend,
                     const Limits& limits, std::function<void()> done)
    : context_(context),
      backend_(std::move(backend)),
      limits_(limits),
      done_(std::move(done)),
      call_(BeginCall(context, "Run")) {}

absl::Status RunStream::Submit(const grpc::ByteBuffer& bytes) {
  v1::RunRequest request;
  if (absl::Status status = Parse(bytes, limits_, &request); !status.ok()) return status;
  auto plan = spec::Compile(request, backend_->facts, limits_);
  if (!plan.ok()) return plan.status();

  engine::Event first;
  *first.message.mutable_started() = (*plan)->started;
  first.message.mutable_started()->set_request_id(call_.request_id);
  stream_->Push(std::move(first));
  if (request.validate_only()) {
    stream_->Close(absl::OkStatus());
    return absl::OkStatus();
  }
  return backend_->submit({.request_id = call_.request_id,
                           .plan = *std::move(plan),
                           .stream = stream_,
                           .deadline = absl::FromChrono(context_->deadline())});
}

void RunStream::OnWriteDone(bool ok) {
  if (!ok) Leave();
  Proceed();
}

void RunStream::OnCancel() {
  Leave();
  Advance();
}

void RunStream::Leave() {
  gone_ = true;
  stream_->Cancel();
}

void RunStream::OnDone() {
  LogCall(call_, status_);
  // The engine may keep this object for a moment longer, but no bytes of its own.
  tensor_.reset();
  message_.Clear();
  const std::shared_ptr<RunStream> last = std::move(self_);
  done_();
}

void RunStream::Advance() {
  {
    absl::MutexLock lock(&mutex_);
    again_ = true;
    if (taken_) return;
    taken_ = true;
  }
  Proceed();
}

bool RunStream::GiveUpTurn() {
  absl::MutexLock lock(&mutex_);
  taken_ = again_;
  again_ = false;
  return !taken_;
}

void RunStream::Proceed() {
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

absl::Status RunStream::NextMessage(bool* found) {
  if (tensor_ && tensor_->done()) tensor_.reset();
  if (!tensor_) {
    std::optional<engine::Event> event = stream_->Pop();
    if (!event) return absl::OkStatus();
    if (event->tensor) {
      tensor_.emplace(*std::move(event->tensor), static_cast<size_t>(limits_.chunk_bytes));
    } else {
      if (event->message.has_finished()) {
        call_.queue_us = event->message.finished().queue_us();
        call_.compute_us = event->message.finished().compute_us();
        call_.tokens = event->message.finished().tokens_computed();
      }
      message_ = Serialize(event->message);
    }
  }
  if (tensor_) message_ = tensor_->Next();
  *found = true;
  return absl::OkStatus();
}

void RunStream::End(const absl::Status& status) {
  status_ = ToGrpc(status, call_.request_id);
  Finish(status_);
}

}  // namespace scalpel::rpc

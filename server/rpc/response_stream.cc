#include "server/rpc/response_stream.h"

#include <string>
#include <utility>

#include "absl/time/clock.h"
#include "server/rpc/errors.h"

namespace scalpel::rpc {
namespace {

// Names the calls with which this one may share cached clean runs.
std::string CacheScopeOf(const Call& call, const std::shared_ptr<const Backend>& backend) {
  const bool own = backend != nullptr && backend->cache_scope == v1::CACHE_SCOPE_CALLER;
  return own ? call.caller : "";
}

}  // namespace

ResponseStream* ResponseStream::Start(grpc::CallbackServerContext* context, Call call, Opener open,
                                      const grpc::ByteBuffer& request,
                                      std::shared_ptr<const Backend> backend,
                                      const absl::Status& unavailable, const Limits& limits,
                                      net::StallWatch& stalls, Workers& workers, Hooks hooks) {
  std::shared_ptr<ResponseStream> stream(new ResponseStream(
      context, std::move(call), request, std::move(backend), limits, stalls, std::move(hooks)));
  stream->self_ = stream;
  absl::Status refusal = stream->call_.admission;
  if (refusal.ok() && stream->backend_ == nullptr) refusal = unavailable;
  if (refusal.ok()) {
    workers.Post(stream->call_.peer, [stream, open] {
      if (stream->TakesFirstTurn()) stream->Open(open);
    });
  } else if (stream->TakesFirstTurn()) {
    stream->stream_->Close(refusal);
    stream->Proceed();
  }
  return stream.get();
}

void ResponseStream::Open(Opener open) {
  const absl::Status status = Guarded([&] {
    return open({.request = request_,
                 .backend = *backend_,
                 .limits = limits_,
                 .call = call_,
                 .stream = stream_});
  });
  request_.Clear();
  if (!status.ok()) {
    stream_->Cancel();  // drops `started`, if it came so far
    stream_->Close(status);
  }
  stream_->SetReady([weak = weak_from_this()] {
    if (const std::shared_ptr<ResponseStream> alive = weak.lock()) alive->Advance();
  });
  Proceed();
}

ResponseStream::ResponseStream(grpc::CallbackServerContext* context, Call call,
                               const grpc::ByteBuffer& request,
                               std::shared_ptr<const Backend> backend, const Limits& limits,
                               net::StallWatch& stalls, Hooks hooks)
    : backend_(std::move(backend)),
      limits_(limits),
      watched_(stalls.Watch(context, call.request_id)),
      hooks_(std::move(hooks)),
      stream_(std::make_shared<engine::EventStream>(call.request_id, call.deadline,
                                                    CacheScopeOf(call, backend_))),
      call_(std::move(call)),
      request_(request) {}

void ResponseStream::OnWriteDone(bool ok) {
  watched_->WriteEnded();
  if (!ok) Leave();
  Proceed();
}

void ResponseStream::OnCancel() {
  Leave();
  if (TakesFirstTurn()) return Proceed();
  Advance();
}

void ResponseStream::Leave() {
  gone_ = true;
  stream_->Cancel();
}

void ResponseStream::OnDone() {
  watched_->Forget();
  // The engine may keep this object alive for a moment; the buffers need not wait for that.
  tensor_.reset();
  message_.Clear();
  request_.Clear();
  const std::shared_ptr<ResponseStream> last = std::move(self_);
  hooks_.done(call_, status_);
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
    if (gone_) return End(CancellationStatus(call_, absl::Now()));
    bool found = false;
    if (absl::Status status = Guarded([&] { return NextMessage(&found); }); !status.ok()) {
      Leave();
      return End(status);
    }
    if (found) {
      call_.response_bytes += static_cast<int64_t>(message_.Length());
      watched_->WriteBegan();
      return last_ ? StartWriteLast(&message_, {}) : StartWrite(&message_);
    }
    if (const std::optional<absl::Status> end = stream_->End()) return End(*end);
  } while (!GiveUpTurn());
}

absl::Status ResponseStream::NextMessage(bool* found) {
  if (tensor_ && tensor_->done()) {
    call_.tensor_bytes += static_cast<int64_t>(tensor_->bytes());
    tensor_.reset();
  }
  if (!tensor_) {
    std::optional<engine::Event> event = stream_->Pop();
    if (!event) return absl::OkStatus();
    if (event->tensor) {
      tensor_.emplace(*std::move(event->tensor), event->step,
                      static_cast<size_t>(limits_->chunk_bytes()));
    } else if (event->sweep) {
      TakeMessage(*event->sweep);
    } else if (event->generate) {
      TakeMessage(*event->generate);
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
    call_.computed = true;
    call_.queue_us = response.finished().queue_us();
    call_.compute_us = response.finished().compute_us();
    call_.tokens = response.finished().tokens_computed();
  }
  last_ = response.has_finished();
  message_ = Serialize(response);
}

void ResponseStream::End(const absl::Status& status) {
  hooks_.ending(call_);
  status_ = status;
  watched_->WriteBegan();  // the client has to read what gRPC still holds, too
  Finish(ToGrpc(status, call_.request_id));
}

}  // namespace scalpel::rpc

#include "server/rpc/openings.h"

#include <cstdint>
#include <memory>
#include <utility>

#include "server/engine/generate_job.h"
#include "server/engine/run_job.h"
#include "server/engine/sweep_job.h"
#include "server/rpc/codec.h"
#include "server/spec/generation.h"
#include "server/spec/plan.h"
#include "server/spec/sweep.h"

namespace scalpel::rpc {
namespace {

// Whether the engine might take the call's job. It is asked before the request is compiled: in an
// overload most requests are refused, and must not take the time of those that are not.
absl::Status CheckEngine(const Opening& opening, bool validate_only) {
  if (validate_only || !opening.backend.admission) return absl::OkStatus();
  return opening.backend.admission();
}

// Takes the tokens from the caller's share, unless the engine refuses the job.
absl::Status Submit(const Opening& opening, int64_t tokens, std::shared_ptr<engine::Job> job) {
  absl::Status status = opening.call.Charge(tokens);
  if (!status.ok()) return status;
  status = opening.backend.submit(std::move(job));
  if (!status.ok()) opening.call.Refund(tokens);
  return status;
}

// Reads the request, compiles it by `compile`, sends what `started(compiled, event)` puts into the
// first event, whose message it returns, and submits the job that `job(compiled)` makes.
template <typename Request, typename Compile, typename Started, typename MakeJob>
absl::Status Open(const Opening& opening, Compile compile, Started started, MakeJob job) {
  Request request;
  absl::Status status = Parse(opening.request, opening.limits, &request);
  if (status.ok()) status = CheckEngine(opening, request.validate_only());
  if (!status.ok()) return status;
  auto compiled = compile(request, opening.backend.facts, opening.limits,
                          [&opening] { return opening.stream->StillWanted(); });
  if (!compiled.ok()) return compiled.status();

  engine::Event first;
  auto* message = started(**compiled, first);
  const int64_t tokens = message->cost().tokens();
  message->set_request_id(opening.stream->request_id());
  opening.stream->Push(std::move(first));
  if (request.validate_only()) {
    opening.stream->Close(absl::OkStatus());
    return absl::OkStatus();
  }
  return Submit(opening, tokens, job(*std::move(compiled)));
}

}  // namespace

absl::Status OpenRun(const Opening& opening) {
  return Open<v1::RunRequest>(
      opening, spec::Compile,
      [](const spec::Plan& plan, engine::Event& event) {
        *event.message.mutable_started() = plan.started;
        return event.message.mutable_started();
      },
      [&](std::shared_ptr<const spec::Plan> plan) {
        return std::make_shared<engine::RunJob>(opening.stream, std::move(plan));
      });
}

absl::Status OpenSweep(const Opening& opening) {
  return Open<v1::SweepRequest>(
      opening, spec::CompileSweep,
      [](const spec::Sweep& sweep, engine::Event& event) {
        *event.sweep.emplace().mutable_started() = sweep.started();
        return event.sweep->mutable_started();
      },
      [&](std::shared_ptr<const spec::Sweep> sweep) {
        return std::make_shared<engine::SweepJob>(opening.stream, std::move(sweep));
      });
}

absl::Status OpenGenerate(const Opening& opening) {
  return Open<v1::GenerateRequest>(
      opening, spec::CompileGeneration,
      [](const spec::Generation& generation, engine::Event& event) {
        *event.generate.emplace().mutable_started() = generation.started();
        return event.generate->mutable_started();
      },
      [&](std::shared_ptr<const spec::Generation> generation) {
        return std::make_shared<engine::GenerateJob>(opening.stream, std::move(generation),
                                                     opening.backend.facts.config);
      });
}

}  // namespace scalpel::rpc

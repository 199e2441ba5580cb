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

}  // namespace

absl::Status OpenRun(const Opening& opening) {
  v1::RunRequest request;
  absl::Status status = Parse(opening.request, opening.limits, &request);
  if (status.ok()) status = CheckEngine(opening, request.validate_only());
  if (!status.ok()) return status;
  auto plan = spec::Compile(request, opening.backend.facts, opening.limits,
                            [&opening] { return opening.stream->StillWanted(); });
  if (!plan.ok()) return plan.status();

  engine::Event first;
  *first.message.mutable_started() = (*plan)->started;
  first.message.mutable_started()->set_request_id(opening.stream->request_id());
  opening.stream->Push(std::move(first));
  if (request.validate_only()) {
    opening.stream->Close(absl::OkStatus());
    return absl::OkStatus();
  }
  const int64_t tokens = (*plan)->started.cost().tokens();
  return Submit(opening, tokens,
                std::make_shared<engine::RunJob>(opening.stream, *std::move(plan)));
}

absl::Status OpenSweep(const Opening& opening) {
  v1::SweepRequest request;
  absl::Status status = Parse(opening.request, opening.limits, &request);
  if (status.ok()) status = CheckEngine(opening, request.validate_only());
  if (!status.ok()) return status;
  auto sweep = spec::CompileSweep(request, opening.backend.facts, opening.limits,
                                  [&opening] { return opening.stream->StillWanted(); });
  if (!sweep.ok()) return sweep.status();

  engine::Event first;
  *first.sweep.emplace().mutable_started() = (*sweep)->started();
  first.sweep->mutable_started()->set_request_id(opening.stream->request_id());
  opening.stream->Push(std::move(first));
  if (request.validate_only()) {
    opening.stream->Close(absl::OkStatus());
    return absl::OkStatus();
  }
  const int64_t tokens = (*sweep)->started().cost().tokens();
  return Submit(opening, tokens,
                std::make_shared<engine::SweepJob>(opening.stream, *std::move(sweep)));
}

absl::Status OpenGenerate(const Opening& opening) {
  v1::GenerateRequest request;
  absl::Status status = Parse(opening.request, opening.limits, &request);
  if (status.ok()) status = CheckEngine(opening, request.validate_only());
  if (!status.ok()) return status;
  auto generation = spec::CompileGeneration(request, opening.backend.facts, opening.limits,
                                            [&opening] { return opening.stream->StillWanted(); });
  if (!generation.ok()) return generation.status();

  engine::Event first;
  *first.generate.emplace().mutable_started() = (*generation)->started();
  first.generate->mutable_started()->set_request_id(opening.stream->request_id());
  opening.stream->Push(std::move(first));
  if (request.validate_only()) {
    opening.stream->Close(absl::OkStatus());
    return absl::OkStatus();
  }
  const int64_t tokens = (*generation)->started().cost().tokens();
  return Submit(opening, tokens,
                std::make_shared<engine::GenerateJob>(opening.stream, *std::move(generation),
                                                      opening.backend.facts.config));
}

}  // namespace scalpel::rpc

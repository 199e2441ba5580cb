// Each limit by its name: the flag that sets it, the field of GetModel that tells it, and its
// bounds. A unit test holds the table against the fields of Limits and of the contract.

#ifndef SCALPEL_SERVER_BASE_LIMIT_FIELDS_H_
#define SCALPEL_SERVER_BASE_LIMIT_FIELDS_H_

#include <cstdint>
#include <variant>

#include "absl/strings/string_view.h"
#include "server/base/limits.h"

namespace scalpel {

enum class LimitOf { kRequest, kServer };

struct LimitField {
  LimitOf of;
  absl::string_view name;  // the flag's; that of GetModel's field has _ for -
  absl::string_view help;
  std::variant<int32_t Limits::*, int64_t Limits::*> member;
  // Values that a flag may set. The most are far from what a machine can do, and keep sums and
  // products of limits within 64 bits.
  int64_t least;
  int64_t most;
};

inline constexpr int64_t kBytesLeast = int64_t{64} << 10;
inline constexpr int64_t kBytesMost = int64_t{1} << 40;
inline constexpr int64_t kCountMost = 1'000'000;
// Clients of gRPC take messages of 4 MiB unless they are told otherwise; a header is beside the
// data.
inline constexpr int64_t kChunkBytesMost = int64_t{3} << 20;
// The violations of one error travel in a trailer, for which clients have some KiB.
inline constexpr int64_t kViolationsMost = 1000;

inline constexpr LimitField kLimitFields[] = {
    {LimitOf::kRequest, "max-request-bytes", "bytes of the message", &Limits::request_bytes_max,
     1024, INT32_MAX},
    {LimitOf::kRequest, "max-request-fields", "fields of the message, with those inside",
     &Limits::request_fields_max, 1, INT32_MAX},
    {LimitOf::kRequest, "max-prompts", "prompts", &Limits::prompts_max, 1, kCountMost},
    {LimitOf::kRequest, "max-tokens", "tokens, all rows together", &Limits::tokens_max, 1,
     int64_t{1} << 24},
    {LimitOf::kRequest, "max-text-bytes", "bytes of text to tokenize, or of its answer",
     &Limits::text_bytes_max, 1, INT32_MAX},
    {LimitOf::kRequest, "max-interventions", "interventions", &Limits::interventions_max, 1,
     kCountMost},
    {LimitOf::kRequest, "max-probes", "probes", &Limits::probes_max, 1, kCountMost},
    {LimitOf::kRequest, "max-captures", "captures", &Limits::captures_max, 1, kCountMost},
    {LimitOf::kRequest, "max-name-bytes", "bytes of a name", &Limits::name_bytes_max, 1, 65536},
    {LimitOf::kRequest, "max-top-k", "the largest k, and most ids of logits", &Limits::top_k_max, 1,
     kCountMost},
    {LimitOf::kRequest, "max-histogram-bins", "bins of a histogram", &Limits::histogram_bins_max, 1,
     kCountMost},
    {LimitOf::kRequest, "max-quantiles", "quantiles of a probe", &Limits::quantiles_max, 1,
     kCountMost},
    {LimitOf::kRequest, "max-variants", "variants of a sweep", &Limits::variants_max, 1,
     10 * kCountMost},
    {LimitOf::kRequest, "max-metrics", "metrics of a sweep", &Limits::metrics_max, 1, kCountMost},
    {LimitOf::kRequest, "max-grid-axes", "axes of a sweep's grid", &Limits::grid_axes_max, 1, 64},
    {LimitOf::kRequest, "max-response-bytes", "estimated bytes of the response",
     &Limits::response_bytes_max, kBytesLeast, kBytesMost},
    {LimitOf::kRequest, "max-places", "steps and observations that it unfolds into",
     &Limits::places_max, 1, int64_t{1} << 32},
    {LimitOf::kRequest, "max-sweep-places", "the same, of all variants together",
     &Limits::sweep_places_max, 1, int64_t{1} << 40},
    {LimitOf::kRequest, "max-activation-bytes", "estimated bytes of activations alive at once",
     &Limits::activation_bytes_max, kBytesLeast, kBytesMost},
    {LimitOf::kRequest, "max-violations", "violations listed in one error", &Limits::violations_max,
     1, kViolationsMost},

    {LimitOf::kServer, "max-queue", "requests that wait for the engine", &Limits::queue_max, 1,
     100'000},
    {LimitOf::kServer, "wave-tokens", "positions of several requests in one pass",
     &Limits::wave_tokens_max, 1, int64_t{1} << 20},
    {LimitOf::kServer, "baseline-cache-bytes", "clean runs kept for later requests; 0: none",
     &Limits::baseline_cache_bytes_max, 0, kBytesMost},
    {LimitOf::kServer, "max-record-bytes", "clean runs kept of one request",
     &Limits::record_bytes_max, 0, kBytesMost},
    {LimitOf::kServer, "max-buffered-bytes", "responses not yet read, all together",
     &Limits::buffered_bytes_max, kBytesLeast, kBytesMost},
    {LimitOf::kServer, "chunk-bytes", "tensor data in one message", &Limits::chunk_bytes, 1024,
     kChunkBytesMost},
    {LimitOf::kServer, "max-connections", "connections", &Limits::connections_max, 1, kCountMost},
    {LimitOf::kServer, "max-calls", "calls under way, over all connections", &Limits::calls_max, 1,
     kCountMost},
    {LimitOf::kServer, "max-streams-per-connection", "calls under way on one connection",
     &Limits::concurrent_streams_max, 1, kCountMost},
    {LimitOf::kServer, "max-calls-per-caller", "calls under way of one caller",
     &Limits::caller_calls_max, 1, kCountMost},
    {LimitOf::kServer, "max-tokens-per-second-per-caller", "tokens of one caller; 0: no limit",
     &Limits::caller_tokens_per_second_max, 0, int64_t{1} << 30},
    {LimitOf::kServer, "max-metadata-bytes", "headers of one call", &Limits::metadata_bytes_max,
     1024, 1 << 20},
    {LimitOf::kServer, "transport-bytes", "received and not yet handed over, all together",
     &Limits::transport_bytes_max, int64_t{1} << 20, kBytesMost},
    {LimitOf::kServer, "drain-seconds", "how long calls may go on after SIGTERM or Ctrl-C",
     &Limits::drain_seconds_max, 0, 3600},
};

}  // namespace scalpel

#endif  // SCALPEL_SERVER_BASE_LIMIT_FIELDS_H_

// Every limit of a request and of the server, in one place. Each has a flag and a field of
// GetModel: limit_fields.h.

#ifndef SCALPEL_SERVER_BASE_LIMITS_H_
#define SCALPEL_SERVER_BASE_LIMITS_H_

#include <cstdint>

namespace scalpel {

// Units last in each name. All of them are inclusive upper bounds.
struct Limits {
  // Of one request. Beyond one of these it is refused before anything is computed.
  int64_t request_bytes_max = int64_t{16} << 20;
  int64_t request_fields_max = 1'000'000;  // of the message, with those of messages inside
  int32_t prompts_max = 256;
  int64_t tokens_max = 16384;  // all rows together, clean rows included
  int64_t text_bytes_max = int64_t{1} << 20;
  int32_t interventions_max = 1024;
  int32_t probes_max = 1024;
  int32_t captures_max = 1024;
  int32_t name_bytes_max = 128;
  int32_t top_k_max = 1000;
  int32_t histogram_bins_max = 1024;
  int32_t quantiles_max = 64;
  int32_t variants_max = 10'000;
  int32_t metrics_max = 64;
  int32_t grid_axes_max = 8;
  int64_t response_bytes_max = int64_t{1} << 30;
  // Steps and observations that a request unfolds into: one for each place, layer and prompt.
  int64_t places_max = 200'000;
  int64_t sweep_places_max = 4'000'000;  // of all variants together
  // Estimated memory of the activations that are alive at once.
  int64_t activation_bytes_max = int64_t{4} << 30;
  // Violations listed in one error.
  int32_t violations_max = 50;

  // Of the server.
  int32_t queue_max = 64;                               // requests that wait for the engine
  int64_t wave_tokens_max = 512;                        // of one pass over several requests
  int64_t baseline_cache_bytes_max = int64_t{1} << 30;  // clean runs that are kept
  int64_t record_bytes_max = int64_t{256} << 20;        // clean runs of one request, to be kept
  int64_t buffered_bytes_max = int64_t{2} << 30;        // responses reserved, over all requests
  int32_t chunk_bytes = 1 << 20;                        // tensor data in one message
  // Beyond one of these a connection or a call is refused, before its message is parsed.
  int32_t connections_max = 1000;
  int32_t calls_max = 512;               // under way, over all connections
  int32_t concurrent_streams_max = 100;  // calls on one connection
  // Of one caller: a token's name, a certificate's, or else the peer's address.
  int32_t caller_calls_max = 64;             // under way
  int64_t caller_tokens_per_second_max = 0;  // 0: as many as there is time for
  int32_t metadata_bytes_max = 16384;        // the headers of one call
  // Memory for what was received and not yet handed over, over all connections.
  int64_t transport_bytes_max = int64_t{256} << 20;
  int32_t drain_seconds_max = 30;  // from SIGTERM to the end
};

}  // namespace scalpel

#endif  // SCALPEL_SERVER_BASE_LIMITS_H_

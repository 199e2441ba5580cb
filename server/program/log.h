// The server's log, which spdlog writes to standard error.

#ifndef SCALPEL_SERVER_PROGRAM_LOG_H_
#define SCALPEL_SERVER_PROGRAM_LOG_H_

#include <spdlog/formatter.h>

#include <memory>
#include <string>

namespace scalpel {

enum class LogFormat { kText, kJson };

// Configures spdlog's default logger, and for JSON the access logger of rpc/access_log.h. `level`:
// the name of a level of spdlog. Must be called once, before other threads log.
void StartLog(const std::string& level, LogFormat format);

// Returns whether StartLog was called with kJson.
bool LogsJson();

// Returns a formatter that writes one JSON object per line: `time` (RFC 3339, UTC), `level` and
// `message`. Lines of the access logger already are JSON objects; their members are put after
// `time` and `level`. Invalid UTF-8 is replaced.
std::unique_ptr<spdlog::formatter> MakeJsonFormatter();

}  // namespace scalpel

#endif  // SCALPEL_SERVER_PROGRAM_LOG_H_

// The server's log: what spdlog writes to standard error.

#ifndef SCALPEL_SERVER_PROGRAM_LOG_H_
#define SCALPEL_SERVER_PROGRAM_LOG_H_

#include <spdlog/formatter.h>

#include <memory>
#include <string>

namespace scalpel {

enum class LogFormat { kText, kJson };

// From now on spdlog's default logger writes so. `level`: a name of spdlog's.
void StartLog(const std::string& level, LogFormat format);

bool LogsJson();

// One JSON object a line: `time` (RFC 3339, UTC), `level` and `message`. What the access logger
// (rpc/access_log.h) writes is an object already, and its members stand beside those two. Bytes
// that are not UTF-8 are replaced.
std::unique_ptr<spdlog::formatter> MakeJsonFormatter();

}  // namespace scalpel

#endif  // SCALPEL_SERVER_PROGRAM_LOG_H_

#include "client/cpp/status_view.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "client/cpp/table.h"
#include "client/cpp/text.h"

namespace scalpel::client {
namespace {

using Rows = std::vector<std::vector<std::string>>;

std::string StateName(v1::ServerState state) {
  switch (state) {
    case v1::SERVER_STATE_LOADING:
      return "loading";
    case v1::SERVER_STATE_SERVING:
      return "serving";
    case v1::SERVER_STATE_DRAINING:
      return "draining";
    default:
      return "in an unknown state";
  }
}

// Returns `part` of `whole` in per cent; empty if `whole` is 0.
std::string Percent(double part, double whole) {
  return whole > 0 ? absl::StrFormat("%.0f%%", 100 * part / whole) : "";
}

std::string Flops(double rate) {
  constexpr const char* kUnits[] = {"FLOP/s", "kFLOP/s", "MFLOP/s", "GFLOP/s", "TFLOP/s"};
  size_t unit = 0;
  for (; rate >= 1000 && unit + 1 < std::size(kUnits); ++unit) rate /= 1000;
  return absl::StrCat(Number(rate), " ", kUnits[unit]);
}

// The change from `before` to `now`, of the same server process.
struct Interval {
  const v1::GetStatusResponse& now;
  const v1::GetStatusResponse& before;

  double seconds() const {
    return static_cast<double>(now.uptime_us() - before.uptime_us()) * 1e-6;
  }
  double PerSecond(double count) const { return seconds() > 0 ? count / seconds() : 0; }
};

std::string Rate(double per_second) { return absl::StrCat(Number(per_second), "/s"); }

// Returns the rows of the engine and its cache; none while the model is being loaded.
Rows EngineRows(const Interval& interval) {
  if (!interval.now.has_engine()) return {};
  const v1::EngineStatus& now = interval.now.engine();
  const v1::EngineStatus& before = interval.before.engine();
  const double tokens = static_cast<double>(now.tokens() - before.tokens());
  const double computed = static_cast<double>(now.tokens_computed() - before.tokens_computed());
  const double flops = now.flops() - before.flops();
  const double flops_computed = now.flops_computed() - before.flops_computed();
  const double busy = static_cast<double>(now.busy_us() - before.busy_us()) * 1e-6;
  const auto rate = [&](double count) { return Rate(interval.PerSecond(count)); };
  const auto saved = [](double some, double all) {
    const std::string percent = Percent(all - some, all);
    return percent.empty() ? "" : absl::StrCat(", ", percent, " saved");
  };
  Rows rows = {
      {"queue",
       absl::StrCat(Thousands(now.queued()), " waiting, ", Thousands(now.running()), " running")},
      {"engine",
       absl::StrCat(Percent(std::min(busy, interval.seconds()), interval.seconds()), " busy, ",
                    rate(static_cast<double>(now.waves() - before.waves())), " passes, ",
                    rate(static_cast<double>(now.rows() - before.rows())), " rows")},
      {"tokens", absl::StrCat(rate(tokens), saved(computed, tokens))},
      {"compute",
       absl::StrCat(Flops(interval.PerSecond(flops_computed)), saved(flops_computed, flops))},
      {"unread",
       absl::StrCat(Bytes(static_cast<uint64_t>(now.buffered_bytes())), " of responses")}};
  const v1::BaselineCache& cache = interval.now.baseline_cache();
  const auto known = static_cast<double>(cache.hits() + cache.prefix_hits());
  const std::string hits = Percent(known, known + static_cast<double>(cache.misses()));
  rows.push_back(
      {"cache",
       absl::StrCat(Bytes(static_cast<uint64_t>(cache.bytes())), " of ",
                    Bytes(static_cast<uint64_t>(cache.max_bytes())), ", ",
                    Count(cache.entries(), "prompt"),
                    hits.empty() ? "" : absl::StrCat(", ", hits, " hits"),
                    cache.scope() == v1::CACHE_SCOPE_CALLER ? ", each caller its own" : "")});
  return rows;
}

Rows HeadRows(const Interval& interval) {
  const v1::GetStatusResponse& now = interval.now;
  Rows rows = EngineRows(interval);
  const v1::MemoryStatus& memory = now.memory();
  const std::string limit =
      memory.limit_bytes() > 0
          ? absl::StrCat(" of ", Bytes(static_cast<uint64_t>(memory.limit_bytes())))
          : "";
  rows.push_back(
      {"memory", absl::StrCat(Bytes(static_cast<uint64_t>(memory.resident_bytes())), limit)});
  rows.push_back({"connections", Thousands(now.connections())});
  return rows;
}

Rows MethodRows(const Interval& interval) {
  std::map<std::string, int64_t> ended;
  for (const v1::MethodStatus& method : interval.before.methods())
    ended[method.method()] = method.ended();
  Rows rows;
  for (const v1::MethodStatus& method : interval.now.methods()) {
    const auto count = static_cast<double>(method.ended() - ended[method.method()]);
    rows.push_back({Printable(method.method()), Thousands(method.calls()),
                    Thousands(method.ended()), Rate(interval.PerSecond(count))});
  }
  return rows;
}

}  // namespace

void PrintStatus(const Screen& screen, const v1::GetStatusResponse& now,
                 const v1::GetStatusResponse& before) {
  const v1::GetStatusResponse none;
  const bool same = before.uptime_us() < now.uptime_us();
  const Interval interval{now, same ? before : none};
  const std::string model =
      now.model().empty() ? "" : absl::StrCat("  ", now.model(), " on ", now.device());
  const absl::Duration uptime = absl::Trunc(absl::Microseconds(now.uptime_us()), absl::Seconds(1));
  screen.out << screen.Bold(Printable(absl::StrCat("scalpel ", now.server_version(), model)))
             << "  " << StateName(now.state()) << ", up " << absl::FormatDuration(uptime) << "\n";
  PrintTable(screen, {{""}, {""}}, HeadRows(interval));
  screen.out << "\n";
  PrintTable(screen, {{"method"}, {"under way", true}, {"ended", true}, {"rate", true}},
             MethodRows(interval));
  Rows callers, rejections;
  for (const v1::CallerStatus& caller : now.callers())
    callers.push_back({Printable(caller.name()), Thousands(caller.calls())});
  for (const v1::RejectionCount& rejection : now.rejections()) {
    if (rejection.count() > 0)
      rejections.push_back({Printable(rejection.reason()), Thousands(rejection.count())});
  }
  if (!callers.empty()) {
    screen.out << "\n";
    PrintTable(screen, {{"caller"}, {"under way", true}}, callers);
  }
  if (!rejections.empty()) {
    screen.out << "\n";
    PrintTable(screen, {{"turned away"}, {"times", true}}, rejections);
  }
}

}  // namespace scalpel::client

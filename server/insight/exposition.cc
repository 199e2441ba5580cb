#include "server/insight/exposition.h"

#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace scalpel::insight {
namespace {

// A scraper that sends or reads nothing for this time is disconnected. There are two threads, so
// that one such scraper does not block others.
constexpr char kTimeoutMs[] = "10000";
constexpr char kThreads[] = "2";

}  // namespace

absl::StatusOr<std::unique_ptr<Exposition>> Exposition::Open(
    const std::string& address,
    std::vector<std::shared_ptr<prometheus::Collectable>> collectables) {
  std::unique_ptr<Exposition> exposition(new Exposition());
  try {
    exposition->exposer_ = std::make_unique<prometheus::Exposer>(std::vector<std::string>{
        "listening_ports", address, "num_threads", kThreads, "request_timeout_ms", kTimeoutMs});
  } catch (const std::exception&) {  // its text does not say why
    return absl::UnavailableError(absl::StrCat(
        "cannot listen on ", address,
        ": the port is in use or needs privileges, or the host is not an address of this machine"));
  }
  const int port = exposition->exposer_->GetListeningPorts().at(0);
  exposition->address_ =
      absl::StrCat(absl::string_view(address).substr(0, address.rfind(':')), ":", port);
  for (const auto& collectable : collectables)
    exposition->exposer_->RegisterCollectable(collectable);
  exposition->collectables_ = std::move(collectables);
  return exposition;
}

}  // namespace scalpel::insight

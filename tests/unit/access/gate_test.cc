#include "server/access/gate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "tests/unit/access/retry_delay.h"

namespace scalpel::access {
namespace {

using ::testing::HasSubstr;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);
constexpr char kReader[] = "scalpel_reader_0123456789abcdef012345";
constexpr char kRunner[] = "scalpel_runner_0123456789abcdef012345";
constexpr char kExpired[] = "scalpel_expired_0123456789abcdef01234";
constexpr char kRemedy[] = "send metadata authorization: Bearer TOKEN";

Policy WithTokens(std::vector<TokenEntry> entries) {
  const auto list = std::make_shared<const TokenList>(std::move(entries));
  return {.tokens = [list] { return list; }, .per_caller = {.calls_max = 2}};
}

std::vector<TokenEntry> Entries() {
  return {{.name = "rita", .hash = HashOf(kReader), .role = v1::ROLE_READER},
          {.name = "ron",
           .hash = HashOf(kRunner),
           .role = v1::ROLE_RUNNER,
           .expires = kNow + absl::Seconds(1),
           .calls_max = 1,
           .tokens_per_second_max = 100},
          {.name = "ex", .hash = HashOf(kExpired), .role = v1::ROLE_OPERATOR, .expires = kNow}};
}

Credentials Bearer(const std::string& authorization) {
  return {.authorization = authorization, .peer = "10.0.0.1"};
}

// What each refusal of a token says; the test fails if it is let in.
std::string Unauthenticated(Gate& gate, const Credentials& shown) {
  const absl::Status status = gate.Enter(shown, "GetModel", kNow).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnauthenticated) << status;
  return std::string(status.message());
}

TEST(Gate, AdmitsACallerWithAToken) {
  Gate gate(WithTokens(Entries()));
  for (const char* scheme : {"Bearer ", "bearer ", "BEARER ", "Bearer   "}) {
    const std::string authorization = absl::StrCat(scheme, kReader);
    const auto permit = gate.Enter(Bearer(authorization), "GetModel", kNow);
    ASSERT_TRUE(permit.ok()) << scheme << permit.status();
    EXPECT_EQ(permit->name(), "rita");
    EXPECT_EQ(permit->role(), v1::ROLE_READER);
  }
}

TEST(Gate, SaysThatATokenIsMissingAndHowToSendOne) {
  Gate gate(WithTokens(Entries()));
  EXPECT_EQ(Unauthenticated(gate, {}), absl::StrCat("a token is missing; ", kRemedy));
}

TEST(Gate, AnswersEveryWrongTokenAlike) {
  Gate gate(WithTokens(Entries()));
  std::string near_miss = absl::StrCat("Bearer ", kReader);
  near_miss.back() ^= 1;
  const std::string glued = absl::StrCat("Bearer", kReader),
                    basic = absl::StrCat("Basic ", kReader);
  const std::string two = absl::StrCat("Bearer ", kReader, " ", kRunner);
  const std::string longer = absl::StrCat("Bearer ", kReader, "x");
  for (const std::string& authorization :
       {std::string("Bearer"), std::string("Bearer "), std::string(" "), std::string(kReader),
        glued, basic, near_miss, two, longer}) {
    const std::string message = Unauthenticated(gate, Bearer(authorization));
    EXPECT_EQ(message, absl::StrCat("the token is not accepted; ", kRemedy)) << authorization;
  }
}

TEST(Gate, SaysThatATokenHasExpired) {
  Gate gate(WithTokens(Entries()));
  const std::string expired = absl::StrCat("Bearer ", kExpired);
  const std::string message = Unauthenticated(gate, Bearer(expired));
  EXPECT_EQ(message, absl::StrCat("the token has expired; ask for a new one and ", kRemedy));

  const std::string runner = absl::StrCat("Bearer ", kRunner);
  EXPECT_TRUE(gate.Enter(Bearer(runner), "Run", kNow).ok());
  EXPECT_TRUE(gate.Enter(Bearer(runner), "Run", kNow + absl::Milliseconds(999)).ok());
  EXPECT_EQ(gate.Enter(Bearer(runner), "Run", kNow + absl::Seconds(1)).status().code(),
            absl::StatusCode::kUnauthenticated);
}

TEST(Gate, DeniesMethodsAboveTheRole) {
  Gate gate(WithTokens(Entries()));
  const std::string reader = absl::StrCat("Bearer ", kReader);
  const absl::Status run = gate.Enter(Bearer(reader), "Run", kNow).status();
  EXPECT_EQ(run.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(run.message()), HasSubstr("needs the role runner"));
  EXPECT_EQ(gate.Enter(Bearer(reader), "NoSuchMethod", kNow).status().code(),
            absl::StatusCode::kPermissionDenied);
}

// Who is unknown learns nothing of roles.
TEST(Gate, AuthenticatesBeforeItAuthorizes) {
  Gate gate(WithTokens(Entries()));
  EXPECT_EQ(gate.Enter({}, "NoSuchMethod", kNow).status().code(),
            absl::StatusCode::kUnauthenticated);
}

TEST(Gate, PrefersTheTokensLimitsToTheServers) {
  Gate gate(WithTokens(Entries()));
  const std::string reader = absl::StrCat("Bearer ", kReader);
  const auto one = gate.Enter(Bearer(reader), "GetModel", kNow);
  const auto two = gate.Enter(Bearer(reader), "GetModel", kNow);
  ASSERT_TRUE(one.ok() && two.ok());
  EXPECT_GT(RetryDelay(gate.Enter(Bearer(reader), "GetModel", kNow).status()),
            absl::ZeroDuration());

  const std::string runner = absl::StrCat("Bearer ", kRunner);
  auto only = gate.Enter(Bearer(runner), "Run", kNow);
  ASSERT_TRUE(only.ok()) << only.status();
  EXPECT_GT(RetryDelay(gate.Enter(Bearer(runner), "Run", kNow).status()), absl::ZeroDuration());
  EXPECT_TRUE(only->Charge(1000, kNow).ok());
  EXPECT_EQ(RetryDelay(only->Charge(1, kNow)), absl::Milliseconds(10));
}

TEST(Gate, ARefusedCallIsNotCounted) {
  Gate gate(WithTokens(Entries()));
  const std::string runner = absl::StrCat("Bearer ", kRunner);
  EXPECT_FALSE(gate.Enter(Bearer(runner), "GetStatus", kNow).ok());
  const auto permit = gate.Enter(Bearer(runner), "Run", kNow);
  EXPECT_TRUE(permit.ok()) << permit.status();
}

TEST(Gate, ACallEndsWhenItsPermitIsDestroyed) {
  Gate gate(WithTokens(Entries()));
  const std::string runner = absl::StrCat("Bearer ", kRunner);
  std::optional<Permit> held;
  {
    auto permit = gate.Enter(Bearer(runner), "Run", kNow);
    ASSERT_TRUE(permit.ok()) << permit.status();
    held = *std::move(permit);
  }
  EXPECT_EQ(held->name(), "ron");
  EXPECT_FALSE(gate.Enter(Bearer(runner), "Run", kNow).ok());
  held.reset();
  EXPECT_TRUE(gate.Enter(Bearer(runner), "Run", kNow).ok());
}

TEST(Gate, APermitMayOutliveItsGate) {
  auto gate = std::make_unique<Gate>(WithTokens(Entries()));
  const std::string runner = absl::StrCat("Bearer ", kRunner);
  auto permit = gate->Enter(Bearer(runner), "Run", kNow);
  ASSERT_TRUE(permit.ok()) << permit.status();
  gate.reset();
  EXPECT_TRUE(permit->Charge(1, kNow).ok());
}

TEST(Gate, AdmitsEveryCallerIfNothingIsConfigured) {
  Gate gate(Policy{.per_caller = {.calls_max = 1}});
  const auto permit = gate.Enter({.peer = "10.0.0.1"}, "GetStatus", kNow);
  ASSERT_TRUE(permit.ok()) << permit.status();
  EXPECT_EQ(permit->name(), "anonymous");
  EXPECT_EQ(permit->role(), v1::ROLE_OPERATOR);
  EXPECT_FALSE(gate.Enter({.peer = "10.0.0.1"}, "Run", kNow).ok());  // a limit by host
  EXPECT_TRUE(gate.Enter({.peer = "10.0.0.2"}, "Run", kNow).ok());
  EXPECT_FALSE(gate.Enter({.peer = "10.0.0.3"}, "NoSuchMethod", kNow).ok());
}

TEST(Gate, ACertificateAloneNamesARunner) {
  Gate gate(Policy{.client_certificates = true, .per_caller = {.calls_max = 1}});
  EXPECT_THAT(Unauthenticated(gate, {.peer = "10.0.0.1"}), HasSubstr("certificate"));
  EXPECT_THAT(Unauthenticated(gate, {.certificate = "a name=x"}), HasSubstr("common name"));
  const auto permit = gate.Enter({.certificate = "alice", .peer = "10.0.0.1"}, "Run", kNow);
  ASSERT_TRUE(permit.ok()) << permit.status();
  EXPECT_EQ(permit->name(), "alice");
  EXPECT_EQ(permit->role(), v1::ROLE_RUNNER);
  EXPECT_FALSE(gate.Enter({.certificate = "alice", .peer = "10.0.0.2"}, "Run", kNow).ok());
  EXPECT_EQ(gate.Enter({.certificate = "bob"}, "GetStatus", kNow).status().code(),
            absl::StatusCode::kPermissionDenied);
}

TEST(Gate, NeedsTokenAndCertificateIfBothAreConfigured) {
  Policy policy = WithTokens(Entries());
  policy.client_certificates = true;
  Gate gate(policy);
  const std::string reader = absl::StrCat("Bearer ", kReader);
  EXPECT_THAT(Unauthenticated(gate, {.authorization = reader}), HasSubstr("certificate"));
  EXPECT_THAT(Unauthenticated(gate, {.certificate = "alice"}), HasSubstr("a token is missing"));
  const auto permit =
      gate.Enter({.authorization = reader, .certificate = "any name"}, "GetModel", kNow);
  ASSERT_TRUE(permit.ok()) << permit.status();
  EXPECT_EQ(permit->name(), "rita");
  EXPECT_EQ(permit->role(), v1::ROLE_READER);
}

TEST(Gate, RefusesEverythingOnTheHealthSocket) {
  Gate open(Policy{});
  Gate closed(WithTokens(Entries()));
  const std::string reader = absl::StrCat("Bearer ", kReader);
  for (Gate* gate : {&open, &closed}) {
    const Credentials shown{.authorization = reader, .health_socket = true};
    EXPECT_EQ(gate->Enter(shown, "GetModel", kNow).status().code(),
              absl::StatusCode::kPermissionDenied);
  }
}

TEST(Gate, UsesTheCurrentTokens) {
  auto list = std::make_shared<const TokenList>(Entries());
  Gate gate(Policy{.tokens = [&list] { return list; }});
  const std::string reader = absl::StrCat("Bearer ", kReader);
  EXPECT_TRUE(gate.Enter(Bearer(reader), "GetModel", kNow).ok());
  list = std::make_shared<const TokenList>(std::vector<TokenEntry>());
  EXPECT_THAT(Unauthenticated(gate, Bearer(reader)), HasSubstr("not accepted"));
}

TEST(Gate, ServesManyThreadsWhileTheTokensChange) {
  absl::Mutex mutex;
  auto list = std::make_shared<const TokenList>(Entries());
  Gate gate(Policy{.tokens =
                       [&] {
                         absl::MutexLock lock(&mutex);
                         return list;
                       },
                   .per_caller = {.calls_max = 0, .tokens_per_second_max = 1000}});
  std::atomic<bool> done = false;
  std::atomic<int> let_in = 0, refused = 0, strange = 0;
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&] {
      const std::string reader = absl::StrCat("Bearer ", kReader);
      while (!done) {
        auto permit = gate.Enter(Bearer(reader), "GetModel", kNow);
        if (permit.ok()) {
          ++let_in;
          if (permit->name() != "rita" || !permit->Charge(0, kNow).ok()) ++strange;
        } else if (absl::IsUnauthenticated(permit.status())) {
          ++refused;
        } else {
          ++strange;
        }
      }
    });
  }
  for (bool empty = true; let_in < 1000 || refused < 1000; empty = !empty) {
    {
      absl::MutexLock lock(&mutex);
      list = std::make_shared<const TokenList>(empty ? std::vector<TokenEntry>() : Entries());
    }
    const int before = empty ? refused : let_in;
    while ((empty ? refused : let_in) == before) std::this_thread::yield();
  }
  done = true;
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(strange, 0);
}

}  // namespace
}  // namespace scalpel::access

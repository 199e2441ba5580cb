// Random requests, for tests of what must hold for every request.

#ifndef SCALPEL_TESTS_UNIT_SUPPORT_RANDOM_SPEC_H_
#define SCALPEL_TESTS_UNIT_SUPPORT_RANDOM_SPEC_H_

#include <random>

#include "proto/scalpel/v1/service.pb.h"
#include "server/model/config.h"

namespace scalpel::test {

// Prompts of at most this many tokens.
inline constexpr int kRandomTokensMax = 9;

// Any site, operation, statistic, form of selection and of logits can come up. Most requests are
// valid; some select what does not exist, such as a query before every key.
v1::RunRequest RandomRequest(std::mt19937_64& random, const model::Gpt2Config& config);

}  // namespace scalpel::test

#endif  // SCALPEL_TESTS_UNIT_SUPPORT_RANDOM_SPEC_H_

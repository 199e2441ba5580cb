// Random requests, for tests of properties that every request must have.

#ifndef SCALPEL_TESTS_UNIT_SUPPORT_RANDOM_SPEC_H_
#define SCALPEL_TESTS_UNIT_SUPPORT_RANDOM_SPEC_H_

#include <random>

#include "proto/scalpel/v1/run.pb.h"
#include "server/model/config.h"

namespace scalpel::test {

// The longest prompt of a random request, in tokens.
inline constexpr int kRandomTokensMax = 9;

// Returns a request in which any site, operation, statistic, form of selection and form of logits
// can occur. Most are valid; some select nothing, such as a query before all of its keys.
v1::RunRequest RandomRequest(std::mt19937_64& random, const model::Gpt2Config& config);

}  // namespace scalpel::test

#endif  // SCALPEL_TESTS_UNIT_SUPPORT_RANDOM_SPEC_H_

// Changes a protobuf message at random, so that it stays a message: fields are added, removed,
// repeated, copied from elsewhere, or given values at which something often breaks.

#ifndef SCALPEL_TESTS_FUZZ_MUTATE_MESSAGE_H_
#define SCALPEL_TESTS_FUZZ_MUTATE_MESSAGE_H_

#include <google/protobuf/message.h>

#include <random>

namespace scalpel::fuzz {

// Changes one place of the message, or a few.
void Mutate(google::protobuf::Message* message, std::mt19937& random);

// Takes a field of `other`, which has the same type, into the message.
void CrossOver(google::protobuf::Message* message, const google::protobuf::Message& other,
               std::mt19937& random);

}  // namespace scalpel::fuzz

#endif  // SCALPEL_TESTS_FUZZ_MUTATE_MESSAGE_H_

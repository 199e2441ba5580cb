// A model in name only, for tests of the service that compute nothing.

#ifndef SCALPEL_TESTS_UNIT_RPC_SMALL_MODEL_H_
#define SCALPEL_TESTS_UNIT_RPC_SMALL_MODEL_H_

#include "server/spec/plan.h"

namespace scalpel::rpc {

inline spec::ModelFacts SmallFacts() {
  spec::ModelFacts facts;
  facts.name = "small";
  facts.config.n_layer = 2;
  facts.config.n_head = 2;
  facts.config.d_model = 8;
  facts.config.d_head = 4;
  facts.config.d_mlp = 32;
  facts.config.n_ctx = 16;
  facts.config.vocab_size = 11;
  return facts;
}

}  // namespace scalpel::rpc

#endif  // SCALPEL_TESTS_UNIT_RPC_SMALL_MODEL_H_

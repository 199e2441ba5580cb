#include "server/rpc/text.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/base/errors.h"
#include "server/base/utf8.h"
#include "server/base/violations.h"
#include "server/model/tokenizer.h"

namespace scalpel::rpc {
namespace {

absl::Status NoTokenizer(const spec::ModelFacts& facts) {
  return absl::FailedPreconditionError(
      absl::StrCat(facts.tokenizer_problem,
                   "; send token ids, or fix the model's folder and restart the server"));
}

}  // namespace

absl::StatusOr<v1::TokenizeResponse> Tokenize(const v1::TokenizeRequest& request,
                                              const spec::ModelFacts& facts, const Limits& limits) {
  if (!facts.tokenizer) return NoTokenizer(facts);
  const auto bytes = static_cast<int64_t>(request.text().size());
  if (bytes > limits->max_text_bytes()) {
    return InvalidField("text", absl::StrCat(bytes, " bytes, at most ", limits->max_text_bytes(),
                                             " are allowed; split it"));
  }
  // A text has no more tokens than bytes, but a space may be prefixed to each of its pieces.
  auto ids = facts.tokenizer->Encode(request.text(), 2 * request.text().size());
  if (absl::IsInvalidArgument(ids.status())) {
    return InvalidField("text", std::string(absl::StripPrefix(ids.status().message(), "text: ")));
  }
  if (!ids.ok()) return ids.status();
  v1::TokenizeResponse response;
  for (const int32_t id : *ids) {
    response.add_ids(id);
    response.add_tokens(facts.tokenizer->TokenText(id));
  }
  return response;
}

absl::StatusOr<v1::DetokenizeResponse> Detokenize(const v1::DetokenizeRequest& request,
                                                  const spec::ModelFacts& facts,
                                                  const Limits& limits) {
  if (!facts.tokenizer) return NoTokenizer(facts);
  Violations violations(limits->max_violations());
  v1::DetokenizeResponse response;
  for (int i = 0; i < request.ids_size(); ++i) {
    const int32_t id = request.ids(i);
    const std::string field = absl::StrCat("ids[", i, "]");
    if (id < 0 || id >= facts.config.vocab_size) {
      violations.Add(field, absl::StrCat(id, " is outside [0, ", facts.config.vocab_size, ")"));
      continue;
    }
    const auto text = facts.tokenizer->Decode({&id, 1});
    if (!text.ok()) {
      violations.Add(field, absl::StrCat(id,
                                         " is in the model's vocabulary, but no token of the "
                                         "tokenizer has it"));
      continue;
    }
    response.mutable_raw()->append(*text);
    if (static_cast<int64_t>(response.raw().size()) > limits->max_text_bytes()) {
      return InvalidField("ids", absl::StrCat("more than ", limits->max_text_bytes(),
                                              " bytes of text; split the list"));
    }
  }
  if (!violations.empty()) return violations.ToStatus();
  response.set_text(ReplaceInvalidUtf8(response.raw()));
  return response;
}

}  // namespace scalpel::rpc

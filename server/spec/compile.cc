#include "server/spec/compile.h"

#include <openssl/sha.h>

#include <memory>

#include "absl/strings/escaping.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"

namespace scalpel::spec {

absl::Status CheckModel(const std::string& name, const ModelFacts& facts) {
  if (name.empty() || name == facts.name) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat("model: this server has \"", facts.name,
                                          "\"; leave the field out, or ask GetModel"));
}

void CheckCount(Violations& violations, absl::string_view field, int64_t count, int64_t most) {
  if (count <= most) return;
  violations.Add(field, absl::StrCat("has ", count, " entries, at most ", most,
                                     " are allowed; split the request"));
}

std::string Digest(const google::protobuf::Message& request, const ModelFacts& facts) {
  const std::unique_ptr<google::protobuf::Message> asked(request.New());
  asked->CopyFrom(request);
  asked->GetReflection()->ClearField(asked.get(),
                                     asked->GetDescriptor()->FindFieldByName("validate_only"));
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    (void)asked->SerializeToCodedStream(&coded);  // to a string, which does not fail
  }
  bytes += facts.weights_sha256;
  unsigned char hash[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), hash);
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(hash), sizeof(hash)));
}

void FillTokenized(const ModelFacts& facts, const PromptTokens& prompts,
                   google::protobuf::RepeatedPtrField<v1::TokenizedPrompt>* tokenized) {
  for (const std::vector<int32_t>& ids : prompts) {
    v1::TokenizedPrompt* prompt = tokenized->Add();
    prompt->mutable_ids()->Assign(ids.begin(), ids.end());
    if (!facts.tokenizer) continue;
    for (const int32_t id : ids) prompt->add_tokens(facts.tokenizer->TokenText(id));
  }
}

}  // namespace scalpel::spec

// Fuzzes encoding with the bundled model's tokenizer. Decoding gives the text back, exactly what is
// no UTF-8 is refused, and the time grows with the text's length and no faster.

#include <functional>
#include <string>

#include "server/model/tokenizer.h"
#include "tests/fuzz/fuzz.h"

namespace {

using scalpel::model::Tokenizer;

constexpr size_t kLongBytes = 1 << 15;
// With sanitizers a byte takes a microsecond or two.
constexpr double kByteSecondsMax = 40e-6;

void CheckShort(const Tokenizer& tokenizer, const std::string& text) {
  const auto ids = tokenizer.Encode(text, text.size());
  HOLDS(ids.ok() == scalpel::fuzz::IsUtf8(text));
  if (!ids.ok()) return scalpel::fuzz::HoldsForMessage(ids.status());
  for (const int32_t id : *ids) {
    HOLDS(id >= 0 && id < tokenizer.vocab_size());
    HOLDS(scalpel::fuzz::IsUtf8(tokenizer.TokenText(id)));
  }
  const auto decoded = tokenizer.Decode(*ids);
  HOLDS(decoded.ok() && *decoded == text);
  if (!ids->empty())
    HOLDS(absl::IsInvalidArgument(tokenizer.Encode(text, ids->size() - 1).status()));
}

void CheckLong(const Tokenizer& tokenizer, const std::string& text) {
  std::string repeated;
  while (repeated.size() < kLongBytes) repeated += text;
  const double begin = scalpel::fuzz::CpuSeconds();
  const auto ids = tokenizer.Encode(repeated, repeated.size());
  HOLDS(scalpel::fuzz::CpuSeconds() - begin <
        kByteSecondsMax * static_cast<double>(repeated.size()));
  HOLDS(!ids.ok() || *tokenizer.Decode(*ids) == repeated);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto* tokenizer = new Tokenizer(*Tokenizer::Load("deploy/demo-model"));
  const std::string text(scalpel::fuzz::Text(data, size));
  CheckShort(*tokenizer, text);
  // One text in sixteen, because a long one takes a hundred times as long.
  if (size > 0 && std::hash<std::string>()(text) % 16 == 0) CheckLong(*tokenizer, text);
  return 0;
}

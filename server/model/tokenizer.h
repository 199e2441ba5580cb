// GPT-2's byte-level byte-pair encoding, equal to HuggingFace's GPT2TokenizerFast.

#ifndef SCALPEL_SERVER_MODEL_TOKENIZER_H_
#define SCALPEL_SERVER_MODEL_TOKENIZER_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace scalpel::model {

// Immutable after Load: const methods are thread-safe. Movable.
class Tokenizer {
 public:
  // Bytes of text that Encode accepts.
  static constexpr size_t kTextBytesMax = size_t{1} << 20;

  // Reads tokenizer.json (byte-level BPE only), or else vocab.json with merges.txt, from `dir`.
  // Errors: NOT_FOUND if the folder has neither; INVALID_ARGUMENT naming the file and the field.
  static absl::StatusOr<Tokenizer> Load(const std::filesystem::path& dir);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // The token ids of a text; no token is added. Special tokens such as <|endoftext|> in the text
  // become their own id. INVALID_ARGUMENT: not UTF-8 (with the byte offset), longer than
  // kTextBytesMax, more than `tokens_max` tokens, or a byte that the vocabulary does not cover.
  // Time is O(n log n) in the text's length.
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view utf8, size_t tokens_max) const;

  // The bytes of the tokens, special tokens included. Invalid UTF-8 where a character is split
  // over tokens. INVALID_ARGUMENT naming the index of an id that has no token.
  absl::StatusOr<std::string> Decode(absl::Span<const int32_t> ids) const;

  // One token for display: always valid UTF-8, U+FFFD for bytes that are no whole character;
  // "[ID]" for an id that has no token.
  std::string TokenText(int32_t id) const;

  // One past the largest id that has a token. The model's vocabulary may be larger (padded).
  int64_t vocab_size() const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<const Impl> impl);

  std::unique_ptr<const Impl> impl_;
};

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_TOKENIZER_H_

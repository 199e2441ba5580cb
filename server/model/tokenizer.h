// GPT-2's tokenizer: byte-level byte-pair encoding (Sennrich et al., 2016; Radford et al., 2019).
// Its results equal those of HuggingFace's GPT2TokenizerFast.

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

// Movable; const methods are thread-safe.
class Tokenizer {
 public:
  // The longest text that Encode accepts, in bytes.
  static constexpr size_t kTextBytesMax = size_t{1} << 20;

  // Reads the tokenizer's files from the folder `dir`; see ReadTokenizerFiles. NOT_FOUND if there
  // is no tokenizer in the folder; INVALID_ARGUMENT, naming the file and the field, if it is not
  // GPT-2's kind.
  static absl::StatusOr<Tokenizer> Load(const std::filesystem::path& dir);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // Returns the token ids of a text. Adds no tokens; added tokens in the text, such as
  // <|endoftext|>, become their own id. INVALID_ARGUMENT if the text is not UTF-8 (the message
  // gives the byte), is longer than kTextBytesMax, has more than `tokens_max` tokens, or has a byte
  // for which there is no token. Takes time O(n log n) for n bytes.
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view utf8, size_t tokens_max) const;

  // Returns the concatenated bytes of the tokens, special tokens included. They are not valid UTF-8
  // if `ids` has only some of the tokens of a character. INVALID_ARGUMENT, naming the index, if an
  // id has no token.
  absl::StatusOr<std::string> Decode(absl::Span<const int32_t> ids) const;

  // Returns a token's text for display, always valid UTF-8: U+FFFD replaces bytes that are not a
  // whole character. An id without a token gives "[ID]", such as "[50999]".
  std::string TokenText(int32_t id) const;

  // Returns one more than the largest id that has a token. The model's vocabulary may be padded to
  // a larger size.
  int64_t vocab_size() const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<const Impl> impl);

  std::unique_ptr<const Impl> impl_;
};

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_TOKENIZER_H_

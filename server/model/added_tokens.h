// Added tokens, such as <|endoftext|>: they are found in a text as literal strings before it is
// split into words and merged. Numbers and finds them as AddedVocabulary does in the Rust library
// `tokenizers` 0.22, which HuggingFace's fast tokenizers are built on.

#ifndef SCALPEL_SERVER_MODEL_ADDED_TOKENS_H_
#define SCALPEL_SERVER_MODEL_ADDED_TOKENS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/model/pattern.h"

namespace scalpel::model {

// Tokens and their ids.
using Vocabulary = std::map<std::string, int32_t, std::less<>>;

// A token and its flags, with the names and defaults of the `tokenizers` library.
struct AddedToken {
  std::string content;       // plain UTF-8, not in the byte alphabet
  bool special = false;      // has a role, such as padding
  bool normalized = true;    // sought only in the text between tokens that are not normalized
  bool lstrip = false;       // includes the white space before it
  bool rstrip = false;       // includes the white space after it
  bool single_word = false;  // not found next to a letter, digit or underscore

  bool operator==(const AddedToken&) const = default;
};

// A part of a text: one token, or ordinary text between tokens.
struct TextPiece {
  std::string_view text;
  std::optional<int32_t> id;  // absent for ordinary text
};

// The added tokens of one tokenizer. Movable; const methods are thread-safe.
class AddedTokens {
 public:
  // Returns an empty set. INTERNAL if PCRE2 does not accept the pattern of a word's characters.
  static absl::StatusOr<AddedTokens> Make();

  // Adds tokens in the given order. `vocabulary` must be the same in every call. A token of the
  // vocabulary keeps its id; a new one gets the next free id; one that was added before keeps its
  // id and takes the new flags. Tokens with empty content are ignored.
  void Add(absl::Span<const AddedToken> tokens, const Vocabulary& vocabulary);

  // If `split`, special tokens in a text are treated as ordinary text.
  void set_split_special(bool split) { split_special_ = split; }

  const std::map<int32_t, AddedToken>& by_id() const { return by_id_; }
  // Returns the id of an added token, or nullopt if `content` is not one.
  std::optional<int32_t> Id(std::string_view content) const;

  // Cuts `text`, which must be valid UTF-8, into the added tokens and the ordinary text between
  // them. The pieces are views of `text`; none is empty. A token's piece includes the white space
  // that its flags take. Worst-case time is the length of the text times that of the longest token.
  // INTERNAL or RESOURCE_EXHAUSTED if PCRE2 fails.
  absl::StatusOr<std::vector<TextPiece>> Split(std::string_view text) const;

 private:
  // The contents of tokens, as a trie of bytes.
  class Finder {
   public:
    struct Match {
      size_t bytes = 0;  // 0: none
      int32_t id = 0;
    };
    void Add(std::string_view content, int32_t id);
    // Returns the longest token that begins at byte `begin`.
    Match LongestAt(std::string_view text, size_t begin) const;

   private:
    std::array<bool, 256> begins_{};                   // whether a token begins with this byte
    absl::flat_hash_map<uint64_t, int32_t> children_;  // by node << 8 | byte
    std::vector<int32_t> ids_ = {-1};                  // by node; -1: no token ends there
  };

  explicit AddedTokens(Pattern word) : word_(std::move(word)) {}

  // Appends the pieces of ordinary text `text` to `pieces`, cut at the tokens of `finder`.
  absl::Status SplitAt(const Finder& finder, std::string_view text,
                       std::vector<TextPiece>* pieces) const;
  // Returns whether the text ends, or begins, with a character of kWordCharacters.
  absl::StatusOr<bool> EndsInWord(std::string_view text) const;
  absl::StatusOr<bool> BeginsWithWord(std::string_view text) const;

  std::map<int32_t, AddedToken> by_id_;
  std::map<std::string, int32_t, std::less<>> ids_;
  std::set<std::string, std::less<>> special_;
  // [0]: the tokens that are not normalized; [1]: the others, which are sought in the text between
  // them.
  std::array<Finder, 2> finders_;
  Pattern word_;
  bool split_special_ = false;
};

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_ADDED_TOKENS_H_

// Tokens that are found in a text as they stand, before anything is split or merged: as the
// tokenizers library, on which HuggingFace's fast tokenizers stand, numbers and finds them.

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

struct AddedToken {
  std::string content;       // plain UTF-8, not in the byte alphabet
  bool special = false;      // names a role, such as padding
  bool normalized = true;    // found only in what the tokens leave that are not "normalized"
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // takes the white space behind it
  bool single_word = false;  // not found beside a letter, digit or underscore

  bool operator==(const AddedToken&) const = default;
};

// A part of a text: a token's, or what lies between tokens.
struct TextPiece {
  std::string_view text;
  std::optional<int32_t> id;
};

// Movable; const methods are thread-safe.
class AddedTokens {
 public:
  // INTERNAL if PCRE2 refuses what a word is.
  static absl::StatusOr<AddedTokens> Make();

  // Adds tokens, in this order, beside a vocabulary that is the same in every call. A token of the
  // vocabulary keeps its id, a new one has the next free one; one that is there already has the
  // flags of the last call. Empty contents are left out.
  void Add(absl::Span<const AddedToken> tokens, const Vocabulary& vocabulary);

  // With `split`, special tokens are not found, but split as other text.
  void set_split_special(bool split) { split_special_ = split; }

  // Every token, by id.
  const std::map<int32_t, AddedToken>& by_id() const { return by_id_; }
  // Nothing for a token that was not added.
  std::optional<int32_t> Id(std::string_view content) const;

  // The text, valid UTF-8, cut at the tokens in it; white space that a token takes is in its piece.
  // No piece is empty. Time is linear in the text, times the longest token at worst.
  absl::StatusOr<std::vector<TextPiece>> Split(std::string_view text) const;

 private:
  // Contents of tokens, as a tree of bytes.
  class Finder {
   public:
    struct Match {
      size_t bytes = 0;  // 0: none
      int32_t id = 0;
    };
    void Add(std::string_view content, int32_t id);
    // The longest token that begins there.
    Match LongestAt(std::string_view text, size_t begin) const;

   private:
    std::array<bool, 256> begins_{};
    absl::flat_hash_map<uint64_t, int32_t> children_;  // by node << 8 | byte
    std::vector<int32_t> ids_ = {-1};                  // by node; -1: no token ends there
  };

  explicit AddedTokens(Pattern word) : word_(std::move(word)) {}

  absl::Status SplitAt(const Finder& finder, std::string_view text,
                       std::vector<TextPiece>* pieces) const;
  // Whether the text ends, or begins, with a character of a word.
  absl::StatusOr<bool> EndsInWord(std::string_view text) const;
  absl::StatusOr<bool> BeginsWithWord(std::string_view text) const;

  std::map<int32_t, AddedToken> by_id_;
  std::map<std::string, int32_t, std::less<>> ids_;
  std::set<std::string, std::less<>> special_;
  // First those that are not normalized, then the others in what is left.
  std::array<Finder, 2> finders_;
  Pattern word_;
  bool split_special_ = false;
};

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_ADDED_TOKENS_H_

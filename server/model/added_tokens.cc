#include "server/model/added_tokens.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/utf8.h"
#include "server/model/unicode.h"

namespace scalpel::model {
namespace {

uint64_t ChildKey(int32_t node, char byte) {
  return static_cast<uint64_t>(node) << 8 | static_cast<unsigned char>(byte);
}

}  // namespace

void AddedTokens::Finder::Add(std::string_view content, int32_t id) {
  begins_[static_cast<unsigned char>(content.front())] = true;
  int32_t node = 0;
  for (const char byte : content) {
    const auto [child, inserted] =
        children_.emplace(ChildKey(node, byte), static_cast<int32_t>(ids_.size()));
    if (inserted) ids_.push_back(-1);
    node = child->second;
  }
  ids_[static_cast<size_t>(node)] = id;
}

AddedTokens::Finder::Match AddedTokens::Finder::LongestAt(std::string_view text,
                                                          size_t begin) const {
  Match longest;
  if (!begins_[static_cast<unsigned char>(text[begin])]) return longest;
  int32_t node = 0;
  for (size_t at = begin; at < text.size(); ++at) {
    const auto child = children_.find(ChildKey(node, text[at]));
    if (child == children_.end()) break;
    node = child->second;
    const int32_t id = ids_[static_cast<size_t>(node)];
    if (id >= 0) longest = {at + 1 - begin, id};
  }
  return longest;
}

absl::StatusOr<AddedTokens> AddedTokens::Make() {
  absl::StatusOr<Pattern> word = Pattern::Compile(absl::StrCat("[", kWordCharacters, "]"));
  if (!word.ok()) return word.status();
  return AddedTokens(*std::move(word));
}

std::optional<int32_t> AddedTokens::Id(std::string_view content) const {
  const auto found = ids_.find(content);
  return found == ids_.end() ? std::nullopt : std::optional<int32_t>(found->second);
}

// As AddedVocabulary::add_tokens of tokenizers 0.22, with its corner cases. A token that equals an
// earlier one in all flags is ignored. If a special token is added several times, `normalized` of
// the first says which Finder has it, while the flags of the last are used to cut it out.
void AddedTokens::Add(absl::Span<const AddedToken> tokens, const Vocabulary& vocabulary) {
  std::multimap<std::string, AddedToken> existing;
  for (const auto& [id, token] : by_id_) existing.emplace(token.content, token);
  const auto known = [&existing](const AddedToken& token) {
    const auto [first, last] = existing.equal_range(token.content);
    return std::any_of(first, last, [&](const auto& entry) { return entry.second == token; });
  };
  std::vector<const AddedToken*> sought;
  for (const AddedToken& token : tokens) {
    if (token.special && !token.content.empty() && special_.insert(token.content).second) {
      sought.push_back(&token);
    }
  }
  const auto size = static_cast<int32_t>(vocabulary.size());
  int32_t next = by_id_.empty() ? size : std::max(size, by_id_.rbegin()->first + 1);
  for (const AddedToken& token : tokens) {
    if (token.content.empty() || known(token)) continue;
    std::optional<int32_t> id = Id(token.content);
    const auto in_vocabulary = vocabulary.find(token.content);
    if (!id && in_vocabulary != vocabulary.end()) id = in_vocabulary->second;
    if (!id) id = next++;
    ids_[token.content] = *id;
    by_id_[*id] = token;
    if (!special_.contains(token.content)) sought.push_back(&token);
    existing.emplace(token.content, token);
  }
  for (const AddedToken* token : sought) {
    finders_[token->normalized ? 1 : 0].Add(token->content, *Id(token->content));
  }
}

absl::StatusOr<bool> AddedTokens::EndsInWord(std::string_view text) const {
  if (text.empty()) return false;
  size_t begin = text.size() - 1;
  while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
  return BeginsWithWord(text.substr(begin));
}

absl::StatusOr<bool> AddedTokens::BeginsWithWord(std::string_view text) const {
  if (text.empty()) return false;
  Pattern::Matches matches;
  const absl::StatusOr<size_t> bytes =
      word_.MatchAt(text.substr(0, NextUtf8(text).bytes), 0, &matches);
  if (!bytes.ok()) return bytes.status();
  return *bytes > 0;
}

// As AddedVocabulary::find_matches, with its corner cases. A token that is found but not taken (by
// split_special_ or single_word) still hides the tokens that begin inside it. A token may begin in
// the white space that the token before it has taken: it is taken too, unless nothing is left of
// it. (The library panics if it also ends before that white space does.)
absl::Status AddedTokens::SplitAt(const Finder& finder, std::string_view text,
                                  std::vector<TextPiece>* pieces) const {
  size_t done = 0;  // text[0, done) is in `pieces`
  for (size_t at = 0; at < text.size();) {
    const Finder::Match match = finder.LongestAt(text, at);
    if (match.bytes == 0) {
      ++at;
      continue;
    }
    size_t begin = at;
    size_t end = at + match.bytes;
    at = end;
    const AddedToken& token = by_id_.at(match.id);
    if (split_special_ && special_.contains(token.content)) continue;
    if (token.single_word) {
      const absl::StatusOr<bool> before = EndsInWord(text.substr(0, begin));
      if (!before.ok()) return before.status();
      const absl::StatusOr<bool> behind = BeginsWithWord(text.substr(end));
      if (!behind.ok()) return behind.status();
      if (*before || *behind) continue;
    }
    if (token.lstrip) {
      while (begin > done) {
        const size_t space = SpaceBytesAtEnd(text.substr(done, begin - done));
        if (space == 0) break;
        begin -= space;
      }
      begin = std::max(begin, done);
    }
    while (token.rstrip && end < text.size()) {
      const size_t space = SpaceBytesAtBegin(text.substr(end));
      if (space == 0) break;
      end += space;
    }
    if (done < begin) pieces->push_back({text.substr(done, begin - done), std::nullopt});
    if (begin < end) pieces->push_back({text.substr(begin, end - begin), match.id});
    done = end;
  }
  if (done != text.size()) pieces->push_back({text.substr(done), std::nullopt});
  return absl::OkStatus();
}

absl::StatusOr<std::vector<TextPiece>> AddedTokens::Split(std::string_view text) const {
  std::vector<TextPiece> pieces;
  if (!text.empty()) pieces.push_back({text, std::nullopt});
  for (const Finder& finder : finders_) {
    std::vector<TextPiece> parts;
    for (const TextPiece& piece : pieces) {
      if (piece.id) {
        parts.push_back(piece);
      } else if (absl::Status split = SplitAt(finder, piece.text, &parts); !split.ok()) {
        return split;
      }
    }
    pieces = std::move(parts);
  }
  return pieces;
}

}  // namespace scalpel::model

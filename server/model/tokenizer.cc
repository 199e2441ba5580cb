#include "server/model/tokenizer.h"

#include <algorithm>
#include <array>
#include <optional>
#include <queue>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/json.h"
#include "server/base/utf8.h"
#include "server/model/added_tokens.h"
#include "server/model/pattern.h"
#include "server/model/tokenizer_files.h"
#include "server/model/unicode.h"

namespace scalpel::model {
namespace {

// A merge of two tokens into one. Merges of lower rank come first.
struct Merge {
  int32_t rank;
  int32_t result;
};

uint64_t PairKey(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

using MergeTable = absl::flat_hash_map<uint64_t, Merge>;

// One token of a word that is being merged. The word is an array of them and a doubly linked list
// of indices.
struct Symbol {
  int32_t token;  // kGone once it is merged into its left neighbour
  int32_t previous;
  int32_t next;
};

constexpr int32_t kGone = -1;
constexpr int32_t kEnd = -1;  // the index of a neighbour that does not exist

// A merge in the queue. It may have become impossible by the time it is taken out.
struct Candidate {
  Merge merge;
  int32_t left;  // index of the left symbol

  bool operator>(const Candidate& other) const {
    return std::pair(merge.rank, left) > std::pair(other.merge.rank, other.left);
  }
};

// Merges one pair at a time, of lowest rank first and the leftmost if several have it, as
// HuggingFace does. Takes time O(n log n): each merge adds at most two candidates to the initial n
// - 1.
void MergeWord(const MergeTable& merges, std::vector<Symbol>* symbols) {
  std::vector<Symbol>& word = *symbols;
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto merge_of = [&](int32_t left) -> const Merge* {
    if (left == kEnd || word[left].next == kEnd) return nullptr;
    const auto found = merges.find(PairKey(word[left].token, word[word[left].next].token));
    return found == merges.end() ? nullptr : &found->second;
  };
  const auto offer = [&](int32_t left) {
    if (const Merge* merge = merge_of(left); merge != nullptr) queue.push({*merge, left});
  };
  for (int32_t i = 0; i < static_cast<int32_t>(word.size()); ++i) offer(i);
  while (!queue.empty()) {
    const Candidate candidate = queue.top();
    queue.pop();
    Symbol& left = word[candidate.left];
    if (left.token == kGone) continue;
    // The pair may have changed since the candidate was queued.
    const Merge* merge = merge_of(candidate.left);
    if (merge == nullptr || merge->result != candidate.merge.result) continue;
    Symbol& right = word[left.next];
    left.token = merge->result;
    left.next = right.next;
    right.token = kGone;
    if (left.next != kEnd) word[left.next].previous = candidate.left;
    offer(left.previous);
    offer(candidate.left);
  }
}

// GPT-2's pattern of a word. It matches at every position, so the words cover the whole text:
// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
std::string WordPattern() {
  return absl::StrCat("'s|'t|'re|'ve|'m|'ll|'d| ?[", kLetters, "]+| ?[", kNumbers, "]+| ?[^",
                      kSpaces, kLetters, kNumbers, "]+|[", kSpaces, "]+(?![^", kSpaces, "])|[",
                      kSpaces, "]+");
}

// GPT-2's byte alphabet, in which each byte is a character of one or two bytes of UTF-8. Printable
// Latin-1 characters are themselves; the other bytes, in order, are U+0100, U+0101 and so on.
std::array<std::string, 256> ByteAlphabet() {
  std::array<std::string, 256> alphabet;
  uint32_t next = 0x100;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    const bool itself = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) ||
                        (byte >= 0xAE && byte <= 0xFF);
    const uint32_t code = itself ? byte : next++;
    if (code < 0x80) {
      alphabet[byte] = std::string(1, static_cast<char>(code));
    } else {
      alphabet[byte] = {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 63))};
    }
  }
  return alphabet;
}

// Returns the bytes of a token that is written in the byte alphabet, or the token itself if it has
// a character that is not in the alphabet.
std::string TokenBytes(const absl::flat_hash_map<std::string, char>& byte_of, std::string token) {
  std::string bytes;
  std::string_view rest = token;
  while (!rest.empty()) {
    const size_t length = NextUtf8(rest).bytes;
    const auto byte = byte_of.find(std::string(rest.substr(0, length)));
    if (byte == byte_of.end()) return token;
    bytes.push_back(byte->second);
    rest.remove_prefix(length);
  }
  return bytes;
}

absl::Status MakeMerges(const TokenizerFiles& files, MergeTable* merges) {
  for (size_t i = 0; i < files.merges.size(); ++i) {
    const auto& [left, right] = files.merges[i];
    int32_t ids[3];
    const std::string tokens[3] = {left, right, left + right};
    for (int part = 0; part < 3; ++part) {
      const auto token = files.vocabulary.find(tokens[part]);
      if (token == files.vocabulary.end()) {
        return absl::InvalidArgumentError(absl::StrCat("tokenizer: merge ", i, " needs the token ",
                                                       QuotedName(tokens[part]),
                                                       ", which is not in the vocabulary"));
      }
      ids[part] = token->second;
    }
    (*merges)[PairKey(ids[0], ids[1])] = {static_cast<int32_t>(i), ids[2]};
  }
  return absl::OkStatus();
}

absl::Status TooManyTokens(size_t tokens_max) {
  return absl::InvalidArgumentError(
      absl::StrCat("text: more than ", tokens_max, " tokens; shorten it"));
}

}  // namespace

struct Tokenizer::Impl {
  // The state of one call of Encode: its result so far, and working memory.
  struct Encoding {
    size_t tokens_max;
    std::vector<int32_t> ids;
    std::vector<Symbol> word;
    Pattern::Matches matches;
  };

  Impl(TokenizerFiles files, MergeTable merges, Pattern words);
  void SetToken(int32_t id, std::string bytes);
  absl::Status EncodeText(std::string_view text, Encoding* out) const;
  absl::Status EncodeWords(std::string_view text, Encoding* out) const;
  absl::Status EncodeWord(std::string_view word, Encoding* out) const;
  const std::string* Find(int32_t id) const {
    if (id < 0 || static_cast<size_t>(id) >= bytes_of.size() || !bytes_of[id]) return nullptr;
    return &*bytes_of[id];
  }

  std::vector<std::optional<std::string>> bytes_of;  // by id
  std::array<std::optional<int32_t>, 256> id_of_byte;
  size_t longest_token = 1;  // in bytes, without the white space that lstrip and rstrip take
  MergeTable merges;
  AddedTokens added;
  bool takes_space = false;  // whether any token has lstrip or rstrip
  bool add_prefix_space;
  Pattern words;
};

void Tokenizer::Impl::SetToken(int32_t id, std::string bytes) {
  if (static_cast<size_t>(id) >= bytes_of.size()) bytes_of.resize(static_cast<size_t>(id) + 1);
  longest_token = std::max(longest_token, bytes.size());
  bytes_of[id] = std::move(bytes);
}

Tokenizer::Impl::Impl(TokenizerFiles files, MergeTable merges, Pattern words)
    : merges(std::move(merges)),
      added(std::move(files.added)),
      add_prefix_space(files.add_prefix_space),
      words(std::move(words)) {
  const std::array<std::string, 256> alphabet = ByteAlphabet();
  absl::flat_hash_map<std::string, char> byte_of;
  for (int byte = 0; byte < 256; ++byte) {
    byte_of[alphabet[byte]] = static_cast<char>(byte);
    const auto token = files.vocabulary.find(alphabet[byte]);
    if (token != files.vocabulary.end()) id_of_byte[byte] = token->second;
  }
  for (const auto& [token, id] : files.vocabulary) SetToken(id, TokenBytes(byte_of, token));
  for (const auto& [id, token] : added.by_id()) {
    // A token that is not in the vocabulary decodes to its own text. transformers would decode one
    // that happens to be in the byte alphabet, such as "é", to a byte that is not UTF-8, and lose
    // it.
    if (!files.vocabulary.contains(token.content)) SetToken(id, token.content);
    longest_token = std::max(longest_token, token.content.size());
    takes_space = takes_space || token.lstrip || token.rstrip;
  }
}

absl::Status Tokenizer::Impl::EncodeText(std::string_view text, Encoding* out) const {
  const absl::StatusOr<std::vector<TextPiece>> pieces = added.Split(text);
  if (!pieces.ok()) return pieces.status();
  for (const TextPiece& piece : *pieces) {
    if (piece.id) {
      out->ids.push_back(*piece.id);
      if (out->ids.size() > out->tokens_max) return TooManyTokens(out->tokens_max);
      continue;
    }
    absl::Status encoded = add_prefix_space && !piece.text.starts_with(' ')
                               ? EncodeWords(absl::StrCat(" ", std::string(piece.text)), out)
                               : EncodeWords(piece.text, out);
    if (!encoded.ok()) return encoded;
  }
  return absl::OkStatus();
}

absl::Status Tokenizer::Impl::EncodeWords(std::string_view text, Encoding* out) const {
  size_t begin = 0;
  while (begin < text.size()) {
    const absl::StatusOr<size_t> bytes = words.MatchAt(text, begin, &out->matches);
    if (!bytes.ok()) return bytes.status();
    if (*bytes == 0) {
      return absl::InternalError(absl::StrCat("text: no word begins at byte ", begin));
    }
    absl::Status encoded = EncodeWord(text.substr(begin, *bytes), out);
    if (!encoded.ok()) return encoded;
    begin += *bytes;
  }
  return absl::OkStatus();
}

absl::Status Tokenizer::Impl::EncodeWord(std::string_view word, Encoding* out) const {
  out->word.clear();
  for (size_t i = 0; i < word.size(); ++i) {
    const unsigned char byte = static_cast<unsigned char>(word[i]);
    if (!id_of_byte[byte]) {
      return absl::InvalidArgumentError(absl::StrCat(
          "text: the vocabulary has no token for the byte ", byte, "; give token ids"));
    }
    const int32_t index = static_cast<int32_t>(i);
    out->word.push_back({*id_of_byte[byte], index - 1, index + 1});
  }
  out->word.back().next = kEnd;
  MergeWord(merges, &out->word);
  for (int32_t i = 0; i != kEnd; i = out->word[i].next) out->ids.push_back(out->word[i].token);
  if (out->ids.size() > out->tokens_max) return TooManyTokens(out->tokens_max);
  return absl::OkStatus();
}

Tokenizer::Tokenizer(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

absl::StatusOr<Tokenizer> Tokenizer::Load(const std::filesystem::path& dir) {
  absl::StatusOr<TokenizerFiles> files = ReadTokenizerFiles(dir);
  if (!files.ok()) return files.status();
  absl::StatusOr<Pattern> words = Pattern::Compile(WordPattern());
  if (!words.ok()) return words.status();
  MergeTable merges;
  if (absl::Status made = MakeMerges(*files, &merges); !made.ok()) return made;
  return Tokenizer(std::make_unique<Impl>(*std::move(files), std::move(merges), *std::move(words)));
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::Encode(std::string_view utf8,
                                                       size_t tokens_max) const {
  if (utf8.size() > kTextBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("text: ", utf8.size(), " bytes; the limit is ", kTextBytesMax));
  }
  for (size_t offset = 0; offset < utf8.size();) {
    const Utf8Step step = NextUtf8(utf8.substr(offset));
    if (!step.valid) {
      return absl::InvalidArgumentError(absl::StrCat("text: not UTF-8 at byte ", offset));
    }
    offset += step.bytes;
  }
  // A text of more bytes than tokens_max tokens can cover is refused without encoding it.
  if (!impl_->takes_space && utf8.size() / impl_->longest_token > tokens_max)
    return TooManyTokens(tokens_max);
  Impl::Encoding out{tokens_max, {}, {}, {}};
  absl::Status encoded = impl_->EncodeText(utf8, &out);
  if (!encoded.ok()) return encoded;
  return std::move(out.ids);
}

absl::StatusOr<std::string> Tokenizer::Decode(absl::Span<const int32_t> ids) const {
  std::string text;
  for (size_t i = 0; i < ids.size(); ++i) {
    const std::string* bytes = impl_->Find(ids[i]);
    if (bytes == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat(
          "token_ids[", i, "]: ", ids[i], " has no token; ids are in [0, ", vocab_size(), ")"));
    }
    text.append(*bytes);
  }
  return text;
}

std::string Tokenizer::TokenText(int32_t id) const {
  const std::string* bytes = impl_->Find(id);
  return bytes == nullptr ? absl::StrCat("[", id, "]") : ReplaceInvalidUtf8(*bytes);
}

int64_t Tokenizer::vocab_size() const { return static_cast<int64_t>(impl_->bytes_of.size()); }

}  // namespace scalpel::model

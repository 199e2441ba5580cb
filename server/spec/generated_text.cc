#include "server/spec/generated_text.h"

#include <utility>

#include "server/base/utf8.h"

namespace scalpel::spec {

std::string GeneratedText::Add(int32_t id) {
  if (tokenizer_ == nullptr) return {};
  std::string bytes = std::exchange(unfinished_, {});
  if (const auto decoded = tokenizer_->Decode({&id, 1}); decoded.ok()) bytes += *decoded;
  const size_t whole = bytes.size() - UnfinishedUtf8(bytes);
  unfinished_ = bytes.substr(whole);
  bytes.resize(whole);
  std::string piece = ReplaceInvalidUtf8(bytes);
  for (size_t i = 0; i < piece.size() && stop_ == nullptr; ++i) {
    state_ = stops_.Next(state_, piece[i]);
    stop_ = stops_.EndOf(state_);
    if (stop_ != nullptr) stop_begin_ = text_.size() + i + 1 - stop_->size();
  }
  text_ += piece;
  return piece;
}

std::string GeneratedText::Finish() {
  std::string piece = ReplaceInvalidUtf8(std::exchange(unfinished_, {}));
  text_ += piece;
  return piece;
}

}  // namespace scalpel::spec

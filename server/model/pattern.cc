#include "server/model/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace scalpel::model {

struct Pattern::Code {
  pcre2_code* code;
  ~Code() { pcre2_code_free(code); }
};

struct Pattern::Matches::Data {
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  ~Data() { pcre2_match_data_free(data); }
};

Pattern::Matches::Matches() : data_(std::make_unique<Data>()) {}
Pattern::Matches::Matches(Matches&&) noexcept = default;
Pattern::Matches::~Matches() = default;

Pattern::Pattern(std::unique_ptr<const Code> code) : code_(std::move(code)) {}
Pattern::Pattern(Pattern&&) noexcept = default;
Pattern& Pattern::operator=(Pattern&&) noexcept = default;
Pattern::~Pattern() = default;

absl::StatusOr<Pattern> Pattern::Compile(const std::string& expression) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* compiled =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(expression.data()), expression.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_ANCHORED, &error, &offset, nullptr);
  if (compiled == nullptr) {
    return absl::InternalError(absl::StrCat("PCRE2 rejects the pattern at byte ", offset));
  }
  // The result is ignored: without a just-in-time compiler the interpreter does the same, slower.
  pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE);
  return Pattern(std::unique_ptr<const Code>(new Code{compiled}));
}

absl::StatusOr<size_t> Pattern::MatchAt(std::string_view text, size_t begin,
                                        Matches* matches) const {
  pcre2_match_data* data = matches->data_->data;
  if (data == nullptr) return absl::ResourceExhaustedError("text: out of memory");
  const int count = pcre2_match(code_->code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                                begin, PCRE2_NO_UTF_CHECK, data, nullptr);
  if (count == PCRE2_ERROR_NOMATCH) return 0;
  if (count < 1) {
    return absl::InternalError(
        absl::StrCat("text: PCRE2 fails with error ", count, " at byte ", begin));
  }
  return pcre2_get_ovector_pointer(data)[1] - begin;
}

}  // namespace scalpel::model

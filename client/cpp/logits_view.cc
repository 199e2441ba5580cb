#include "client/cpp/logits_view.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cpp/sparkline.h"
#include "client/cpp/text.h"

namespace scalpel::client {
namespace {

constexpr int kBarColumns = 8;
constexpr int kTokenColumnsMax = 24;

// Returns a cell such as `" Paris"    61.2% ████▉   `, `columns` wide.
std::string TokenCell(const v1::TokenLogit& token, int columns) {
  if (token.token_id() < 0) return PadRight("nan", columns);  // NaN among the logits: no order
  const double probability = std::exp(static_cast<double>(token.log_prob()));
  const std::string percent = probability != 0 && probability < 0.0005
                                  ? absl::StrFormat("%.1e", probability)
                                  : absl::StrFormat("%.1f%%", 100 * probability);
  const std::string name =
      token.token().empty() ? absl::StrCat("id ", token.token_id()) : Quoted(token.token());
  const int token_columns = std::min(kTokenColumnsMax, columns - kBarColumns - 10);
  return absl::StrCat(PadRight(name, token_columns), " ", PadLeft(percent, 8), " ",
                      PadRight(Bar(probability, kBarColumns), columns - token_columns - 10));
}

}  // namespace

void LogitsView::Add(const v1::Logits& logits) {
  for (const v1::PositionLogits& position : logits.positions()) {
    auto& [clean, edited] = logits_[{logits.prompt(), position.position()}];
    (logits.clean() ? clean : edited) = position;
  }
}

void LogitsView::Print() {
  for (const auto& [key, runs] : logits_) {
    const auto& [clean, edited] = runs;
    const int rows = std::max(clean.tokens_size(), edited.tokens_size());
    const bool both = clean.tokens_size() > 0;
    screen_.out << "\n" << screen_.Bold(Title(key.first, key.second)) << "\n";
    const int columns = both ? (screen_.columns - 6) / 2 : std::min(44, screen_.columns - 4);
    if (both) {
      screen_.out << screen_.Dim(absl::StrCat("  ", PadRight("clean", columns + 2), "edited"))
                  << "\n";
    }
    for (int i = 0; i < rows; ++i) {
      std::string line = "  ";
      if (both) {
        const bool has = i < clean.tokens_size();
        absl::StrAppend(
            &line, has ? TokenCell(clean.tokens(i), columns) : std::string(columns, ' '), "  ");
      }
      if (i < edited.tokens_size()) line += TokenCell(edited.tokens(i), columns);
      absl::StripTrailingAsciiWhitespace(&line);
      screen_.out << line << "\n";
    }
  }
  logits_.clear();
}

std::string LogitsView::Title(int prompt, int position) const {
  std::string title = "next token";
  if (started_.prompts_size() > 1) absl::StrAppend(&title, ", prompt ", prompt);
  absl::StrAppend(&title, " after position ", position);
  if (prompt < 0 || prompt >= started_.prompts_size()) return title;
  const v1::TokenizedPrompt& tokens = started_.prompts(prompt);
  if (position < 0 || position >= tokens.tokens_size()) return title;
  return absl::StrCat(title, ", ", Fit(Quoted(tokens.tokens(position)), kTokenColumnsMax));
}

}  // namespace scalpel::client

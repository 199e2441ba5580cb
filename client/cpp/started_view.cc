#include "client/cpp/started_view.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cpp/table.h"
#include "client/cpp/text.h"
#include "google/protobuf/util/json_util.h"

namespace scalpel::client {
namespace {

constexpr int kPromptsShownMax = 8;

std::string PromptText(const v1::TokenizedPrompt& prompt) {
  return prompt.tokens().empty() ? absl::StrCat("ids ", absl::StrJoin(prompt.ids(), ","))
                                 : Quoted(absl::StrJoin(prompt.tokens(), ""));
}

}  // namespace

void PrintPrompts(const Screen& screen,
                  const google::protobuf::RepeatedPtrField<v1::TokenizedPrompt>& prompts) {
  const int shown = std::min(prompts.size(), kPromptsShownMax);
  for (int i = 0; i < shown; ++i) {
    const std::string line = absl::StrCat("  ", i, "  ", PromptText(prompts[i]));
    screen.out << Fit(line, screen.columns) << "\n";
  }
  if (shown < prompts.size()) {
    screen.out << "  ... " << Count(prompts.size() - shown, "more prompt") << "\n";
  }
}

void PrintPlan(const Screen& screen, const v1::Cost& cost, const std::string& digest,
               const google::protobuf::Message& normalized) {
  PrintTable(screen, {{""}, {""}},
             {{"rows", Thousands(cost.rows())},
              {"tokens", Thousands(cost.tokens())},
              {"work", Flops(cost.flops())},
              {"response", absl::StrCat("at most ", Bytes(cost.response_bytes()))},
              {"memory", absl::StrCat("at most ", Bytes(cost.activation_bytes()))},
              {"digest", Printable(digest)}});
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.preserve_proto_field_names = true;
  std::string json;
  if (google::protobuf::util::MessageToJsonString(normalized, &json, options).ok()) {
    screen.out << "\n" << screen.Bold("as the server understands it") << "\n" << json;
  }
}

std::string Flops(double flops) {
  constexpr const char* kUnits[] = {"FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP"};
  size_t unit = 0;
  for (; flops >= 1000 && unit + 1 < std::size(kUnits); ++unit) flops /= 1000;
  return absl::StrFormat("%.3g %s", flops, kUnits[unit]);
}

std::string Milliseconds(absl::Duration duration) {
  return absl::StrFormat("%.1f ms", absl::ToDoubleMilliseconds(duration));
}

}  // namespace scalpel::client

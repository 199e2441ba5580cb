#include "server/config/help_text.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "server/config/settings.h"

namespace scalpel {
namespace {

constexpr char kBegin[] =
    "scalpel-server: runs a GPT-2 model under interventions that come with each request, over "
    "gRPC.\n\n"
    "usage: scalpel-server --model DIR [flags]\n\n"
    "Each setting is a flag, an environment variable (SCALPEL_MAX_QUEUE for --max-queue) and a\n"
    "key of the file that --config names. Flags override variables, and variables override the\n"
    "file.\n";
constexpr char kNextLine[] = "\n                                       ";

}  // namespace

std::string HelpText() {
  std::string text = kBegin;
  for (const SettingGroup& group : SettingGroups()) {
    absl::StrAppend(&text, "\n", group.title, ":\n");
    for (const Setting& setting : group.settings) {
      absl::StrAppendFormat(&text, "  %-36s %s\n",
                            absl::StrCat("--", setting.name, " ", setting.value),
                            absl::StrReplaceAll(setting.help, {{"\n", kNextLine}}));
    }
  }
  return text;
}

}  // namespace scalpel

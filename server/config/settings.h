// The table of all settings: flags, environment, file and --help are read and written by it.

#ifndef SCALPEL_SERVER_CONFIG_SETTINGS_H_
#define SCALPEL_SERVER_CONFIG_SETTINGS_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/config/config.h"

namespace scalpel {

enum class Where { kAnywhere, kNotInFile, kFlagOnly };

struct Setting {
  std::string name;   // the flag's, without dashes
  std::string value;  // as --help shows it; empty: a switch, `true` or `false`
  std::string help;
  // Returns what is wrong with the value and what would be right; empty: nothing.
  std::function<std::string(const std::string& value, Config* config)> set;
  Where where = Where::kAnywhere;  // it may be given
};

// Settings that stand together in --help.
struct SettingGroup {
  std::string title;
  std::vector<Setting> settings;
};

const std::vector<SettingGroup>& SettingGroups();

// Null where there is none of this name.
const Setting* FindSetting(absl::string_view name);

}  // namespace scalpel

#endif  // SCALPEL_SERVER_CONFIG_SETTINGS_H_

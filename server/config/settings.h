// The table of all settings, which defines flags, variables, keys of the file, and --help.

#ifndef SCALPEL_SERVER_CONFIG_SETTINGS_H_
#define SCALPEL_SERVER_CONFIG_SETTINGS_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/config/config.h"

namespace scalpel {

// The sources in which a setting may be given.
enum class Where { kAnywhere, kNotInFile, kFlagOnly };

struct Setting {
  std::string name;   // of the flag, without the leading dashes
  std::string value;  // placeholder in --help, such as `N`; empty for a switch, `true` or `false`
  std::string help;
  // Parses the value into the config. Returns "", or what is wrong and what would be valid.
  std::function<std::string(const std::string& value, Config* config)> set;
  Where where = Where::kAnywhere;
};

// Settings under one heading of --help.
struct SettingGroup {
  std::string title;
  std::vector<Setting> settings;
};

// Returns all settings, in the order of --help. Thread-safe.
const std::vector<SettingGroup>& SettingGroups();

// Returns the setting of this name, or null if there is none. Thread-safe.
const Setting* FindSetting(absl::string_view name);

}  // namespace scalpel

#endif  // SCALPEL_SERVER_CONFIG_SETTINGS_H_

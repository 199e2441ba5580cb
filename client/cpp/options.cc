#include "client/cpp/options.h"

#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "client/cpp/flags.h"
#include "client/cpp/spec_request.h"
#include "client/cpp/text.h"

namespace scalpel::client {
namespace {

const char* const kCommands[] = {"run",        "sweep",  "generate", "model", "tokenize",
                                 "detokenize", "health", "status",   "top"};
const char* const kCommandsWithoutArguments[] = {"model", "status", "top"};
const char* const kInterventionCommands[] = {"run", "sweep", "generate"};

// Parses the arguments from left to right.
class Parser {
 public:
  Parser(const std::vector<std::string>& arguments, const std::string& server)
      : arguments_(arguments) {
    if (!server.empty()) options_.server = server;
  }

  absl::StatusOr<Options> Parse() {
    bool flags = true;
    for (; at_ < arguments_.size(); ++at_) {
      const std::string& argument = arguments_[at_];
      if (!IsUtf8(argument)) {
        return absl::InvalidArgumentError(
            absl::StrCat("`", Printable(argument), "` is not UTF-8; convert it"));
      }
      if (flags && argument == "--") {
        flags = false;
      } else if (flags && argument == "-h") {
        options_.help = true;
      } else if (flags && absl::StartsWith(argument, "--")) {
        if (const absl::Status status = TakeFlag(); !status.ok()) return status;
      } else if (options_.command.empty()) {
        options_.command = argument;
      } else {
        options_.arguments.push_back(argument);
      }
    }
    if (options_.help) return options_;
    if (const absl::Status status = Check(); !status.ok()) return status;
    if (absl::c_linear_search(kInterventionCommands, options_.command)) PlaceRequestArguments();
    return options_;
  }

 private:
  // Parses the flag at `at_`, and the arguments after it that are its values.
  absl::Status TakeFlag() {
    const absl::string_view argument = arguments_[at_];
    const absl::string_view name = argument.substr(0, argument.find('='));
    for (const OperationFlag& operation : OperationFlags()) {
      if (name == absl::StrCat("--", operation.name)) {
        return TakeOperation(operation, argument, name);
      }
    }
    for (const FlagGroup& group : FlagGroups()) {
      for (const Flag& flag : group.flags) {
        if (name != flag.name) continue;
        Note(flag.name, group.commands);
        if (flag.value == nullptr && name.size() < argument.size()) {
          return absl::InvalidArgumentError(
              absl::StrCat(name, " takes no value; write only ", name));
        }
        if (flag.value == nullptr) return flag.set("", options_);
        const absl::StatusOr<absl::string_view> value = Value(argument, name);
        if (!value.ok()) return value.status();
        if (flag.set_two == nullptr) return flag.set(*value, options_);
        const absl::StatusOr<absl::string_view> second = Value(name, name);
        return second.ok() ? flag.set_two(*value, *second, options_) : second.status();
      }
    }
    if (name == "--token") {
      return absl::InvalidArgumentError(
          "--token: other users of this machine see command lines, and shells keep them; write the "
          "token to a file for --token-file, or set SCALPEL_TOKEN");
    }
    return absl::InvalidArgumentError(
        absl::StrCat("unknown flag ", Printable(name), "; see scalpel-cli --help"));
  }

  absl::Status TakeOperation(const OperationFlag& operation, absl::string_view argument,
                             absl::string_view name) {
    Note(name, kInterventionCommands);
    const absl::StatusOr<absl::string_view> value = Value(argument, name);
    if (!value.ok()) return value.status();
    const absl::StatusOr<v1::Intervention> intervention = InterventionOf(operation, *value);
    if (intervention.ok()) *options_.request.add_interventions() = *intervention;
    return intervention.status();
  }

  // Remembers a flag that only some commands have, to be checked when the command is known.
  void Note(absl::string_view name, absl::Span<const char* const> commands) {
    if (!commands.empty()) met_.emplace_back(name, commands);
  }

  // Returns the text after `=`, or else the next argument.
  absl::StatusOr<absl::string_view> Value(absl::string_view argument, absl::string_view name) {
    if (name.size() < argument.size()) return argument.substr(name.size() + 1);
    if (at_ + 1 < arguments_.size()) return absl::string_view(arguments_[++at_]);
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": a value is missing; see scalpel-cli --help"));
  }

  absl::Status Check() const {
    const std::string& command = options_.command;
    if (command.empty()) {
      return absl::InvalidArgumentError("a command is missing; see scalpel-cli --help");
    }
    if (!absl::c_linear_search(kCommands, command)) {
      return absl::InvalidArgumentError(absl::StrCat("unknown command `", Printable(command),
                                                     "`; use ", absl::StrJoin(kCommands, ", ")));
    }
    for (const auto& [flag, commands] : met_) {
      if (absl::c_linear_search(commands, command)) continue;
      return absl::InvalidArgumentError(absl::StrCat(
          flag, " belongs to the command ", absl::StrJoin(commands, " or "), "; remove it"));
    }
    const size_t count = options_.arguments.size();
    if (command == "tokenize" && count != 1) {
      return absl::InvalidArgumentError("tokenize takes one TEXT; put it in quotes");
    }
    if (command == "detokenize" && count == 0) {
      return absl::InvalidArgumentError("detokenize takes token ids, such as 464,3139");
    }
    if ((absl::c_linear_search(kCommandsWithoutArguments, command) && count > 0) ||
        (command == "health" && count > 1)) {
      return absl::InvalidArgumentError(absl::StrCat("`", Printable(options_.arguments.back()),
                                                     "`: ", command,
                                                     " takes no such argument; remove it"));
    }
    return absl::OkStatus();
  }

  // Assigns the arguments of run, sweep and generate: the first may be a file, the others are
  // prompts.
  void PlaceRequestArguments() {
    std::vector<std::string>& arguments = options_.arguments;
    if (!arguments.empty() && (arguments[0] == "-" || absl::EndsWith(arguments[0], ".json"))) {
      options_.file = arguments[0];
      arguments.erase(arguments.begin());
    }
    for (const std::string& text : arguments) options_.request.add_prompts()->set_text(text);
    arguments.clear();
  }

  const std::vector<std::string>& arguments_;
  size_t at_ = 0;
  // The flags found that only some commands have, and those commands.
  std::vector<std::pair<std::string, absl::Span<const char* const>>> met_;
  Options options_;
};

}  // namespace

absl::StatusOr<Options> ParseOptions(const std::vector<std::string>& arguments,
                                     const std::string& server) {
  return Parser(arguments, server).Parse();
}

}  // namespace scalpel::client

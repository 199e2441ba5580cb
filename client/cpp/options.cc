#include "client/cpp/options.h"

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "client/cpp/flags.h"
#include "client/cpp/spec_request.h"
#include "client/cpp/text.h"

namespace scalpel::client {
namespace {

const char* const kCommands[] = {"run", "model", "tokenize", "detokenize", "health"};

// Goes through the arguments from left to right.
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
    if (options_.command == "run") PlaceRunArguments();
    return options_;
  }

 private:
  // Takes the flag at `at_`, and the argument behind it where that is its value.
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
        if (group.run_only) run_flag_ = flag.name;
        if (flag.value == nullptr && name.size() < argument.size()) {
          return absl::InvalidArgumentError(
              absl::StrCat(name, " takes no value; write only ", name));
        }
        if (flag.value == nullptr) return flag.set("", options_);
        const absl::StatusOr<absl::string_view> value = Value(argument, name);
        return value.ok() ? flag.set(*value, options_) : value.status();
      }
    }
    return absl::InvalidArgumentError(
        absl::StrCat("unknown flag ", Printable(name), "; see scalpel-cli --help"));
  }

  absl::Status TakeOperation(const OperationFlag& operation, absl::string_view argument,
                             absl::string_view name) {
    run_flag_ = std::string(name);
    const absl::StatusOr<absl::string_view> value = Value(argument, name);
    if (!value.ok()) return value.status();
    const absl::StatusOr<v1::Intervention> intervention = InterventionOf(operation, *value);
    if (intervention.ok()) *options_.request.add_interventions() = *intervention;
    return intervention.status();
  }

  // What stands behind `=`, or the next argument.
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
      return absl::InvalidArgumentError(
          absl::StrCat("unknown command `", Printable(command),
                       "`; use run, model, tokenize, detokenize or health"));
    }
    if (command != "run" && !run_flag_.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(run_flag_, " belongs to the command run; remove it"));
    }
    const size_t count = options_.arguments.size();
    if (command == "tokenize" && count != 1) {
      return absl::InvalidArgumentError("tokenize takes one TEXT; put it in quotes");
    }
    if (command == "detokenize" && count == 0) {
      return absl::InvalidArgumentError("detokenize takes token ids, such as 464,3139");
    }
    if ((command == "model" && count > 0) || (command == "health" && count > 1)) {
      return absl::InvalidArgumentError(absl::StrCat("`", Printable(options_.arguments.back()),
                                                     "`: ", command,
                                                     " takes no such argument; remove it"));
    }
    return absl::OkStatus();
  }

  // A file first, then prompts.
  void PlaceRunArguments() {
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
  std::string run_flag_;  // the last flag met that only run has
  Options options_;
};

}  // namespace

absl::StatusOr<Options> ParseOptions(const std::vector<std::string>& arguments,
                                     const std::string& server) {
  return Parser(arguments, server).Parse();
}

}  // namespace scalpel::client

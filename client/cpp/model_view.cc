#include "client/cpp/model_view.h"

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cpp/spec_request.h"
#include "client/cpp/table.h"
#include "client/cpp/text.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"

namespace scalpel::client {
namespace {

// Formats a scalar field; sizes in bytes with a unit.
std::string ValueText(const google::protobuf::Message& message,
                      const google::protobuf::FieldDescriptor* field) {
  using Field = google::protobuf::FieldDescriptor;
  const google::protobuf::Reflection* reflection = message.GetReflection();
  const auto whole = [field](int64_t value) {
    return absl::StrContains(field->name(), "bytes") ? Bytes(static_cast<uint64_t>(value))
                                                     : Thousands(value);
  };
  switch (field->cpp_type()) {
    case Field::CPPTYPE_INT32:
      return whole(reflection->GetInt32(message, field));
    case Field::CPPTYPE_INT64:
      return whole(reflection->GetInt64(message, field));
    case Field::CPPTYPE_DOUBLE:
      return Number(reflection->GetDouble(message, field));
    case Field::CPPTYPE_BOOL:
      return reflection->GetBool(message, field) ? "yes" : "no";
    case Field::CPPTYPE_STRING:
      return Printable(reflection->GetString(message, field));
    default:
      return "";
  }
}

// Returns a row for each field of a flat message, under its name in the proto.
std::vector<std::vector<std::string>> FieldRows(const google::protobuf::Message& message) {
  std::vector<std::vector<std::string>> rows;
  const google::protobuf::Descriptor* type = message.GetDescriptor();
  for (int i = 0; i < type->field_count(); ++i) {
    rows.push_back({std::string(type->field(i)->name()), ValueText(message, type->field(i))});
  }
  return rows;
}

// Returns a text such as `[position, head, unit 64]`.
std::string AxesText(const v1::SiteInfo& site) {
  std::vector<std::string> axes;
  for (const int axis : site.facts().axes()) {
    std::string name = NameOf(static_cast<v1::Axis>(axis));
    if (axis == v1::AXIS_UNIT && site.unit_size() > 0) {
      absl::StrAppend(&name, " ", site.unit_size());
    }
    axes.push_back(std::move(name));
  }
  return absl::StrCat("[", absl::StrJoin(axes, ", "), "]");
}

std::vector<std::vector<std::string>> SiteRows(const v1::GetModelResponse& model) {
  std::vector<std::vector<std::string>> rows;
  for (const v1::SiteInfo& site : model.sites()) {
    const std::string marks =
        absl::StrCat(site.facts().per_layer() ? "L" : "-", site.facts().editable() ? "E" : "-");
    std::string names = absl::StrJoin(site.facts().aliases(), " ");
    if (!site.facts().observe_only_aliases().empty()) {
      absl::StrAppend(
          &names, " (to observe: ", absl::StrJoin(site.facts().observe_only_aliases(), " "), ")");
    }
    rows.push_back({Printable(site.name()), marks, AxesText(site), Printable(names)});
  }
  return rows;
}

std::string Tokenizer(const v1::GetModelResponse& model) {
  if (model.has_tokenizer()) return "yes";
  if (model.tokenizer_problem().empty()) return "no: prompts are token ids";
  return Printable(absl::StrCat("no, prompts are token ids: ", model.tokenizer_problem()));
}

std::vector<std::vector<std::string>> HeadRows(const v1::GetModelResponse& model) {
  std::vector<std::string> statistics;
  for (const int statistic : model.statistics()) {
    statistics.push_back(NameOf(static_cast<v1::Statistic>(statistic)));
  }
  return {
      {"server", Printable(model.server_version())},
      {"device", Printable(absl::StrCat(model.device(), ", ", NameOf(model.dtype()), ", ",
                                        model.kernels(), ", ", Count(model.threads(), "thread")))},
      {"tokenizer", Tokenizer(model)},
      {"weights", Printable(absl::StrCat("sha256 ", model.weights_sha256()))},
      {"tuples", Printable(absl::StrCat("as ", model.tuple_convention()))},
      {"operations", Printable(absl::StrJoin(model.operations(), " "))},
      {"statistics", absl::StrJoin(statistics, " ")},
  };
}

}  // namespace

void PrintModel(const Screen& screen, const v1::GetModelResponse& model) {
  screen.out << screen.Bold(Printable(model.model())) << "\n";
  PrintTable(screen, {{""}, {""}}, HeadRows(model));
  screen.out << "\n" << screen.Bold("config") << "\n";
  PrintTable(screen, {{""}, {""}}, FieldRows(model.config()));
  screen.out << "\n"
             << screen.Bold("sites")
             << ", in order of computation (L: in every layer, E: editable)\n";
  PrintTable(screen, {{"site"}, {""}, {"axes"}, {"other names"}}, SiteRows(model));
  screen.out << "\n" << screen.Bold("limits") << "\n";
  PrintTable(screen, {{""}, {"", true}}, FieldRows(model.limits()));
}

}  // namespace scalpel::client

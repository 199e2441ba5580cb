#include "client/cpp/spec_request.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "client/cpp/spec_grammar.h"
#include "client/cpp/spec_reader.h"
#include "google/protobuf/descriptor.h"

namespace scalpel::client {
namespace {

// Returns the enum value's name in lower case, without `prefix`.
std::string ShortName(const google::protobuf::EnumDescriptor* type, int number,
                      absl::string_view prefix) {
  const google::protobuf::EnumValueDescriptor* value = type->FindValueByNumber(number);
  if (value == nullptr) return absl::StrCat("unknown(", number, ")");
  return absl::AsciiStrToLower(value->name().substr(prefix.size()));
}

// Reads the place's name as a site if it is one in any case, such as `K` for `k`, and otherwise as
// a path.
void ReadPlace(SpecReader& reader, v1::Place* place) {
  const std::string& name = reader.spec().place.text;
  v1::Site site = v1::SITE_UNSPECIFIED;
  if (v1::Site_Parse(absl::StrCat("SITE_", absl::AsciiStrToUpper(name)), &site) &&
      site != v1::SITE_UNSPECIFIED) {
    place->set_site(site);
  } else {
    place->set_path(name);
  }
  v1::Selection where;
  bool any = reader.Int32s("layer", where.mutable_layers());
  any |= reader.Int32s("head", where.mutable_heads());
  any |= reader.Int32s("prompt", where.mutable_prompts());
  v1::Units units;
  if (reader.Indices("unit", &units)) *where.mutable_units() = units, any = true;
  v1::Positions positions;
  int ways = reader.Indices("position", &positions);
  ways += reader.Indices("query", &positions);
  v1::TokenIds tokens;
  if (reader.Int32s("token", tokens.mutable_ids())) *positions.mutable_tokens() = tokens, ++ways;
  if (ways > 1) {
    reader.Fail(SpecError(reader.spec(), 0,
                          "position, query and token choose the same thing; keep one of them"));
  }
  if (ways > 0) *where.mutable_positions() = positions, any = true;
  v1::Positions keys;
  if (reader.Indices("key", &keys)) *where.mutable_key_positions() = keys, any = true;
  v1::Range steps;
  if (reader.Steps("steps", &steps)) *where.mutable_steps() = steps, any = true;
  if (any) *place->mutable_where() = where;
}

v1::Moment ReadMoment(SpecReader& reader) {
  const bool before = reader.Word("before");
  const bool after = reader.Word("after");
  if (before && after) {
    reader.Fail(SpecError(reader.spec(), 0, "both before and after; write two specs"));
  }
  return before ? v1::MOMENT_BEFORE : after ? v1::MOMENT_AFTER : v1::MOMENT_UNSPECIFIED;
}

// Reads one number as a constant, and several as a tensor. `Message` is v1::Add or v1::Set.
template <typename Message>
void ReadValue(SpecReader& reader, Message* message) {
  google::protobuf::RepeatedField<double> values;
  if (!reader.Numbers("value", &values)) return;
  if (values.size() == 1) {
    message->set_constant(values[0]);
  } else {
    message->mutable_tensor()->mutable_values()->Add(values.begin(), values.end());
  }
}

void ReadZero(SpecReader&, v1::Intervention& intervention) { intervention.mutable_zero(); }

void ReadScale(SpecReader& reader, v1::Intervention& intervention) {
  v1::Scale* scale = intervention.mutable_scale();
  if (const auto factor = reader.Number("factor")) scale->set_factor(*factor);
}

void ReadAdd(SpecReader& reader, v1::Intervention& intervention) {
  v1::Add* add = intervention.mutable_add();
  ReadValue(reader, add);
  if (const auto coefficient = reader.Number("coefficient")) add->set_coefficient(*coefficient);
}

void ReadSet(SpecReader& reader, v1::Intervention& intervention) {
  ReadValue(reader, intervention.mutable_set());
}

void ReadNoise(SpecReader& reader, v1::Intervention& intervention) {
  v1::Noise* noise = intervention.mutable_noise();
  if (const auto mean = reader.Number("mean")) noise->set_mean(*mean);
  if (const auto std = reader.Number("std")) noise->set_std(*std);
  if (const auto seed = reader.Seed("seed")) noise->set_seed(*seed);
  if (reader.Word("add")) noise->set_mode(v1::NOISE_MODE_ADD);
  if (reader.Word("replace")) noise->set_mode(v1::NOISE_MODE_REPLACE);
}

void ReadClamp(SpecReader& reader, v1::Intervention& intervention) {
  v1::Clamp* clamp = intervention.mutable_clamp();
  if (const auto min = reader.Number("min")) clamp->set_min(*min);
  if (const auto max = reader.Number("max")) clamp->set_max(*max);
}

void ReadMean(SpecReader& reader, v1::Intervention& intervention) {
  v1::Positions over;
  v1::Mean* mean = intervention.mutable_mean();
  if (reader.Indices("over", &over)) *mean->mutable_over() = over;
}

void ReadPatch(SpecReader& reader, v1::Intervention& intervention) {
  v1::Patch* patch = intervention.mutable_patch();
  if (const auto prompt = reader.Integer("from")) patch->set_prompt(static_cast<int32_t>(*prompt));
  if (const auto prompt = reader.Integer("from_clean")) {
    if (patch->source_case() != v1::Patch::SOURCE_NOT_SET) {
      reader.Fail(SpecError(reader.spec(), 0, "both from and from_clean; keep one of them"));
    }
    patch->set_clean_prompt(static_cast<int32_t>(*prompt));
  }
  if (const auto layer = reader.Integer("from_layer")) {
    patch->set_layer(static_cast<int32_t>(*layer));
  }
  reader.Int32s("from_head", patch->mutable_heads());
  v1::Positions positions;
  if (reader.Indices("from_position", &positions)) *patch->mutable_positions() = positions;
  v1::Positions keys;
  if (reader.Indices("from_key", &keys)) *patch->mutable_key_positions() = keys;
}

void ReadProjectOut(SpecReader& reader, v1::Intervention& intervention) {
  v1::ProjectOut* project = intervention.mutable_project_out();
  google::protobuf::RepeatedField<double> values;
  if (reader.Numbers("direction", &values)) {
    project->mutable_direction()->mutable_values()->Add(values.begin(), values.end());
  }
  if (const auto factor = reader.Number("factor")) project->set_factor(*factor);
}

void ReadKnockout(SpecReader& reader, v1::Intervention& intervention) {
  reader.Pairs("pair", intervention.mutable_knockout()->mutable_pairs());
}

// Reads the words for statistics and kept axes.
void ReadWords(SpecReader& reader, v1::Probe* probe) {
  v1::Statistic statistic = v1::STATISTIC_UNSPECIFIED;
  for (const Field& field : reader.spec().fields) {
    if (field.is_word() &&
        v1::Statistic_Parse("STATISTIC_" + absl::AsciiStrToUpper(field.key.text), &statistic)) {
      probe->add_statistics(statistic);  // in the order written
    }
  }
  for (int number = v1::Statistic_MIN + 1; number <= v1::Statistic_MAX; ++number) {
    reader.Word(NameOf(static_cast<v1::Statistic>(number)));
  }
  for (int number = v1::Axis_MIN + 1; number <= v1::Axis_MAX; ++number) {
    const auto axis = static_cast<v1::Axis>(number);
    if (reader.Word(absl::StrCat("per_", NameOf(axis)))) probe->add_keep(axis);
  }
}

}  // namespace

const std::vector<OperationFlag>& OperationFlags() {
  static const auto* const kFlags = new std::vector<OperationFlag>{
      {"zero", "", "x becomes 0", ReadZero},
      {"scale", "factor=F", "x becomes F * x", ReadScale},
      {"add", "value=A[,B...] coefficient=C",
       "x becomes x + C * value; several numbers are a vector", ReadAdd},
      {"set", "value=A[,B...]", "x becomes value; several numbers are a vector", ReadSet},
      {"noise", "mean=M std=S seed=N add|replace", "x becomes Gaussian noise, or x + noise",
       ReadNoise},
      {"clamp", "min=A max=B", "x becomes min(max(x, A), B)", ReadClamp},
      {"mean", "over=POSITIONS", "x becomes its mean over positions", ReadMean},
      {"patch", "from=PROMPT | from_clean=PROMPT", "x becomes the value of another run", ReadPatch},
      {"project-out", "direction=A,B,... factor=F",
       "removes (or scales) the component along a direction", ReadProjectOut},
      {"knockout", "query=Q key=K | pair=Q:K,...", "masks (query, key) pairs before the softmax",
       ReadKnockout},
  };
  return *kFlags;
}

absl::StatusOr<v1::Intervention> InterventionOf(const OperationFlag& operation,
                                                absl::string_view text) {
  const absl::StatusOr<Spec> spec = ParseSpec(absl::StrCat("--", operation.name), text);
  if (!spec.ok()) return spec.status();
  SpecReader reader(*spec);
  v1::Intervention intervention;
  ReadPlace(reader, intervention.mutable_place());
  if (const auto name = reader.Text("name")) intervention.set_name(*name);
  operation.read(reader, intervention);
  if (const absl::Status status = reader.Finish(); !status.ok()) return status;
  return intervention;
}

absl::StatusOr<v1::Probe> ProbeOf(absl::string_view text) {
  const absl::StatusOr<Spec> spec = ParseSpec("--probe", text);
  if (!spec.ok()) return spec.status();
  SpecReader reader(*spec);
  v1::Probe probe;
  ReadPlace(reader, probe.mutable_place());
  if (const auto name = reader.Text("name")) probe.set_name(*name);
  probe.set_moment(ReadMoment(reader));
  ReadWords(reader, &probe);
  reader.Numbers("quantile", probe.mutable_quantiles());
  if (const auto bins = reader.Integer("bins")) {
    probe.mutable_histogram()->set_bins(static_cast<int32_t>(*bins));
  }
  if (const auto min = reader.Number("min")) probe.mutable_histogram()->set_min(*min);
  if (const auto max = reader.Number("max")) probe.mutable_histogram()->set_max(*max);
  if (const absl::Status status = reader.Finish(); !status.ok()) return status;
  return probe;
}

absl::StatusOr<v1::Capture> CaptureOf(absl::string_view text) {
  const absl::StatusOr<Spec> spec = ParseSpec("--capture", text);
  if (!spec.ok()) return spec.status();
  SpecReader reader(*spec);
  v1::Capture capture;
  ReadPlace(reader, capture.mutable_place());
  if (const auto name = reader.Text("name")) capture.set_name(*name);
  capture.set_moment(ReadMoment(reader));
  for (int number = v1::DataType_MIN + 1; number <= v1::DataType_MAX; ++number) {
    const auto dtype = static_cast<v1::DataType>(number);
    if (reader.Word(NameOf(dtype))) capture.set_dtype(dtype);
  }
  if (const absl::Status status = reader.Finish(); !status.ok()) return status;
  return capture;
}

absl::StatusOr<v1::Positions> PositionsOf(absl::string_view flag, absl::string_view text) {
  const absl::StatusOr<Spec> spec = ParseList(flag, text);
  if (!spec.ok()) return spec.status();
  SpecReader reader(*spec);
  v1::Positions positions;
  reader.Indices("", &positions);
  if (const absl::Status status = reader.Finish(); !status.ok()) return status;
  return positions;
}

absl::StatusOr<std::vector<int32_t>> Int32sOf(absl::string_view flag, absl::string_view text) {
  const absl::StatusOr<Spec> spec = ParseList(flag, text);
  if (!spec.ok()) return spec.status();
  SpecReader reader(*spec);
  google::protobuf::RepeatedField<int32_t> integers;
  reader.Int32s("", &integers);
  if (const absl::Status status = reader.Finish(); !status.ok()) return status;
  return std::vector<int32_t>(integers.begin(), integers.end());
}

std::string NameOf(v1::Site site) { return ShortName(v1::Site_descriptor(), site, "SITE_"); }

std::string NameOf(v1::Statistic statistic) {
  return ShortName(v1::Statistic_descriptor(), statistic, "STATISTIC_");
}

std::string NameOf(v1::DataType dtype) {
  return ShortName(v1::DataType_descriptor(), dtype, "DATA_TYPE_");
}

std::string NameOf(v1::FinishReason reason) {
  return ShortName(v1::FinishReason_descriptor(), reason, "FINISH_REASON_");
}

std::string NameOf(v1::Axis axis) { return ShortName(v1::Axis_descriptor(), axis, "AXIS_"); }

}  // namespace scalpel::client

#include "server/model/config.h"

#include <array>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/base/json.h"

namespace scalpel::model {
namespace {

using Json = nlohmann::json;

// Upper bounds of the sizes. Their products are far from overflowing int64_t.
constexpr int64_t kLayersMax = 1024;
constexpr int64_t kHeadsMax = 1024;
constexpr int64_t kWidthMax = int64_t{1} << 16;
constexpr int64_t kMlpWidthMax = int64_t{1} << 18;
constexpr int64_t kPositionsMax = int64_t{1} << 20;
constexpr int64_t kEosTokenId = 50256;  // transformers' default
constexpr int64_t kVocabMax = int64_t{1} << 22;
constexpr int64_t kParametersMax = int64_t{1} << 35;  // 128 GiB of float32

struct NamedActivation {
  const char* name;
  Activation activation;
};

// transformers' ACT2FN without prelu and xielu, which have trained parameters. ActivationName
// returns the first name of a function.
constexpr std::array<NamedActivation, 20> kActivations{{
    {"gelu_new", Activation::kGeluNew},
    {"gelu_fast", Activation::kGeluNew},
    {"gelu_accurate", Activation::kGeluNew},
    {"gelu_pytorch_tanh", Activation::kGeluNew},
    {"gelu_python_tanh", Activation::kGeluNew},
    {"gelu", Activation::kGelu},
    {"gelu_python", Activation::kGelu},
    {"gelu_10", Activation::kGelu10},
    {"quick_gelu", Activation::kQuickGelu},
    {"relu", Activation::kRelu},
    {"relu2", Activation::kRelu2},
    {"relu6", Activation::kRelu6},
    {"leaky_relu", Activation::kLeakyRelu},
    {"silu", Activation::kSilu},
    {"swish", Activation::kSilu},
    {"mish", Activation::kMish},
    {"tanh", Activation::kTanh},
    {"sigmoid", Activation::kSigmoid},
    {"laplace", Activation::kLaplace},
    {"linear", Activation::kLinear},
}};

absl::Status Refuse(absl::string_view field, absl::string_view problem) {
  return absl::InvalidArgumentError(absl::StrCat("config.json: ", field, ": ", problem));
}

// Returns a short form of a value, for an error message.
std::string Shown(const Json& value) {
  if (value.is_string()) return QuotedName(value.get_ref<const std::string&>());
  if (value.is_structured()) return value.is_array() ? "an array" : "an object";
  return value.dump();
}

// Reads fields one by one. The first error is kept in status(); fields after it may still be read,
// but the result is not used.
class FieldReader {
 public:
  explicit FieldReader(const Json& object) : object_(object) {}

  const absl::Status& status() const { return status_; }

  const Json* Find(const char* name) const {
    const auto entry = object_.find(name);
    return entry == object_.end() ? nullptr : &*entry;
  }

  // Reads an integer in [1, max] that is stored under `name` or `alias` (which may be null). Leaves
  // *value alone if it is under neither.
  void Size(const char* name, const char* alias, int64_t max, int64_t* value) {
    const Json* field = Find(name);
    const Json* other = alias == nullptr ? nullptr : Find(alias);
    if (field != nullptr && other != nullptr && *field != *other) {
      return Fail(name, absl::StrCat("is ", Shown(*field), " but its alias ", alias, " is ",
                                     Shown(*other), "; keep one of them"));
    }
    if (field == nullptr && other != nullptr) {
      field = other;
      name = alias;
    }
    if (field == nullptr) return;
    if (!field->is_number_unsigned() || field->get<uint64_t>() < 1 ||
        field->get<uint64_t>() > static_cast<uint64_t>(max)) {
      return Fail(name, absl::StrCat(Shown(*field), " is not an integer in [1, ", max, "]"));
    }
    *value = field->get<int64_t>();
  }

  // Reads a flag. null means false, as Python's None does in transformers 4.57; transformers 5
  // refuses it.
  void Bool(const char* name, bool* value) {
    const Json* field = Find(name);
    if (field == nullptr) return;
    if (!field->is_boolean() && !field->is_null()) {
      return Fail(name, absl::StrCat(Shown(*field), " is not true or false"));
    }
    *value = *field == true;
  }

  // Returns whether the field exists and is not null.
  bool Says(const char* name) const {
    const Json* field = Find(name);
    return field != nullptr && !field->is_null();
  }

  void Epsilon(const char* name, double* value) {
    const Json* field = Find(name);
    if (field == nullptr) return;
    // The negation also refuses NaN.
    if (!field->is_number() || !(field->get<double>() > 0 && field->get<double>() <= 1)) {
      return Fail(name, absl::StrCat(Shown(*field), " is not a number in (0, 1]"));
    }
    *value = field->get<double>();
  }

  // Reads a token id or a list of them; `unsaid` where the field is missing. What is no id of a
  // vocabulary of this size is left out.
  std::vector<int32_t> TokenIds(const char* name, int64_t unsaid, int64_t vocab_size) const {
    std::vector<int32_t> ids;
    const auto take = [&](const Json& id) {
      if (id.is_number_unsigned() && id.get<uint64_t>() < static_cast<uint64_t>(vocab_size))
        ids.push_back(id.get<int32_t>());
    };
    const Json* field = Find(name);
    if (field == nullptr) {
      take(Json(static_cast<uint64_t>(unsaid)));
    } else if (field->is_array()) {
      for (const Json& id : *field) take(id);
    } else {
      take(*field);
    }
    return ids;
  }

  void ReadActivation(const char* name, Activation* value) {
    const Json* field = Find(name);
    if (field == nullptr) return;
    for (const NamedActivation& known : kActivations) {
      if (field->is_string() && field->get_ref<const std::string&>() == known.name) {
        *value = known.activation;
        return;
      }
    }
    std::string names;
    for (const NamedActivation& known : kActivations) absl::StrAppend(&names, " ", known.name);
    Fail(name, absl::StrCat(Shown(*field), " is not supported; supported are:", names));
  }

  // Refuses a feature that this server does not have unless it is off: null, false or empty.
  void MustBeOff(const char* name, absl::string_view why) {
    const Json* field = Find(name);
    if (field == nullptr || field->is_null()) return;
    if (field->is_boolean() && !field->get<bool>()) return;
    if (field->is_structured() && field->empty()) return;
    Fail(name, absl::StrCat("is not supported: ", why));
  }

 private:
  void Fail(absl::string_view name, absl::string_view problem) {
    if (status_.ok()) status_ = Refuse(name, problem);
  }

  const Json& object_;
  absl::Status status_;
};

// Checks that the model is a GPT-2 with a language-model head or without any head.
absl::Status CheckKind(const FieldReader& reader) {
  const Json* type = reader.Find("model_type");
  if (type != nullptr && *type != "gpt2") {
    return Refuse("model_type", absl::StrCat(Shown(*type), " is not supported; only \"gpt2\" is"));
  }
  const Json* architectures = reader.Find("architectures");
  if (architectures == nullptr || architectures->is_null()) {
    if (type != nullptr) return absl::OkStatus();
    return Refuse("model_type", "is missing, and so is architectures; expected \"gpt2\"");
  }
  if (!architectures->is_array()) return Refuse("architectures", "is not a list of names");
  for (const Json& name : *architectures) {
    if (name != "GPT2LMHeadModel" && name != "GPT2Model") {
      return Refuse("architectures", absl::StrCat(Shown(name),
                                                  " is not supported; supported are "
                                                  "GPT2LMHeadModel and GPT2Model"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

std::string_view ActivationName(Activation activation) {
  for (const NamedActivation& known : kActivations) {
    if (known.activation == activation) return known.name;
  }
  return "unknown";
}

int64_t Gpt2Config::ParameterCount() const {
  const int64_t layer_norm = 2 * d_model;
  const int64_t attention = d_model * 3 * d_model + 3 * d_model + d_model * d_model + d_model;
  const int64_t mlp = 2 * d_model * d_mlp + d_mlp + d_model;
  const int64_t embeddings = (vocab_size * (tie_word_embeddings ? 1 : 2) + n_ctx) * d_model;
  return embeddings + n_layer * (2 * layer_norm + attention + mlp) + layer_norm;
}

absl::StatusOr<Gpt2Config> ParseConfig(std::string_view json) {
  if (json.size() > static_cast<size_t>(kConfigBytesMax)) {
    return absl::InvalidArgumentError(
        absl::StrCat("config.json: larger than ", kConfigBytesMax, " bytes"));
  }
  absl::StatusOr<Json> parsed = ParseJson(json);
  if (!parsed.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("config.json: ", parsed.status().message()));
  }
  if (!parsed->is_object()) return absl::InvalidArgumentError("config.json: not a JSON object");

  FieldReader reader(*parsed);
  if (absl::Status kind = CheckKind(reader); !kind.ok()) return kind;
  Gpt2Config config;
  reader.Size("n_layer", "num_hidden_layers", kLayersMax, &config.n_layer);
  reader.Size("n_head", "num_attention_heads", kHeadsMax, &config.n_head);
  reader.Size("n_embd", "hidden_size", kWidthMax, &config.d_model);
  reader.Size("n_positions", "max_position_embeddings", kPositionsMax, &config.n_ctx);
  reader.Size("vocab_size", nullptr, kVocabMax, &config.vocab_size);
  config.d_mlp = 4 * config.d_model;
  if (const Json* inner = reader.Find("n_inner"); inner != nullptr && !inner->is_null()) {
    reader.Size("n_inner", nullptr, kMlpWidthMax, &config.d_mlp);
  }
  reader.Epsilon("layer_norm_epsilon", &config.layer_norm_epsilon);
  reader.ReadActivation("activation_function", &config.activation);
  reader.Bool("scale_attn_weights", &config.scale_attn_weights);
  reader.Bool("scale_attn_by_inverse_layer_idx", &config.scale_attn_by_inverse_layer_idx);
  reader.Bool("reorder_and_upcast_attn", &config.reorder_and_upcast_attn);
  config.eos_token_ids = reader.TokenIds("eos_token_id", kEosTokenId, config.vocab_size);
  config.says_tie_word_embeddings = reader.Says("tie_word_embeddings");
  if (config.says_tie_word_embeddings) {
    reader.Bool("tie_word_embeddings", &config.tie_word_embeddings);
  }
  reader.MustBeOff("add_cross_attention", "a decoder with cross attention needs an encoder");
  reader.MustBeOff("quantization_config", "only F32, F16 and BF16 weights can be loaded");
  reader.MustBeOff("pruned_heads", "heads that are pruned in the file change the weights' shapes");
  if (!reader.status().ok()) return reader.status();

  if (config.d_model % config.n_head != 0) {
    return Refuse("n_embd",
                  absl::StrCat(config.d_model, " is not divisible by n_head ", config.n_head));
  }
  config.d_head = config.d_model / config.n_head;
  if (config.ParameterCount() > kParametersMax) {
    return absl::InvalidArgumentError(absl::StrCat("config.json: the sizes imply ",
                                                   config.ParameterCount(),
                                                   " parameters; the limit is ", kParametersMax));
  }
  return config;
}

}  // namespace scalpel::model

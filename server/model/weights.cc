#include "server/model/weights.h"

#include <ATen/CPUGeneratorImpl.h>
#include <openssl/evp.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <exception>
#include <future>
#include <map>
#include <memory>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "server/base/json.h"
#include "server/model/model_file.h"
#include "server/model/safetensors.h"

namespace scalpel::model {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors are little-endian");

constexpr char kSingleFile[] = "model.safetensors";
constexpr char kIndexFile[] = "model.safetensors.index.json";
constexpr char kHeadName[] = "lm_head.weight";
constexpr int64_t kIndexBytesMax = int64_t{64} << 20;
constexpr size_t kShardsMax = 1000;

// A weight of the model: its shape, and the tensor that it is read into.
struct Slot {
  std::vector<int64_t> shape;
  at::Tensor* target;
};

// By canonical name, which is HuggingFace's without the prefix "transformer.".
using Slots = std::map<std::string, Slot, std::less<>>;

// A stored tensor that fills a slot.
struct Source {
  std::string name;  // as stored
  const SafetensorsFile* file;
  const TensorInfo* info;
};

void AddLayerNorm(const std::string& name, int64_t width, LayerNormWeights* norm, Slots* slots) {
  slots->emplace(name + ".weight", Slot{{width}, &norm->gain});
  slots->emplace(name + ".bias", Slot{{width}, &norm->bias});
}

void AddLinear(const std::string& name, int64_t in, int64_t out, LinearWeights* linear,
               Slots* slots) {
  slots->emplace(name + ".weight", Slot{{in, out}, &linear->weight});
  slots->emplace(name + ".bias", Slot{{out}, &linear->bias});
}

// Returns the slots of all weights. A tied head has none.
Slots ModelSlots(const Gpt2Config& config, Weights* weights) {
  const int64_t d = config.d_model;
  Slots slots;
  slots.emplace("wte.weight", Slot{{config.vocab_size, d}, &weights->wte});
  slots.emplace("wpe.weight", Slot{{config.n_ctx, d}, &weights->wpe});
  weights->blocks.resize(static_cast<size_t>(config.n_layer));
  for (int64_t layer = 0; layer < config.n_layer; ++layer) {
    BlockWeights& block = weights->blocks[static_cast<size_t>(layer)];
    const std::string prefix = absl::StrCat("h.", layer, ".");
    AddLayerNorm(prefix + "ln_1", d, &block.ln1, &slots);
    AddLinear(prefix + "attn.c_attn", d, 3 * d, &block.qkv, &slots);
    AddLinear(prefix + "attn.c_proj", d, d, &block.attn_out, &slots);
    AddLayerNorm(prefix + "ln_2", d, &block.ln2, &slots);
    AddLinear(prefix + "mlp.c_fc", d, config.d_mlp, &block.mlp_in, &slots);
    AddLinear(prefix + "mlp.c_proj", config.d_mlp, d, &block.mlp_out, &slots);
  }
  AddLayerNorm("ln_f", d, &weights->ln_f, &slots);
  if (!config.tie_word_embeddings) {
    slots.emplace(kHeadName, Slot{{config.vocab_size, d}, &weights->lm_head});
  }
  return slots;
}

std::string ShapeText(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

absl::Status Refuse(const SafetensorsFile& file, const std::string& tensor,
                    absl::string_view problem) {
  return absl::InvalidArgumentError(
      absl::StrCat(file.name(), ": tensor ", QuotedName(tensor), ": ", problem));
}

// Returns whether this is the causal mask or its fill value, which old versions of transformers
// stored.
bool IsMaskBuffer(absl::string_view canonical) {
  if (!absl::ConsumePrefix(&canonical, "h.")) return false;
  const size_t digits = canonical.find_first_not_of("0123456789");
  if (digits == 0 || digits == absl::string_view::npos) return false;
  canonical.remove_prefix(digits);
  return canonical == ".attn.bias" || canonical == ".attn.masked_bias";
}

// Reads model.safetensors.index.json: the name of the file that has each tensor, by tensor.
absl::StatusOr<std::map<std::string, std::string>> ReadIndex(const std::filesystem::path& dir) {
  absl::StatusOr<std::string> text = ReadModelFile(dir, kIndexFile, kIndexBytesMax);
  if (!text.ok()) return text.status();
  const auto refuse = [](absl::string_view problem) {
    return absl::InvalidArgumentError(absl::StrCat(kIndexFile, ": ", problem));
  };
  absl::StatusOr<nlohmann::json> json = ParseJson(*text);
  if (!json.ok()) return refuse(json.status().message());
  const auto weight_map = json->is_object() ? json->find("weight_map") : json->end();
  if (weight_map == json->end() || !weight_map->is_object() || weight_map->empty()) {
    return refuse("weight_map is not an object of tensor names and file names");
  }
  std::map<std::string, std::string> file_of_tensor;
  for (const auto& [tensor, file] : weight_map->items()) {
    if (!file.is_string()) {
      return refuse(absl::StrCat("weight_map[", QuotedName(tensor), "] is not a file name"));
    }
    const std::string& name = file.get_ref<const std::string&>();
    if (absl::Status plain = CheckPlainFileName(name); !plain.ok()) {
      return refuse(absl::StrCat("weight_map[", QuotedName(tensor), "]: ", plain.message()));
    }
    file_of_tensor.emplace(tensor, name);
  }
  return file_of_tensor;
}

absl::StatusOr<std::vector<SafetensorsFile>> OpenShards(const std::filesystem::path& dir) {
  absl::StatusOr<std::map<std::string, std::string>> file_of_tensor = ReadIndex(dir);
  if (!file_of_tensor.ok()) return file_of_tensor.status();
  std::map<std::string, size_t> index_of_file;  // sorted by name, the order of the hash
  for (const auto& entry : *file_of_tensor) index_of_file.emplace(entry.second, 0);
  if (index_of_file.size() > kShardsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat(kIndexFile, ": more than ", kShardsMax, " files"));
  }
  std::vector<SafetensorsFile> files;
  for (auto& [name, index] : index_of_file) {
    absl::StatusOr<SafetensorsFile> file = SafetensorsFile::Open(dir, name);
    if (!file.ok()) return file.status();
    index = files.size();
    files.push_back(*std::move(file));
  }
  for (const auto& [tensor, name] : *file_of_tensor) {
    if (!files[index_of_file[name]].header().tensors.contains(tensor)) {
      return absl::InvalidArgumentError(absl::StrCat(kIndexFile, ": tensor ", QuotedName(tensor),
                                                     " is not in ", name, " as it says"));
    }
  }
  return files;
}

// Opens the files in order of their names. As in transformers, a single file comes before shards.
absl::StatusOr<std::vector<SafetensorsFile>> OpenFiles(const std::filesystem::path& dir) {
  absl::StatusOr<SafetensorsFile> single = SafetensorsFile::Open(dir, kSingleFile);
  if (single.ok()) {
    std::vector<SafetensorsFile> files;
    files.push_back(*std::move(single));
    return files;
  }
  if (!absl::IsNotFound(single.status())) return single.status();
  absl::StatusOr<std::vector<SafetensorsFile>> shards = OpenShards(dir);
  if (absl::IsNotFound(shards.status()) &&
      absl::StartsWith(shards.status().message(), kIndexFile)) {
    return absl::NotFoundError(
        absl::StrCat("neither ", kSingleFile, " nor ", kIndexFile,
                     " is in the model folder; convert other formats with transformers' "
                     "save_pretrained"));
  }
  return shards;
}

// Removes what wrappers of the model add to a name: "_orig_mod", which torch.compile inserts before
// a compiled module, and a leading "model", from a class that has the model as a member.
std::string Unwrapped(const std::string& name) {
  std::vector<absl::string_view> parts = absl::StrSplit(name, '.');
  parts.erase(std::remove(parts.begin(), parts.end(), "_orig_mod"), parts.end());
  if (parts.size() > 1 && parts.front() == "model") parts.erase(parts.begin());
  return absl::StrJoin(parts, ".");
}

// Returns the canonical name of a stored one, or an empty string if the model has no such weight.
// The prefix "transformer." is optional, as in transformers.
std::string CanonicalName(const std::string& stored, const Slots& slots) {
  const std::string name = Unwrapped(stored);
  if (name == kHeadName) return name;
  const std::string canonical(absl::StripPrefix(name, "transformer."));
  return canonical != kHeadName && slots.contains(canonical) ? canonical : "";
}

// Adds a stored tensor to `sources`, or returns an error. A head is added even if it is tied.
absl::Status AddSource(const SafetensorsFile& file, const std::string& name, const TensorInfo& info,
                       const Slots& slots, const Gpt2Config& config,
                       std::map<std::string, Source>* sources) {
  const std::string unwrapped = Unwrapped(name);
  if (IsMaskBuffer(absl::StripPrefix(unwrapped, "transformer."))) return absl::OkStatus();
  const std::string canonical = CanonicalName(name, slots);
  if (canonical.empty()) {
    return Refuse(file, name,
                  absl::StrCat("GPT-2 with ", config.n_layer, " layers has no such weight"));
  }
  const auto [entry, inserted] = sources->emplace(canonical, Source{name, &file, &info});
  if (inserted) return absl::OkStatus();
  return Refuse(file, name,
                absl::StrCat("stored twice: also as ", QuotedName(entry->second.name), " in ",
                             entry->second.file->name()));
}

absl::Status CheckSource(const Source& source, const Slot& slot) {
  if (source.info->shape != slot.shape) {
    return Refuse(*source.file, source.name,
                  absl::StrCat("shape ", ShapeText(source.info->shape), ", config.json implies ",
                               ShapeText(slot.shape)));
  }
  const Dtype dtype = source.info->dtype;
  if (dtype == Dtype::kF32 || dtype == Dtype::kF16 || dtype == Dtype::kBF16) {
    return absl::OkStatus();
  }
  return Refuse(*source.file, source.name,
                absl::StrCat("dtype ", std::string(DtypeName(dtype)),
                             " is not supported; convert it to F32, F16 or BF16"));
}

// Adds the tensors that are not stored because they share memory with one that is. safetensors'
// save_model stores only one of them and lists the pairs of names in the metadata.
void AddShared(const std::vector<SafetensorsFile>& files, const Slots& slots,
               std::map<std::string, Source>* sources) {
  const std::map<std::string, Source> stored = *sources;
  for (const SafetensorsFile& file : files) {
    for (const auto& [left, right] : file.header().metadata) {
      const std::string names[2] = {CanonicalName(left, slots), CanonicalName(right, slots)};
      if (names[0].empty() || names[1].empty()) continue;
      for (int i = 0; i < 2; ++i) {
        const auto kept = stored.find(names[i]);
        if (kept != stored.end()) sources->emplace(names[1 - i], kept->second);
      }
    }
  }
}

absl::Status Missing(const std::vector<SafetensorsFile>& files, const std::string& name,
                     const Slot& slot) {
  std::string message =
      absl::StrCat(files.size() == 1 ? files[0].name() : std::string(kIndexFile), ": tensor \"",
                   name, "\" of shape ", ShapeText(slot.shape), " is missing");
  if (name == kHeadName) {
    absl::StrAppend(&message, ", and config.json says tie_word_embeddings false");
  }
  return absl::InvalidArgumentError(message);
}

// Finds the stored tensor for each slot, and the head if one is stored.
absl::StatusOr<std::map<std::string, Source>> MatchSources(
    const std::vector<SafetensorsFile>& files, const Slots& slots, const Gpt2Config& config) {
  std::map<std::string, Source> sources;
  for (const SafetensorsFile& file : files) {
    for (const auto& [name, info] : file.header().tensors) {
      absl::Status added = AddSource(file, name, info, slots, config, &sources);
      if (!added.ok()) return added;
    }
  }
  AddShared(files, slots, &sources);
  // A tied head that is stored also serves as the embedding if that is not stored, as in
  // transformers 5. 4.57 does not support this.
  const auto head = sources.find(kHeadName);
  if (config.tie_word_embeddings && head != sources.end()) {
    sources.emplace("wte.weight", head->second);
  }
  for (const auto& [name, slot] : slots) {
    const auto source = sources.find(name);
    if (source == sources.end()) return Missing(files, name, slot);
    if (absl::Status fits = CheckSource(source->second, slot); !fits.ok()) return fits;
  }
  return sources;
}

at::ScalarType TorchType(Dtype dtype) {
  if (dtype == Dtype::kF16) return at::kHalf;
  return dtype == Dtype::kBF16 ? at::kBFloat16 : at::kFloat;
}

// Infinities and NaNs are the floats whose exponent bits are all set.
bool AllFinite(const at::Tensor& tensor) {
  constexpr uint32_t kExponent = 0x7f800000;
  const float* data = tensor.const_data_ptr<float>();
  bool any_bad = false;
  for (int64_t i = 0; i < tensor.numel(); ++i) {
    any_bad |= (std::bit_cast<uint32_t>(data[i]) & kExponent) == kExponent;
  }
  return !any_bad;
}

absl::StatusOr<at::Tensor> ReadTensor(const Source& source) {
  const std::string_view bytes = source.file->TensorBytes(*source.info);
  // Copied before the conversion because the bytes in the file need not be aligned.
  at::Tensor stored = at::empty(source.info->shape, TorchType(source.info->dtype));
  std::memcpy(stored.mutable_data_ptr(), bytes.data(), bytes.size());
  at::Tensor values = stored.to(at::kFloat);
  if (!AllFinite(values)) return Refuse(*source.file, source.name, "holds NaN or infinity");
  return values;
}

// Checks that a tied head that is stored equals wte. If config.json itself says that the head is
// tied, the stored one is ignored: transformers ties after loading, which replaces it.
absl::Status CheckTiedHead(const std::map<std::string, Source>& sources, const Gpt2Config& config,
                           const at::Tensor& wte) {
  const auto head = sources.find(kHeadName);
  if (config.says_tie_word_embeddings || head == sources.end()) return absl::OkStatus();
  absl::Status fits = CheckSource(head->second, {{config.vocab_size, config.d_model}, nullptr});
  if (!fits.ok()) return fits;
  absl::StatusOr<at::Tensor> tensor = ReadTensor(head->second);
  if (!tensor.ok()) return tensor.status();
  if (at::equal(*tensor, wte)) return absl::OkStatus();
  return Refuse(
      *head->second.file, head->second.name,
      absl::StrCat("differs from ", QuotedName(sources.at("wte.weight").name),
                   ", and config.json does not say tie_word_embeddings: transformers 5 "
                   "takes it for the head, 4 ignores it; say false to take it, or true to "
                   "ignore it"));
}

// Returns the SHA-256 of the files' concatenated bytes in lower-case hexadecimal, or an empty
// string if OpenSSL fails.
std::string Sha256(const std::vector<SafetensorsFile>& files) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                        &EVP_MD_CTX_free);
  if (context == nullptr || EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) != 1) return "";
  for (const SafetensorsFile& file : files) {
    if (EVP_DigestUpdate(context.get(), file.bytes().data(), file.bytes().size()) != 1) return "";
  }
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (EVP_DigestFinal_ex(context.get(), digest, &size) != 1) return "";
  return absl::BytesToHexString({reinterpret_cast<const char*>(digest), size});
}

// LoadWeights, except that it throws if memory (libtorch) or threads (std::async) run out.
absl::StatusOr<Weights> LoadOrThrow(const std::filesystem::path& dir, const Gpt2Config& config) {
  absl::StatusOr<std::vector<SafetensorsFile>> files = OpenFiles(dir);
  if (!files.ok()) return files.status();
  Weights weights;
  const Slots slots = ModelSlots(config, &weights);
  absl::StatusOr<std::map<std::string, Source>> sources = MatchSources(*files, slots, config);
  if (!sources.ok()) return sources.status();

  // Hashing takes about as long as reading, so it gets a thread of its own. The future's destructor
  // waits for it, so `files` outlives the thread on every path.
  std::future<std::string> hash =
      std::async(std::launch::async, [&files] { return Sha256(*files); });
  for (const auto& [name, slot] : slots) {
    absl::StatusOr<at::Tensor> tensor = ReadTensor(sources->at(name));
    if (!tensor.ok()) return tensor.status();
    *slot.target = *std::move(tensor);
  }
  if (config.tie_word_embeddings) {
    absl::Status tied = CheckTiedHead(*sources, config, weights.wte);
    if (!tied.ok()) return tied;
    weights.lm_head = weights.wte;
  }
  weights.sha256 = hash.get();
  if (weights.sha256.empty()) return absl::InternalError("OpenSSL failed to compute the SHA-256");
  return weights;
}

}  // namespace

absl::StatusOr<Weights> LoadWeights(const std::filesystem::path& dir, const Gpt2Config& config) {
  try {
    return LoadOrThrow(dir, config);
  } catch (const std::exception&) {
    return absl::ResourceExhaustedError(
        absl::StrCat("weights: not enough memory for ", config.ParameterCount(),
                     " float32 parameters (", config.ParameterCount() / 262'144, " MiB)"));
  }
}

Weights RandomWeights(const Gpt2Config& config, uint64_t seed) {
  Weights weights;
  at::Generator generator = at::detail::createCPUGenerator(seed);
  for (const auto& [name, slot] : ModelSlots(config, &weights)) {
    const bool is_gain = slot.shape.size() == 1 && absl::EndsWith(name, ".weight");
    *slot.target = at::empty(slot.shape, at::kFloat)
                       .normal_(is_gain ? 1.0 : 0.0, is_gain ? 0.1 : 0.02, generator);
  }
  if (config.tie_word_embeddings) weights.lm_head = weights.wte;
  return weights;
}

}  // namespace scalpel::model

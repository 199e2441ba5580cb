#include "server/rpc/describe.h"

#include <google/protobuf/descriptor.h>

#include <cstdint>
#include <string>

#include "server/base/version.h"
#include "server/model/tokenizer.h"
#include "server/spec/sites.h"

namespace scalpel::rpc {
namespace {

// The form of block output tuples, named after the releases of HuggingFace transformers that use
// it.
constexpr char kTupleConvention[] = "transformers-4.52..5.2";

void DescribeConfig(const model::Gpt2Config& config, v1::ModelConfig* out) {
  out->set_model_type(config.model_type);
  out->set_n_layer(static_cast<int32_t>(config.n_layer));
  out->set_n_head(static_cast<int32_t>(config.n_head));
  out->set_d_model(static_cast<int32_t>(config.d_model));
  out->set_d_head(static_cast<int32_t>(config.d_head));
  out->set_d_mlp(static_cast<int32_t>(config.d_mlp));
  out->set_n_ctx(static_cast<int32_t>(config.n_ctx));
  out->set_vocab_size(static_cast<int32_t>(config.vocab_size));
  out->set_layer_norm_epsilon(config.layer_norm_epsilon);
  out->set_activation_function(std::string(model::ActivationName(config.activation)));
  out->set_scale_attn_weights(config.scale_attn_weights);
  out->set_scale_attn_by_inverse_layer_idx(config.scale_attn_by_inverse_layer_idx);
  out->set_reorder_and_upcast_attn(config.reorder_and_upcast_attn);
  out->set_tied_head(config.tie_word_embeddings);
}

void DescribeSites(const model::Gpt2Config& config, v1::GetModelResponse* out) {
  for (const spec::SiteEntry& entry : spec::AllSites()) {
    v1::SiteInfo* site = out->add_sites();
    site->set_site(entry.site);
    site->set_name(entry.name);
    *site->mutable_facts() = entry.facts;
    site->set_unit_size(spec::UnitSize(entry.facts.unit_axis(), config));
  }
}

void DescribeOperations(v1::GetModelResponse* out) {
  const auto* oneof = v1::Intervention::descriptor()->FindOneofByName("operation");
  for (int i = 0; i < oneof->field_count(); ++i) out->add_operations(oneof->field(i)->name());
}

void DescribeStatistics(v1::GetModelResponse* out) {
  const auto* statistics = v1::Statistic_descriptor();
  for (int i = 0; i < statistics->value_count(); ++i) {
    const auto statistic = static_cast<v1::Statistic>(statistics->value(i)->number());
    if (statistic != v1::STATISTIC_UNSPECIFIED) out->add_statistics(statistic);
  }
}

// Without counts where callers must not learn of each other: what others ran would move them.
v1::BaselineCache DescribeCacheToCallers(const Backend& backend, const Limits& limits) {
  v1::BaselineCache out = DescribeCache(backend, limits);
  if (backend.cache_scope != v1::CACHE_SCOPE_CALLER) return out;
  v1::BaselineCache uncounted;
  uncounted.set_max_bytes(out.max_bytes());
  uncounted.set_scope(out.scope());
  return uncounted;
}

}  // namespace

v1::BaselineCache DescribeCache(const Backend& backend, const Limits& limits) {
  v1::BaselineCache out;
  out.set_max_bytes(limits->baseline_cache_bytes());
  out.set_scope(backend.cache_scope);
  if (!backend.cache_counts) return out;
  const engine::BaselineCache::Counts counts = backend.cache_counts();
  out.set_bytes(counts.bytes);
  out.set_entries(counts.entries);
  out.set_hits(counts.hits);
  out.set_prefix_hits(counts.prefix_hits);
  out.set_misses(counts.misses);
  return out;
}

v1::GetModelResponse DescribeModel(const Backend& backend, const Limits& limits) {
  v1::GetModelResponse out;
  out.set_model(backend.facts.name);
  DescribeConfig(backend.facts.config, out.mutable_config());
  DescribeSites(backend.facts.config, &out);
  DescribeOperations(&out);
  DescribeStatistics(&out);
  *out.mutable_limits() = *limits;
  *out.mutable_baseline_cache() = DescribeCacheToCallers(backend, limits);
  out.set_device(backend.device);
  out.set_dtype(v1::DATA_TYPE_FLOAT32);
  out.set_weights_sha256(backend.facts.weights_sha256);
  out.set_tuple_convention(kTupleConvention);
  out.set_server_version(kVersion);
  out.set_kernels(backend.kernels);
  out.set_threads(backend.threads);
  out.set_has_tokenizer(backend.facts.tokenizer.has_value());
  if (!backend.facts.tokenizer) out.set_tokenizer_problem(backend.facts.tokenizer_problem);
  return out;
}

}  // namespace scalpel::rpc

#include "client/cpp/request_file.h"

#include <fstream>

#include "absl/strings/str_cat.h"
#include "client/cpp/text.h"
#include "google/protobuf/util/json_util.h"

namespace scalpel::client {
namespace {

constexpr size_t kFileBytesMax = size_t{64} << 20;

absl::StatusOr<std::string> ReadAll(std::istream& in, const std::string& name) {
  std::string text;
  char buffer[1 << 16];
  while (in.read(buffer, sizeof(buffer)), in.gcount() > 0) {
    text.append(buffer, in.gcount());
    if (text.size() > kFileBytesMax) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": more than ", Bytes(kFileBytesMax), "; make it smaller"));
    }
  }
  if (in.bad()) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": cannot be read; check the file"));
  }
  return text;
}

absl::StatusOr<std::string> ReadFile(const std::string& path, std::istream& in) {
  if (path == "-") return ReadAll(in, "standard input");
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return absl::InvalidArgumentError(
        absl::StrCat(Printable(path), ": cannot be opened; check the path"));
  }
  return ReadAll(file, Printable(path));
}

// Reads the file that the options name, if any, into `request`.
absl::Status ReadRequest(const Options& options, std::istream& in,
                         google::protobuf::Message* request) {
  if (options.file.empty()) return absl::OkStatus();
  const absl::StatusOr<std::string> text = ReadFile(options.file, in);
  if (!text.ok()) return text.status();
  const auto parsed = google::protobuf::util::JsonStringToMessage(*text, request);
  if (parsed.ok()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(Printable(options.file), ": not a ", request->GetDescriptor()->name(),
                   " in protobuf JSON: ", Printable(std::string(parsed.message()))));
}

// Clears what flags replace, because MergeFrom would append to it.
void ClearReplaced(const v1::RunRequest& flags, v1::RunRequest& request) {
  if (flags.logits().has_positions()) request.mutable_logits()->clear_positions();
  if (flags.logits().form_case() != v1::LogitsRequest::FORM_NOT_SET) {
    request.mutable_logits()->clear_form();
  }
  if (flags.has_block_outputs()) request.mutable_block_outputs()->clear_layers();
}

// Makes patches without a source read the first one.
void FillPatchSources(v1::SweepRequest& request) {
  if (request.sources().empty()) return;
  for (v1::Intervention& intervention : *request.mutable_grid()->mutable_interventions()) {
    if (intervention.has_patch() && intervention.patch().source_case() == v1::Patch::SOURCE_NOT_SET)
      intervention.mutable_patch()->set_clean_prompt(request.prompts_size());
  }
}

}  // namespace

absl::StatusOr<v1::RunRequest> RequestOf(const Options& options, std::istream& in) {
  v1::RunRequest request;
  if (const absl::Status status = ReadRequest(options, in, &request); !status.ok()) return status;
  ClearReplaced(options.request, request);
  request.MergeFrom(options.request);
  if (!options.model.empty()) request.set_model(options.model);
  return request;
}

absl::StatusOr<v1::SweepRequest> SweepRequestOf(const Options& options, std::istream& in) {
  v1::SweepRequest request;
  if (const absl::Status status = ReadRequest(options, in, &request); !status.ok()) return status;
  const v1::RunRequest& shared = options.request;
  v1::SweepRequest flags = options.sweep;
  *flags.mutable_prompts() = shared.prompts();
  *flags.mutable_probes() = shared.probes();
  if (shared.has_seed()) flags.set_seed(shared.seed());
  if (shared.interventions_size() > 0)
    *flags.mutable_grid()->mutable_interventions() = shared.interventions();
  if (flags.has_grid() && request.has_variants()) {
    return absl::InvalidArgumentError(
        absl::StrCat(Printable(options.file),
                     ": has variants, to which flags cannot add; leave out --over and "
                     "interventions"));
  }
  if (shared.logits().has_top_k()) *flags.add_metrics()->mutable_top_k() = shared.logits().top_k();
  for (v1::Metric& metric : *flags.mutable_metrics()) {
    if (options.metric_position && !metric.has_loss())
      metric.set_position(*options.metric_position);
  }
  request.MergeFrom(flags);
  request.set_validate_only(request.validate_only() || shared.validate_only());
  request.set_allow_non_finite(request.allow_non_finite() || shared.allow_non_finite());
  if (!options.model.empty()) request.set_model(options.model);
  if (request.has_grid()) FillPatchSources(request);
  if (request.metrics().empty() && request.probes().empty() && !request.reports())
    request.add_metrics()->mutable_kl_from_clean();
  return request;
}

absl::StatusOr<v1::GenerateRequest> GenerateRequestOf(const Options& options, std::istream& in) {
  v1::GenerateRequest request;
  if (const absl::Status status = ReadRequest(options, in, &request); !status.ok()) return status;
  const v1::RunRequest& shared = options.request;
  v1::GenerateRequest flags = options.generate;
  *flags.mutable_prompts() = shared.prompts();
  *flags.mutable_interventions() = shared.interventions();
  *flags.mutable_probes() = shared.probes();
  if (shared.has_seed()) flags.set_seed(shared.seed());
  if (shared.logits().has_top_k()) flags.mutable_sampling()->set_top_k(shared.logits().top_k().k());
  request.MergeFrom(flags);
  request.set_validate_only(request.validate_only() || shared.validate_only());
  request.set_allow_non_finite(request.allow_non_finite() || shared.allow_non_finite());
  if (!options.model.empty()) request.set_model(options.model);
  return request;
}

}  // namespace scalpel::client

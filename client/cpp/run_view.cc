#include "client/cpp/run_view.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "client/cpp/axis_text.h"
#include "client/cpp/non_finite.h"
#include "client/cpp/reports_view.h"
#include "client/cpp/started_view.h"
#include "client/cpp/text.h"

namespace scalpel::client {
void RunView::Add(const v1::RunResponse& response) {
  // A valid stream begins with `started`; the views are made from it.
  if (!statistics_ && !response.has_started()) return;
  switch (response.event_case()) {
    case v1::RunResponse::kStarted:
      return Begin(response.started());
    case v1::RunResponse::kLayerStatistics:
      return statistics_->Add(response.layer_statistics());
    case v1::RunResponse::kBlockOutput: {
      const v1::BlockOutput& output = response.block_output();
      screen_.out << "  block " << output.layer() << (output.clean() ? " clean" : "")
                  << ": tuple of tensor" << (output.tensor_ids_size() == 1 ? " " : "s ")
                  << absl::StrJoin(output.tensor_ids(), ", ") << ", prompts "
                  << absl::StrJoin(output.prompts(), ", ") << "\n";
      return;
    }
    case v1::RunResponse::kLogits:
      return logits_->Add(response.logits());
    case v1::RunResponse::kInterventionReport:
      reports_.push_back(response.intervention_report());
      return;
    case v1::RunResponse::kFinished:
      return End(response.finished());
    case v1::RunResponse::kTensorChunk:
    case v1::RunResponse::EVENT_NOT_SET:
      return;
  }
}

void RunView::AddTensor(const v1::TensorHeader& header, const std::string& path) {
  std::string where;
  if (header.kind() == v1::TENSOR_KIND_CAPTURE && header.has_layer()) {
    absl::StrAppend(&where, " layer ", header.layer());
  }
  if (header.prompts_size() > 0) {
    absl::StrAppend(&where, " prompt ", absl::StrJoin(header.prompts(), ","));
  }
  if (header.clean()) where += " clean";
  absl::StrAppend(&where, "  ", ShapeText(header), ", ", Bytes(header.size_bytes()));
  const std::string id = absl::StrCat("  tensor ", header.tensor_id(), "  ");
  // If the line is too long, the name is cut, because the user knows it from the request.
  const int taken = static_cast<int>(id.size() + where.size());
  const std::string name = Fit(Printable(header.name()), std::max(8, screen_.columns - taken));
  screen_.out << Fit(absl::StrCat(id, name, where), screen_.columns) << "\n";
  const std::string part = PartText(header.axes());
  if (!part.empty()) screen_.out << Fit(absl::StrCat("    ", part), screen_.columns) << "\n";
  if (!path.empty()) screen_.out << "    saved to " << Printable(path) << "\n";
}

void RunView::Begin(const v1::Started& started) {
  statistics_.emplace(screen_, started.normalized());
  logits_.emplace(screen_, started);
  const v1::Cost& cost = started.cost();
  screen_.out << screen_.Bold(absl::StrCat("run ", Fit(Printable(started.request_id()), 64)))
              << "  " << Count(started.prompts_size(), "prompt") << ", "
              << Count(cost.tokens(), "token") << ", " << Flops(cost.flops()) << "\n";
  PrintPrompts(screen_, started.prompts());
  screen_.out << "\n";
  if (started.normalized().validate_only())
    PrintPlan(screen_, cost, started.digest(), started.normalized());
}

void RunView::End(const v1::Finished& finished) {
  statistics_->Finish();
  logits_->Print();
  PrintReports(screen_, reports_);
  if (finished.has_first_non_finite()) PrintNonFinite(screen_, "", finished.first_non_finite());
  screen_.out << "\n"
              << screen_.Dim(absl::StrCat(
                     "queue ", Milliseconds(absl::Microseconds(finished.queue_us())), ", compute ",
                     Milliseconds(absl::Microseconds(finished.compute_us())), ", total ",
                     Milliseconds(absl::Now() - begun_), ", ",
                     Count(finished.tokens_computed(), "token"),
                     finished.tensor_bytes() > 0
                         ? absl::StrCat(", tensors ", Bytes(finished.tensor_bytes()))
                         : ""))
              << "\n";
}

}  // namespace scalpel::client

#include "client/cpp/generate_view.h"

#include <algorithm>
#include <numeric>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "client/cpp/reports_view.h"
#include "client/cpp/spec_request.h"
#include "client/cpp/started_view.h"
#include "client/cpp/text.h"

namespace scalpel::client {
namespace {

// Returns what a token adds to the text; without a tokenizer, its id.
std::string PieceOf(const v1::GeneratedToken& token) {
  return token.token().empty() ? absl::StrCat(" ", token.id()) : Printable(token.text());
}

}  // namespace

absl::Status GenerateView::Add(const v1::GenerateResponse& response) {
  const auto known = [this](int32_t stream) {
    return stream >= 0 && stream < static_cast<int32_t>(streams_.size());
  };
  const absl::Status unknown =
      absl::DataLossError("an event of a stream that was not announced; run it again");
  switch (response.event_case()) {
    case v1::GenerateResponse::kStarted:
      Begin(response.started());
      break;
    case v1::GenerateResponse::kStep:
      if (!known(response.step().stream())) return unknown;
      steps_.Add(NameOf(streams_[response.step().stream()].about), response.step());
      break;
    case v1::GenerateResponse::kToken:
      if (!known(response.token().stream())) return unknown;
      streams_[response.token().stream()].tokens.push_back(response.token());
      PrintMore();
      break;
    case v1::GenerateResponse::kStreamFinished: {
      if (!known(response.stream_finished().stream())) return unknown;
      Stream& stream = streams_[response.stream_finished().stream()];
      stream.end = response.stream_finished();
      stream.over = true;
      PrintMore();
      break;
    }
    case v1::GenerateResponse::kInterventionReport:
      reports_.push_back(response.intervention_report());
      break;
    case v1::GenerateResponse::kFinished:
      End(response.finished());
      break;
    case v1::GenerateResponse::EVENT_NOT_SET:
      break;
  }
  return absl::OkStatus();
}

void GenerateView::EndLine() {
  if (column_ > 0) screen_.out << "\n";
  column_ = 0;
}

void GenerateView::Begin(const v1::GenerateStarted& started) {
  started_ = started;
  streams_.clear();
  for (const v1::GenerateStream& stream : started.streams()) streams_.emplace_back().about = stream;
  order_.resize(streams_.size());
  std::iota(order_.begin(), order_.end(), 0);
  const auto key = [this](int i) {
    const v1::GenerateStream& about = streams_[i].about;
    return std::make_tuple(about.prompt(), about.continuation(), about.unsteered());
  };
  std::stable_sort(order_.begin(), order_.end(), [&](int a, int b) { return key(a) < key(b); });
  for (size_t i = 1; i < order_.size(); ++i) {
    Stream& first = streams_[order_[i - 1]];
    Stream& second = streams_[order_[i]];
    if (!first.about.unsteered() && second.about.unsteered()) {
      first.twin = order_[i];
      second.twin = order_[i - 1];
    }
  }
  screen_.out << screen_.Bold(absl::StrCat("generation ", Fit(Printable(started.request_id()), 64)))
              << "  " << Count(started.prompts_size(), "prompt") << ", "
              << Count(started.streams_size(), "stream") << ", up to "
              << Count(started.normalized().stop().max_new_tokens(), "token") << ", "
              << Flops(started.cost().flops()) << "\n";
  PrintPrompts(screen_, started.prompts());
  if (started.normalized().validate_only()) {
    screen_.out << "\n";
    PrintPlan(screen_, started.cost(), started.digest(), started.normalized());
  }
}

void GenerateView::PrintMore() {
  for (; at_ < order_.size(); ++at_) {
    Stream& stream = streams_[order_[at_]];
    if (!titled_) PrintTitle(stream);
    titled_ = true;
    while (stream.printed < stream.tokens.size()) {
      if (AwaitsTwin(stream)) return;
      PrintToken(stream, stream.printed++);
    }
    if (!stream.over) return;
    PrintEnd(stream);
    titled_ = false;
  }
}

bool GenerateView::AwaitsTwin(const Stream& stream) const {
  if (!screen_.colour || stream.twin < 0 || stream.about.unsteered()) return false;
  const Stream& twin = streams_[stream.twin];
  return !twin.over && twin.tokens.size() <= stream.printed;
}

void GenerateView::PrintTitle(const Stream& stream) {
  screen_.out << "\n" << screen_.Bold(NameOf(stream.about)) << "\n";
}

void GenerateView::PrintToken(const Stream& stream, size_t index) {
  const std::string piece = PieceOf(stream.tokens[index]);
  const int width = Columns(piece);
  if (column_ + width > screen_.columns) EndLine();
  column_ += width;
  screen_.out << (Differs(stream, index) ? screen_.Marked(piece) : piece);
}

void GenerateView::PrintEnd(const Stream& stream) {
  EndLine();
  std::string line = absl::StrCat("  ", Count(stream.tokens.size(), "token"), ", ended by ",
                                  scalpel::client::NameOf(stream.end.reason()));
  if (!stream.end.stop_string().empty())
    absl::StrAppend(&line, " ", Quoted(stream.end.stop_string()));
  if (stream.about.unsteered() && stream.twin >= 0) {
    const Stream& steered = streams_[stream.twin];
    size_t first = 0;
    while (first < steered.tokens.size() && !Differs(steered, first)) ++first;
    const bool same = first == steered.tokens.size() && first == stream.tokens.size();
    line += same ? "; the same text" : absl::StrCat("; first difference at step ", first);
  }
  screen_.out << screen_.Dim(Fit(line, screen_.columns)) << "\n";
}

bool GenerateView::Differs(const Stream& stream, size_t index) const {
  if (stream.twin < 0 || stream.about.unsteered()) return false;
  const Stream& twin = streams_[stream.twin];
  return index >= twin.tokens.size() || twin.tokens[index].id() != stream.tokens[index].id();
}

std::string GenerateView::NameOf(const v1::GenerateStream& stream) const {
  std::vector<std::string> parts;
  if (started_.prompts_size() > 1) parts.push_back(absl::StrCat("prompt ", stream.prompt()));
  if (started_.normalized().continuations() > 1)
    parts.push_back(absl::StrCat("continuation ", stream.continuation()));
  if (started_.normalized().unsteered())
    parts.push_back(stream.unsteered() ? "unsteered" : "steered");
  return parts.empty() ? "text" : absl::StrJoin(parts, ", ");
}

void GenerateView::End(const v1::GenerateFinished& finished) {
  steps_.Print(screen_);
  PrintReports(screen_, reports_);
  const absl::Duration compute = absl::Microseconds(finished.compute_us());
  const int64_t tokens = std::max<int64_t>(1, finished.new_tokens());
  screen_.out << "\n"
              << screen_.Dim(absl::StrCat(
                     "queue ", Milliseconds(absl::Microseconds(finished.queue_us())), ", compute ",
                     Milliseconds(compute), ", ", Milliseconds(compute / tokens),
                     " a token, total ", Milliseconds(absl::Now() - begun_)))
              << "\n";
}

}  // namespace scalpel::client

#include "server/engine/observer.h"

#include <algorithm>
#include <utility>

#include "server/engine/row_part.h"
#include "server/spec/stats.h"

namespace scalpel::engine {
namespace {

using model::kNoLayer;
using model::Site;

void SetLayer(int32_t layer, auto* message) {
  if (layer != kNoLayer) message->set_layer(layer);
}

}  // namespace

void Observer::Observe(const std::vector<spec::Observation>& observations, Site site, int32_t layer,
                       Future future, model::RowOf row_of, absl::FunctionRef<bool()> goes_on) {
  Host last;  // nothing changes the values between these observations
  for (const spec::Observation& observation : observations) {
    if (!goes_on()) return;
    switch (observation.kind) {
      case spec::Observation::Kind::kProbe:
        Measure(observation, site, layer, row_of);
        break;
      case spec::Observation::Kind::kTensor:
        Send(observation, site, layer, future, row_of, last);
        break;
    }
  }
}

void Observer::Measure(const spec::Observation& observation, Site at_site, int32_t layer,
                       model::RowOf row_of) {
  const spec::SiteEntry& site = spec::EntryOf(at_site);
  const auto read = [&](int32_t row) {
    return ReadPart(*observation.region, site, row_of(at_site, row));
  };
  at::Tensor clean;
  if (observation.clean_row) clean = read(*observation.clean_row);
  measured_.push_back({&observation, at_site, layer,
                       spec::Measure(plan_.probes[observation.index], site, *observation.region,
                                     read(observation.rows.front()), clean)});
}

// An element of a tuple that is an entry of the hidden states too leaves twice, and is one tensor
// in memory: the plan has the two beside each other.
void Observer::Send(const spec::Observation& observation, Site site, int32_t layer, Future future,
                    model::RowOf row_of, Host& last) {
  const spec::TensorOutput& output = plan_.tensors[observation.index];
  if (last.region != observation.region.get() || last.rows != absl::MakeSpan(observation.rows) ||
      last.dtype != output.dtype || last.batched != output.batched) {
    last = {observation.region.get(), absl::MakeSpan(observation.rows), output.dtype,
            output.batched, ToHostAt(observation, site, future, row_of)};
  }
  TensorEvent event = sender_.Prepare(HeaderOf(observation, site, layer), last.tensor);
  if (output.tuple_element)
    AddToTuple({&observation, *output.tuple_element, std::move(event)});
  else
    sender_.Defer(std::move(event));
}

at::Tensor Observer::ToHostAt(const spec::Observation& observation, Site at_site, Future future,
                              model::RowOf row_of) const {
  const spec::TensorOutput& output = plan_.tensors[observation.index];
  const spec::SiteEntry& site = spec::EntryOf(at_site);
  std::vector<at::Tensor> parts;
  bool gathered = true;  // from lists of indices, which makes a tensor of its own
  for (const int32_t row : observation.rows) {
    const model::RowValue value = row_of(at_site, row);
    parts.push_back(ReadPart(*observation.region, site, value));
    gathered = gathered && !parts.back().is_alias_of(value.value);
  }
  if (gathered) future = Future::kFinal;
  return output.batched ? BatchToHost(parts, output.dtype, future)
                        : ToHost(parts.front(), output.dtype, future);
}

v1::TensorHeader Observer::HeaderOf(const spec::Observation& observation, Site site,
                                    int32_t layer) const {
  const spec::TensorOutput& output = plan_.tensors[observation.index];
  v1::TensorHeader header = output.header;
  for (const int32_t row : observation.rows) header.add_prompts(plan_.rows[row].prompt);
  header.set_clean(plan_.rows[observation.rows.front()].clean);
  if (output.batched) return header;  // it is of one layer, and whole
  SetLayer(layer, &header);
  spec::DescribeAxes(
      spec::EntryOf(site), *observation.region, [](v1::Axis) { return true; },
      header.mutable_axes());
  return header;
}

void Observer::AddToTuple(Element element) {
  auto tuple = std::find_if(tuples_.begin(), tuples_.end(), [&](const Tuple& other) {
    return other.front().observation->rows == element.observation->rows;
  });
  if (tuple == tuples_.end()) tuple = tuples_.insert(tuples_.end(), Tuple());
  tuple->push_back(std::move(element));
}

void Observer::Flush(int32_t layer) {
  FlushStatistics(layer);
  FlushTuples(layer);
  sender_.Flush();
}

void Observer::FlushStatistics(int32_t layer) {
  if (measured_.empty()) return;
  std::vector<at::Tensor> numbers;
  for (const Measured& measured : measured_) numbers.push_back(measured.numbers);
  const at::Tensor host = at::cat(numbers).cpu();  // one wait for the device in each layer
  absl::Span<const double> rest(host.const_data_ptr<double>(), host.numel());
  Event event;
  v1::LayerStatistics* statistics = event.message.mutable_layer_statistics();
  SetLayer(layer, statistics);
  for (const Measured& measured : measured_) {
    const spec::Observation& observation = *measured.observation;
    const spec::SiteEntry& site = spec::EntryOf(measured.site);
    const spec::PlanRow& row = plan_.rows[observation.rows.front()];
    v1::ProbeResult* result = statistics->add_results();
    result->set_index(observation.index);
    result->set_site(site.site);
    SetLayer(measured.layer, result);
    result->set_prompt(row.prompt);
    result->set_clean(row.clean);
    spec::FillResult(plan_.probes[observation.index], site, *observation.region,
                     rest.first(measured.numbers.numel()), result);
    rest.remove_prefix(measured.numbers.numel());
  }
  measured_.clear();
  sink_.Push(std::move(event));
}

void Observer::FlushTuples(int32_t layer) {
  for (Tuple& tuple : tuples_) {
    // The attention weights are computed first, and stand second.
    std::sort(tuple.begin(), tuple.end(),
              [](const Element& a, const Element& b) { return a.index < b.index; });
    Event event;
    v1::BlockOutput* output = event.message.mutable_block_output();
    output->set_layer(layer);
    const auto& rows = tuple.front().observation->rows;
    for (const int32_t row : rows) output->add_prompts(plan_.rows[row].prompt);
    output->set_clean(plan_.rows[rows.front()].clean);
    for (const Element& element : tuple) output->add_tensor_ids(element.tensor.header.tensor_id());
    sink_.Push(std::move(event));
    for (Element& element : tuple) sender_.Send(std::move(element.tensor));
  }
  tuples_.clear();
}

}  // namespace scalpel::engine

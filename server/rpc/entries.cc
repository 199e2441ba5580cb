#include "server/rpc/entries.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <cstdint>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "server/base/violations.h"

namespace scalpel::rpc {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

class Counter {
 public:
  explicit Counter(CodedInputStream* input) : input_(input) {}

  // Counts the fields up to the end of the input or of the current message, including the fields of
  // nested messages. Stops early if the rest cannot be read.
  void Count(const Descriptor& type, bool outermost) {
    while (const uint32_t tag = input_->ReadTag()) {
      ++fields_;
      const int number = WireFormatLite::GetTagFieldNumber(tag);
      const FieldDescriptor* field = type.FindFieldByNumber(number);
      if (outermost) outermost_ = field;
      if (outermost && field != nullptr) ++entries_[number];
      if (field == nullptr && type.IsReservedNumber(number) && reserved_.empty()) {
        reserved_ = absl::StrCat("has field ", number, " of ", type.full_name(),
                                 ", which is reserved and does nothing; leave it out");
        reserved_in_ = outermost_ == nullptr ? type.name() : outermost_->name();
      }
      if (!Skip(WireFormatLite::GetTagWireType(tag), field)) return;
    }
  }

  int64_t fields() const { return fields_; }
  // The number of entries of each field of the outermost message, by field number.
  const std::map<int, int64_t>& entries() const { return entries_; }
  // What is wrong with the first field that only has its number reserved, and the outermost field
  // that it is in; empty: there is none. Other fields that are not known are ignored, as everywhere
  // with protobuf; but who sends such a one means something that this server would not do.
  const std::string& reserved() const { return reserved_; }
  const std::string& reserved_in() const { return reserved_in_; }

 private:
  // Skips the value of a field. Returns false if the rest cannot be read.
  bool Skip(WireFormatLite::WireType wire, const FieldDescriptor* field) {
    uint64_t number;
    switch (wire) {
      case WireFormatLite::WIRETYPE_VARINT:
        return input_->ReadVarint64(&number);
      case WireFormatLite::WIRETYPE_FIXED64:
        return input_->Skip(8);
      case WireFormatLite::WIRETYPE_FIXED32:
        return input_->Skip(4);
      // Groups are unknown fields. What is inside is counted as if it were not in a group.
      case WireFormatLite::WIRETYPE_START_GROUP:
      case WireFormatLite::WIRETYPE_END_GROUP:
        return true;
      case WireFormatLite::WIRETYPE_LENGTH_DELIMITED:
        return SkipBlock(field);
    }
    return false;
  }

  bool SkipBlock(const FieldDescriptor* field) {
    int size;
    if (!input_->ReadVarintSizeAsInt(&size)) return false;
    if (field == nullptr || field->type() != FieldDescriptor::TYPE_MESSAGE) {
      return input_->Skip(size);
    }
    if (!input_->IncrementRecursionDepth()) return false;  // the parser fails here, too
    const CodedInputStream::Limit limit = input_->PushLimit(size);
    Count(*field->message_type(), /*outermost=*/false);
    const bool skipped = input_->Skip(input_->BytesUntilLimit());
    input_->PopLimit(limit);
    input_->DecrementRecursionDepth();
    return skipped;
  }

  CodedInputStream* const input_;
  int64_t fields_ = 0;
  std::map<int, int64_t> entries_;
  const FieldDescriptor* outermost_ = nullptr;
  std::string reserved_, reserved_in_;
};

// Returns how many entries a field of RunRequest or SweepRequest may have. Other repeated fields
// are bounded only by the limit on fields in total.
int64_t EntriesMax(const std::string& field, const Limits& limits) {
  if (field == "prompts" || field == "sources") return limits->max_prompts();
  if (field == "interventions") return limits->max_interventions();
  if (field == "probes") return limits->max_probes();
  if (field == "captures") return limits->max_captures();
  if (field == "metrics") return limits->max_metrics();
  return limits->max_request_fields();
}

}  // namespace

absl::Status CheckEntries(google::protobuf::io::ZeroCopyInputStream* stream, const Descriptor& type,
                          const Limits& limits) {
  CodedInputStream input(stream);
  Counter counter(&input);
  counter.Count(type, /*outermost=*/true);
  Violations violations(limits->max_violations());
  for (const auto& [number, count] : counter.entries()) {
    const std::string field(type.FindFieldByNumber(number)->name());
    const int64_t most = EntriesMax(field, limits);
    if (count <= most) continue;
    violations.Add(field, absl::StrCat("has ", count, " entries, at most ", most,
                                       " are allowed; split the request"));
  }
  if (violations.empty() && counter.fields() > limits->max_request_fields()) {
    violations.Add(type.name(),
                   absl::StrCat("has ", counter.fields(), " fields in all, at most ",
                                limits->max_request_fields(), " are allowed; split the request"));
  }
  if (!counter.reserved().empty()) violations.Add(counter.reserved_in(), counter.reserved());
  return violations.ToStatus();
}

}  // namespace scalpel::rpc

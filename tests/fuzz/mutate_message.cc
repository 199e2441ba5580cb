#include "tests/fuzz/mutate_message.h"

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "server/base/utf8.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace scalpel::fuzz {
namespace {

using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr size_t kTextBytesMax = 64;
constexpr int kEntriesMax = 64;

int Below(int limit, std::mt19937& random) { return static_cast<int>(random() % limit); }

template <typename T>
T Any(const std::vector<T>& values, std::mt19937& random) {
  return values[random() % values.size()];
}

// Mostly small, since those are indices that exist.
int64_t RandomInteger(std::mt19937& random) {
  if (Below(4, random) > 0) return Below(16, random) - 4;
  return Any<int64_t>({0, 64, 255, 2047, 2048, 1 << 20, std::numeric_limits<int32_t>::max(),
                       std::numeric_limits<int32_t>::min(), std::numeric_limits<int64_t>::max(),
                       std::numeric_limits<int64_t>::min(), static_cast<int64_t>(random())},
                      random);
}

double RandomNumber(std::mt19937& random) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (Below(2, random) == 0) return Below(32, random) / 8.0 - 1;
  return Any<double>({0, -0.0, 1, 0.5, 1e-30, 1e-45, 1e-320, 1e30, 3.5e38, -1e308, kInfinity,
                      -kInfinity, std::numeric_limits<double>::quiet_NaN()},
                     random);
}

int RandomEnum(const EnumDescriptor& type, std::mt19937& random) {
  if (Below(30, random) == 0) return static_cast<int>(RandomInteger(random));
  return type.value(Below(type.value_count(), random))->number();
}

std::string RandomText(std::string text, bool utf8, std::mt19937& random) {
  if (utf8 && Below(3, random) == 0) {
    return Any<std::string>({"", "resid_post", "blocks.1.attn.hook_z", "transformer.h.2.mlp", "z",
                             " the", "logits", "ln_f", "h\u00e9llo", "blocks.0.hook_q_input"},
                            random);
  }
  text.resize(std::min(text.size(), kTextBytesMax));
  std::vector<uint8_t> bytes(text.begin(), text.end());
  const size_t size = bytes.size();
  bytes.resize(kTextBytesMax);
  bytes.resize(LLVMFuzzerMutate(bytes.data(), size, bytes.size()));
  text.assign(bytes.begin(), bytes.end());
  return utf8 ? ReplaceInvalidUtf8(text) : text;
}

// Sets one value of a field that is no message: entry `at` of a list, or a new one at its end, or
// the value of a field that is no list (-1).
void SetValue(Message* message, const FieldDescriptor* field, int at, std::mt19937& random) {
  const Reflection& reflection = *message->GetReflection();
  const bool adds = at >= 0 && at == reflection.FieldSize(*message, field);
  const auto set = [&](auto add, auto set_entry, auto set_only, auto value) {
    if (adds)
      (reflection.*add)(message, field, value);
    else if (at >= 0)
      (reflection.*set_entry)(message, field, at, value);
    else
      (reflection.*set_only)(message, field, value);
  };
  switch (field->cpp_type()) {
#define SET(type, value) \
  return set(&Reflection::Add##type, &Reflection::SetRepeated##type, &Reflection::Set##type, value)
    case FieldDescriptor::CPPTYPE_INT32:
      SET(Int32, static_cast<int32_t>(RandomInteger(random)));
    case FieldDescriptor::CPPTYPE_UINT32:
      SET(UInt32, static_cast<uint32_t>(RandomInteger(random)));
    case FieldDescriptor::CPPTYPE_INT64:
      SET(Int64, RandomInteger(random));
    case FieldDescriptor::CPPTYPE_UINT64:
      SET(UInt64, static_cast<uint64_t>(RandomInteger(random)));
    case FieldDescriptor::CPPTYPE_FLOAT:
      SET(Float, static_cast<float>(RandomNumber(random)));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      SET(Double, RandomNumber(random));
    case FieldDescriptor::CPPTYPE_BOOL:
      SET(Bool, Below(2, random) == 0);
    case FieldDescriptor::CPPTYPE_ENUM:
      SET(EnumValue, RandomEnum(*field->enum_type(), random));
    case FieldDescriptor::CPPTYPE_STRING: {
      const std::string old = at < 0 ? reflection.GetString(*message, field)
                              : adds ? ""
                                     : reflection.GetRepeatedString(*message, field, at);
      SET(String, RandomText(old, field->type() == FieldDescriptor::TYPE_STRING, random));
    }
#undef SET
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return;
  }
}

// All messages within the message, itself included.
void Collect(Message* message, std::vector<Message*>* all) {
  all->push_back(message);
  std::vector<const FieldDescriptor*> fields;
  message->GetReflection()->ListFields(*message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    const Reflection& reflection = *message->GetReflection();
    if (!field->is_repeated()) {
      Collect(reflection.MutableMessage(message, field), all);
      continue;
    }
    for (int i = 0; i < reflection.FieldSize(*message, field); ++i)
      Collect(reflection.MutableRepeatedMessage(message, field, i), all);
  }
}

// Fills a new message: with a copy of one of its type, or with a few random fields.
void Fill(Message* message, const std::vector<std::unique_ptr<Message>>& copies, int depth,
          std::mt19937& random);

void MutateField(Message* message, const FieldDescriptor* field,
                 const std::vector<std::unique_ptr<Message>>& copies, int depth,
                 std::mt19937& random) {
  const Reflection& reflection = *message->GetReflection();
  const bool is_message = field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
  if (!field->is_repeated()) {
    if (reflection.HasField(*message, field) && Below(3, random) == 0)
      reflection.ClearField(message, field);
    else if (is_message)
      Fill(reflection.MutableMessage(message, field), copies, depth, random);
    else
      SetValue(message, field, -1, random);
    return;
  }
  const int size = reflection.FieldSize(*message, field);
  const int choice = Below(4, random);
  if (size == 0 || (choice == 0 && size < kEntriesMax)) {
    if (is_message)
      Fill(reflection.AddMessage(message, field), copies, depth, random);
    else
      SetValue(message, field, size, random);
  } else if (choice == 1) {
    reflection.SwapElements(message, field, Below(size, random), size - 1);
    reflection.RemoveLast(message, field);
  } else if (choice == 2) {
    reflection.SwapElements(message, field, Below(size, random), Below(size, random));
  } else if (is_message) {
    Fill(reflection.MutableRepeatedMessage(message, field, Below(size, random)), copies, depth,
         random);
  } else {
    SetValue(message, field, Below(size, random), random);
  }
}

void Fill(Message* message, const std::vector<std::unique_ptr<Message>>& copies, int depth,
          std::mt19937& random) {
  std::vector<const Message*> same;
  for (const auto& copy : copies) {
    if (copy->GetDescriptor() == message->GetDescriptor()) same.push_back(copy.get());
  }
  if (!same.empty() && Below(2, random) == 0) return message->CopyFrom(*Any(same, random));
  const int fields = message->GetDescriptor()->field_count();
  if (fields == 0 || depth == 0) return;
  for (int i = Below(3, random); i >= 0; --i)
    MutateField(message, message->GetDescriptor()->field(Below(fields, random)), copies, depth - 1,
                random);
}

}  // namespace

void Mutate(Message* message, std::mt19937& random) {
  for (int i = Below(3, random); i >= 0; --i) {
    std::vector<Message*> all;
    Collect(message, &all);
    std::vector<std::unique_ptr<Message>> copies;
    for (const Message* each : all) {
      copies.emplace_back(each->New());
      copies.back()->CopyFrom(*each);
    }
    Message* const chosen = Any(all, random);
    const int fields = chosen->GetDescriptor()->field_count();
    if (fields > 0)
      MutateField(chosen, chosen->GetDescriptor()->field(Below(fields, random)), copies, 3, random);
  }
}

void CrossOver(Message* message, const Message& other, std::mt19937& random) {
  std::vector<const FieldDescriptor*> fields;
  other.GetReflection()->ListFields(other, &fields);
  if (fields.empty()) return;
  const FieldDescriptor* kept = Any(fields, random);
  const std::unique_ptr<Message> one(other.New());
  one->CopyFrom(other);
  for (const FieldDescriptor* field : fields) {
    if (field != kept) one->GetReflection()->ClearField(one.get(), field);
  }
  message->MergeFrom(*one);
}

}  // namespace scalpel::fuzz

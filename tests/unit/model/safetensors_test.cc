#include "server/model/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>

#include "server/model/model_file.h"
#include "tests/unit/model/temp_folder.h"

namespace scalpel::model {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// A file's bytes: the header's length, the header, `data_bytes` of data.
std::string FileBytes(const std::string& json, size_t data_bytes) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<char>(json.size() >> (8 * i)));
  bytes += json;
  for (size_t i = 0; i < data_bytes; ++i) bytes.push_back(static_cast<char>(i));
  return bytes;
}

absl::StatusOr<Header> Parse(const std::string& json, size_t data_bytes) {
  const std::string bytes = FileBytes(json, data_bytes);
  return ParseHeader(bytes, bytes.size());
}

void ExpectRefused(const absl::StatusOr<Header>& header, const std::string& words) {
  EXPECT_EQ(header.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(header.status().message()), HasSubstr(words));
}

std::string Tensor(const std::string& name, const std::string& dtype, const std::string& shape,
                   const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
         ",\"data_offsets\":" + offsets + "}";
}

TEST(ParseHeader, ReadsTensorsInAnyOrderWithMetadata) {
  const auto header = Parse(
      "{" + Tensor("b", "F16", "[2,3]", "[8,20]") + "," + Tensor("a", "F32", "[2]", "[0,8]") + "," +
          Tensor("empty", "F32", "[0,7]", "[8,8]") + "," +
          Tensor("scalar", "BOOL", "[]", "[20,21]") + R"(,"__metadata__":{"format":"pt"}}   )",
      21);
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_EQ(header->tensors.size(), 4u);
  const TensorInfo& b = header->tensors.at("b");
  EXPECT_EQ(b.dtype, Dtype::kF16);
  EXPECT_EQ(b.shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(b.begin, 8u);
  EXPECT_EQ(b.end, 20u);
  EXPECT_TRUE(header->tensors.at("scalar").shape.empty());
  EXPECT_EQ(DtypeName(header->tensors.at("scalar").dtype), "BOOL");
}

TEST(ParseHeader, AcceptsAFileWithoutTensors) {
  EXPECT_TRUE(Parse("{}", 0).ok());
  ExpectRefused(Parse("{}", 1), "the tensors take 0 bytes, the file has 1");
}

TEST(ParseHeader, ChecksTheLengthBeforeAnythingElse) {
  ExpectRefused(ParseHeader("", 0), "shorter than 8 bytes");
  ExpectRefused(ParseHeader("1234567", 7), "shorter than 8 bytes");
  const std::string huge(8, '\xff');  // 8 + N wraps to 7
  ExpectRefused(ParseHeader(huge, 8), "claims 18446744073709551615 bytes; the limit is 100000000");
  std::string long_header = FileBytes("{}", 0);
  long_header[0] = 3;
  ExpectRefused(ParseHeader(long_header, long_header.size()), "is it truncated?");
  const std::string over("\x01\xe1\xf5\x05\0\0\0\0{}", 10);  // 100,000,001
  ExpectRefused(ParseHeader(over, uint64_t{1} << 40), "the limit is 100000000");
}

TEST(ParseHeader, RefusesTextThatIsNotAJsonObject) {
  ExpectRefused(Parse("", 0), "does not begin with {");
  ExpectRefused(Parse(" {}", 0), "does not begin with {");
  ExpectRefused(Parse("[]", 0), "does not begin with {");
  ExpectRefused(Parse("{", 0), "not valid JSON");
  ExpectRefused(Parse("{}{}", 0), "not valid JSON");
  ExpectRefused(Parse(std::string("{}\0{}", 5), 0), "a NUL at byte 2");
  ExpectRefused(Parse("{\"\xff\":1}", 0), "not valid JSON");
  ExpectRefused(Parse("{\"a\":[[[[]]]]}", 0), "nested deeper than 3 levels");
}

TEST(ParseHeader, RefusesDuplicateNames) {
  const std::string tensor = Tensor("a", "U8", "[1]", "[0,1]");
  ExpectRefused(Parse("{" + tensor + "," + tensor + "}", 1), "duplicate key \"a\"");
}

TEST(ParseHeader, RefusesHolesOverlapsAndTruncation) {
  const std::string a = Tensor("a", "U8", "[4]", "[0,4]");
  ExpectRefused(Parse("{" + a + "," + Tensor("b", "U8", "[4]", "[5,9]") + "}", 9),
                "tensor \"b\": leaves a hole after the tensor before it: begins at 5, expected 4");
  ExpectRefused(Parse("{" + a + "," + Tensor("b", "U8", "[4]", "[3,7]") + "}", 7),
                "tensor \"b\": overlaps the tensor before it");
  ExpectRefused(Parse("{" + Tensor("b", "U8", "[4]", "[1,5]") + "}", 5), "leaves a hole");
  ExpectRefused(Parse("{" + a + "}", 3),
                "tensor \"a\": ends at byte 4 of the data, the file has 3");
  ExpectRefused(Parse("{" + a + "}", 5), "the tensors take 4 bytes, the file has 5");
}

TEST(ParseHeader, RefusesShapesThatDisagreeWithOffsets) {
  ExpectRefused(Parse("{" + Tensor("a", "F32", "[2]", "[0,4]") + "}", 4),
                "shape and dtype need 8 bytes, data_offsets give 4");
  ExpectRefused(Parse("{" + Tensor("a", "U8", "[4]", "[4,0]") + "}", 4),
                "data_offsets end before they begin");
}

TEST(ParseHeader, RefusesShapesWhoseProductOverflows) {
  // 2^32 * 2^32 wraps to 0 and would agree with an empty buffer.
  ExpectRefused(Parse("{" + Tensor("a", "U8", "[4294967296,4294967296]", "[0,0]") + "}", 0),
                "tensor \"a\": shape's product overflows");
  ExpectRefused(Parse("{" + Tensor("a", "F32", "[4611686018427387904]", "[0,0]") + "}", 0),
                "shape's product overflows");
  ExpectRefused(Parse("{" + Tensor("a", "U8", "[18446744073709551615]", "[0,0]") + "}", 0),
                "shape holds a value that is not a non-negative integer");
}

TEST(ParseHeader, RefusesMalformedEntries) {
  ExpectRefused(Parse(R"({"a":1})", 0), "tensor \"a\": its entry is not an object");
  ExpectRefused(Parse(R"({"a":{"dtype":"U8","shape":[0]}})", 0), "its fields are not exactly");
  ExpectRefused(Parse(R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":1}})", 0),
                "its fields are not exactly");
  ExpectRefused(Parse("{" + Tensor("a", "F33", "[1]", "[0,4]") + "}", 4),
                "tensor \"a\": unknown dtype \"F33\"");
  ExpectRefused(Parse(R"({"a":{"dtype":1,"shape":[1],"data_offsets":[0,1]}})", 1),
                "dtype is not a string");
  for (const char* shape : {"[-1]", "[1.0]", "[\"1\"]", "[null]"}) {
    ExpectRefused(Parse("{" + Tensor("a", "U8", shape, "[0,1]") + "}", 1),
                  "shape holds a value that is not a non-negative integer");
  }
  ExpectRefused(Parse("{" + Tensor("a", "U8", "1", "[0,1]") + "}", 1), "shape is not a list");
  for (const char* offsets : {"[0]", "[0,1,2]", "[-1,0]", "[0,1.0]", "0"}) {
    ExpectRefused(Parse("{" + Tensor("a", "U8", "[1]", offsets) + "}", 1),
                  "data_offsets is not [begin, end]");
  }
  ExpectRefused(Parse(R"({"__metadata__":{"a":1}})", 0),
                "__metadata__ holds a value that is not a string");
  ExpectRefused(Parse(R"({"__metadata__":[]})", 0), "__metadata__ is not an object");
}

TEST(ParseHeader, EnforcesItsLimits) {
  ExpectRefused(Parse("{" + Tensor("a", "U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]") + "}", 1),
                "more than 8 dimensions");
  ExpectRefused(Parse("{" + Tensor("", "U8", "[1]", "[0,1]") + "}", 1), "1 to 512 bytes");
  ExpectRefused(Parse("{" + Tensor(std::string(513, 'n'), "U8", "[1]", "[0,1]") + "}", 1),
                "1 to 512 bytes");
  std::string many = "{";
  for (size_t i = 0; i <= kTensorCountMax; ++i) {
    many += (i ? "," : "") + Tensor(std::to_string(i), "U8", "[0]", "[0,0]");
  }
  ExpectRefused(Parse(many + "}", 0), "more than 100000 tensors");
  std::string values = R"({"a":[0)";
  for (int i = 0; i < 2'100'000; ++i) values += ",0";
  ExpectRefused(Parse(values + "]}", 0), "more than 2000000 JSON values");
}

using SafetensorsFileTest = TempFolderTest;
using ModelFileTest = TempFolderTest;

TEST_F(SafetensorsFileTest, ReturnsTheBytesOfATensor) {
  Write(dir_ / "w", FileBytes("{" + Tensor("a", "U8", "[3]", "[0,3]") + "," +
                                  Tensor("b", "U8", "[2]", "[3,5]") + "}",
                              5));
  absl::StatusOr<SafetensorsFile> file = SafetensorsFile::Open(dir_, "w");
  ASSERT_TRUE(file.ok()) << file.status();
  const SafetensorsFile moved = *std::move(file);
  EXPECT_EQ(moved.TensorBytes(moved.header().tensors.at("a")), std::string("\0\1\2", 3));
  EXPECT_EQ(moved.TensorBytes(moved.header().tensors.at("b")), "\3\4");
  EXPECT_EQ(moved.name(), "w");
}

TEST_F(SafetensorsFileTest, ErrorsNameTheFile) {
  EXPECT_TRUE(absl::IsNotFound(SafetensorsFile::Open(dir_, "w").status()));
  Write(dir_ / "w", "");
  EXPECT_EQ(SafetensorsFile::Open(dir_, "w").status().message(),
            "w: safetensors header: the file is shorter than 8 bytes");
}

TEST_F(ModelFileTest, ReadsAtMostTheLimit) {
  Write(dir_ / "config.json", "12345");
  EXPECT_EQ(*ReadModelFile(dir_, "config.json", 5), "12345");
  const auto refused = ReadModelFile(dir_, "config.json", 4);
  EXPECT_EQ(refused.status().message(), "config.json: 5 bytes; the limit is 4");
}

TEST_F(ModelFileTest, RefusesNamesThatAreNotPlain) {
  Write(root_ / "secret", "x");
  for (const std::string& name : {std::string("../secret"), std::string(".."), std::string("."),
                                  std::string(""), std::string("/etc/passwd"), std::string("a\nb"),
                                  std::string("a\0b", 3), std::string(256, 'a')}) {
    const auto file = OpenModelFile(dir_, name);
    EXPECT_EQ(file.status().code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_THAT(std::string(file.status().message()), HasSubstr("not a plain file name"));
  }
}

TEST_F(ModelFileTest, OpensOnlyRegularFiles) {
  fs::create_directory(dir_ / "folder");
  EXPECT_THAT(std::string(OpenModelFile(dir_, "folder").status().message()),
              HasSubstr("folder: not a regular file"));
  ASSERT_EQ(mkfifo((dir_ / "fifo").c_str(), 0600), 0);
  EXPECT_THAT(std::string(OpenModelFile(dir_, "fifo").status().message()),
              HasSubstr("fifo: not a regular file"));
}

TEST_F(ModelFileTest, FollowsLinksOnlyInsideTheFolder) {
  Write(dir_ / "real", "x");
  Write(root_ / "secret", "x");
  Write(root_ / "model2" / "near", "x");  // its path begins like the folder's
  fs::create_symlink("real", dir_ / "inside");
  fs::create_symlink("../secret", dir_ / "outside");
  fs::create_symlink("../model2/near", dir_ / "near");
  fs::create_symlink("outside", dir_ / "chain");
  fs::create_symlink("nowhere", dir_ / "dangling");
  fs::create_symlink("loop", dir_ / "loop");
  EXPECT_EQ(*ReadModelFile(dir_, "inside", 10), "x");
  for (const char* name : {"outside", "near", "chain"}) {
    EXPECT_EQ(OpenModelFile(dir_, name).status().message(),
              std::string(name) +
                  ": a symbolic link to a file outside the model folder; replace it "
                  "with the file itself");
  }
  for (const char* name : {"dangling", "loop"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(OpenModelFile(dir_, name).status()));
    EXPECT_THAT(std::string(OpenModelFile(dir_, name).status().message()),
                HasSubstr("a broken symbolic link"));
  }
}

TEST_F(ModelFileTest, FollowsTheHubCachesLinksToItsBlobs) {
  const fs::path snapshot = root_ / "models--gpt2" / "snapshots" / "abc";
  fs::create_directories(snapshot);
  Write(root_ / "models--gpt2" / "blobs" / "123", "x");
  Write(root_ / "models--gpt2" / "refs" / "main", "x");
  fs::create_symlink("../../blobs/123", snapshot / "config.json");
  fs::create_symlink("../../refs/main", snapshot / "other");
  EXPECT_EQ(*ReadModelFile(snapshot, "config.json", 10), "x");
  EXPECT_THAT(std::string(OpenModelFile(snapshot, "other").status().message()),
              HasSubstr("to a file outside the model folder"));
  // The folder itself may be given through a link.
  fs::create_directory_symlink(snapshot, root_ / "linked");
  EXPECT_EQ(*ReadModelFile(root_ / "linked", "config.json", 10), "x");
}

}  // namespace
}  // namespace scalpel::model

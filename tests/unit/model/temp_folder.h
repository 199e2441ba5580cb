// A test fixture with a folder of its own, removed afterwards.

#ifndef SCALPEL_TESTS_UNIT_MODEL_TEMP_FOLDER_H_
#define SCALPEL_TESTS_UNIT_MODEL_TEMP_FOLDER_H_

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace scalpel::model {

class TempFolderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "scalpel-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
    dir_ = root_ / "model";
    std::filesystem::create_directories(dir_);
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  static void Write(const std::filesystem::path& path, const std::string& bytes) {
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << bytes;
  }

  std::filesystem::path root_;
  std::filesystem::path dir_;  // root_/model
};

}  // namespace scalpel::model

#endif  // SCALPEL_TESTS_UNIT_MODEL_TEMP_FOLDER_H_

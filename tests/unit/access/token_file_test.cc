#include "server/access/token_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/access/new_token.h"
#include "tests/unit/model/temp_folder.h"

namespace scalpel::access {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr absl::Duration kPatience = absl::Seconds(30);
constexpr absl::Duration kInterval = absl::Milliseconds(2);

std::string FileOf(const std::vector<NewToken>& tokens) {
  std::string entries;
  for (const NewToken& token : tokens) {
    absl::StrAppend(&entries, entries.empty() ? "" : ",", token.entry);
  }
  return absl::StrCat(R"({"tokens":[)", entries, "]}");
}

bool WaitUntil(const std::function<bool()>& holds) {
  const absl::Time give_up = absl::Now() + kPatience;
  while (!holds() && absl::Now() < give_up) absl::SleepFor(kInterval);
  return holds();
}

class TokenFileTest : public model::TempFolderTest {
 protected:
  void SetUp() override {
    TempFolderTest::SetUp();
    path_ = root_ / "tokens.json";
  }
  // In one step, as editors and secrets do.
  void Replace(const std::string& bytes) {
    Write(root_ / "new", bytes);
    ASSERT_EQ(chmod((root_ / "new").c_str(), 0600), 0);
    fs::rename(root_ / "new", path_);
  }
  absl::Status Refused() { return TokenFile::Open(path_, kInterval).status(); }

  fs::path path_;
  const NewToken alice_ = *MakeToken("alice");
  const NewToken bob_ = *MakeToken("bob");
};

TEST_F(TokenFileTest, ReadsTheFile) {
  Replace(FileOf({alice_}));
  const auto file = TokenFile::Open(path_, kInterval);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_NE((*file)->tokens()->Find(alice_.token), nullptr);
  EXPECT_EQ((*file)->counts().reloads, 0);
  EXPECT_EQ((*file)->counts().failures, 0);
}

TEST_F(TokenFileTest, RefusesToOpenABadFileAndNamesIt) {
  EXPECT_EQ(Refused().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(Refused().message()), HasSubstr("tokens.json: cannot be opened"));
  Replace("{");
  EXPECT_EQ(Refused().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(Refused().message()), HasSubstr("tokens.json: not valid JSON"));
}

TEST_F(TokenFileTest, RefusesAFileThatOthersMayWrite) {
  Replace(FileOf({alice_}));
  ASSERT_EQ(chmod(path_.c_str(), 0602), 0);
  EXPECT_EQ(Refused().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(Refused().message()), HasSubstr("chmod o-w"));
  ASSERT_EQ(chmod(path_.c_str(), 0644), 0);
  EXPECT_TRUE(Refused().ok());
}

TEST_F(TokenFileTest, RefusesWhatIsNotAFileAndDoesNotHang) {
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  EXPECT_THAT(std::string(Refused().message()), HasSubstr("not a regular file"));
  fs::remove(path_);
  fs::create_directory(path_);
  EXPECT_THAT(std::string(Refused().message()), HasSubstr("not a regular file"));
}

TEST_F(TokenFileTest, RefusesALargeFile) {
  const std::string good = FileOf({alice_});
  Replace(good + std::string(kTokenFileBytesMax - good.size(), ' '));
  EXPECT_TRUE(Refused().ok());
  Replace(good + std::string(kTokenFileBytesMax + 1 - good.size(), ' '));
  EXPECT_THAT(std::string(Refused().message()), HasSubstr("1048576 bytes"));
}

TEST_F(TokenFileTest, ReloadsAChangedFile) {
  Replace(FileOf({alice_}));
  const auto file = TokenFile::Open(path_, kInterval);
  ASSERT_TRUE(file.ok()) << file.status();
  const std::shared_ptr<const TokenList> before = (*file)->tokens();
  Replace(FileOf({bob_}));
  ASSERT_TRUE(WaitUntil([&] { return (*file)->counts().reloads >= 1; }));
  EXPECT_EQ((*file)->tokens()->Find(alice_.token), nullptr);
  EXPECT_NE((*file)->tokens()->Find(bob_.token), nullptr);
  EXPECT_NE(before->Find(alice_.token), nullptr);  // an old list stays valid for its holders
}

TEST_F(TokenFileTest, RetriesAChangeThatItCouldNotRead) {
  Replace(FileOf({alice_}));
  const auto file = TokenFile::Open(path_, kInterval);
  ASSERT_TRUE(file.ok()) << file.status();
  Write(root_ / "new", FileOf({bob_}));
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  rlimit none = limit;
  none.rlim_cur = 3;  // standard input, output and error, which are open
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  fs::rename(root_ / "new", path_);
  EXPECT_TRUE(WaitUntil([&] { return (*file)->counts().failures >= 1; }));
  absl::SleepFor(20 * kInterval);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_TRUE(WaitUntil([&] { return (*file)->counts().reloads >= 1; }));
  EXPECT_EQ((*file)->counts().failures, 1) << "the same failure is told once";
  EXPECT_EQ((*file)->tokens()->Find(alice_.token), nullptr);
}

TEST_F(TokenFileTest, KeepsTheOldTokensWhenTheNewFileIsBad) {
  Replace(FileOf({alice_}));
  const auto file = TokenFile::Open(path_, kInterval);
  ASSERT_TRUE(file.ok()) << file.status();
  Replace("{");
  ASSERT_TRUE(WaitUntil([&] { return (*file)->counts().failures >= 1; }));
  EXPECT_NE((*file)->tokens()->Find(alice_.token), nullptr);
  Replace("[");  // another file with the same error
  ASSERT_TRUE(WaitUntil([&] { return (*file)->counts().failures >= 2; }));
  fs::remove(path_);
  ASSERT_TRUE(WaitUntil([&] { return (*file)->counts().failures >= 3; }));
  EXPECT_NE((*file)->tokens()->Find(alice_.token), nullptr);
  Replace(FileOf({bob_}));
  ASSERT_TRUE(WaitUntil([&] { return (*file)->counts().reloads >= 1; }));
  EXPECT_NE((*file)->tokens()->Find(bob_.token), nullptr);
}

TEST_F(TokenFileTest, ReloadsAFileWhoseModeWasFixed) {
  Replace(FileOf({alice_}));
  const auto file = TokenFile::Open(path_, kInterval);
  ASSERT_TRUE(file.ok()) << file.status();
  Write(root_ / "new", FileOf({bob_}));
  ASSERT_EQ(chmod((root_ / "new").c_str(), 0666), 0);
  fs::rename(root_ / "new", path_);
  ASSERT_TRUE(WaitUntil([&] { return (*file)->counts().failures >= 1; }));
  EXPECT_EQ((*file)->tokens()->Find(bob_.token), nullptr);
  absl::SleepFor(absl::Milliseconds(20));  // file systems keep time in steps
  ASSERT_EQ(chmod(path_.c_str(), 0600), 0);
  ASSERT_TRUE(WaitUntil([&] { return (*file)->counts().reloads >= 1; }));
  EXPECT_NE((*file)->tokens()->Find(bob_.token), nullptr);
}

TEST_F(TokenFileTest, CallersLookTokensUpWhileTheFileChanges) {
  Replace(FileOf({alice_}));
  const auto file = TokenFile::Open(path_, kInterval);
  ASSERT_TRUE(file.ok()) << file.status();
  std::atomic<bool> done = false;
  std::atomic<int> wrong = 0;
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&] {
      while (!done) {
        const std::shared_ptr<const TokenList> tokens = (*file)->tokens();
        const bool has_alice = tokens->Find(alice_.token) != nullptr;
        const bool has_bob = tokens->Find(bob_.token) != nullptr;
        if (has_alice == has_bob) ++wrong;  // the list is of one file
      }
    });
  }
  for (int64_t change = 1; change <= 10; ++change) {
    Replace(FileOf({change % 2 == 1 ? bob_ : alice_}));
    EXPECT_TRUE(WaitUntil([&] { return (*file)->counts().reloads >= change; }));
  }
  done = true;
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ((*file)->counts().failures, 0);
}

}  // namespace
}  // namespace scalpel::access

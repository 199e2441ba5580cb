// Declarations that only a test has, to show what happens where an option was forgotten.

#ifndef SCALPEL_TESTS_UNIT_CONTRACT_DECLARED_H_
#define SCALPEL_TESTS_UNIT_CONTRACT_DECLARED_H_

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

namespace scalpel::contract {

// The file that declares `of`, as a file of another pool, after `change` has changed it.
class Declared {
 public:
  template <typename Change>
  Declared(const google::protobuf::FileDescriptor* of, Change change) {
    google::protobuf::FileDescriptorProto file;
    for (int i = 0; i < of->dependency_count(); ++i) AddWithAll(of->dependency(i));
    of->CopyTo(&file);
    change(&file);
    file_ = pool_.BuildFile(file);
    EXPECT_NE(file_, nullptr);
  }

  const google::protobuf::FileDescriptor* operator->() const { return file_; }

 private:
  void AddWithAll(const google::protobuf::FileDescriptor* of) {
    if (pool_.FindFileByName(of->name()) != nullptr) return;
    for (int i = 0; i < of->dependency_count(); ++i) AddWithAll(of->dependency(i));
    google::protobuf::FileDescriptorProto file;
    of->CopyTo(&file);
    pool_.BuildFile(file);
  }

  google::protobuf::DescriptorPool pool_;
  const google::protobuf::FileDescriptor* file_ = nullptr;
};

}  // namespace scalpel::contract

#endif  // SCALPEL_TESTS_UNIT_CONTRACT_DECLARED_H_

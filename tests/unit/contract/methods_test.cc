#include "server/contract/methods.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/contract/declared.h"

namespace scalpel::contract {
namespace {

using ::testing::ElementsAre;

TEST(Methods, AreAllOfTheDeclaration) {
  EXPECT_THAT(MethodNames(), ElementsAre("GetModel", "Tokenize", "Detokenize", "Run", "Sweep",
                                         "Generate", "GetStatus"));
  for (const Method& method : Methods()) EXPECT_EQ(method.service, ServiceDeclared().full_name());
  EXPECT_EQ(Methods()[3].least_role, v1::ROLE_RUNNER);
}

TEST(Methods, OneWithoutALeastRoleIsNamed) {
  const Declared declared(ServiceDeclared().file(), [](auto* file) {
    file->mutable_service(0)->mutable_method(4)->clear_options();
  });
  const absl::Status status = ReadMethods(*declared->service(0)).status();
  EXPECT_TRUE(absl::IsInternal(status));
  EXPECT_EQ(status.message(),
            "scalpel.v1.InterventionService.Sweep has no least role; give it the option "
            "(scalpel.v1.least_role)");
}

}  // namespace
}  // namespace scalpel::contract

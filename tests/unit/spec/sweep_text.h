// Parts of sweeps, as text.

#ifndef SCALPEL_TESTS_UNIT_SPEC_SWEEP_TEXT_H_
#define SCALPEL_TESTS_UNIT_SPEC_SWEEP_TEXT_H_

namespace scalpel::spec {

inline constexpr char kKl[] = " metrics { kl_from_clean {} }";
inline constexpr char kTwoVariants[] = R"(
    variants { variants { interventions { place { site: SITE_Z } zero {} } }
               variants { name: "clean" } })";
inline constexpr char kHeadGrid[] = R"(
    grid { interventions { place { site: SITE_Z } zero {} } axes { layers {} } axes { heads {} } })";

}  // namespace scalpel::spec

#endif  // SCALPEL_TESTS_UNIT_SPEC_SWEEP_TEXT_H_

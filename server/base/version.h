// The server's version, as set by the build.

#ifndef SCALPEL_SERVER_BASE_VERSION_H_
#define SCALPEL_SERVER_BASE_VERSION_H_

namespace scalpel {

#ifdef SCALPEL_VERSION
inline constexpr char kVersion[] = SCALPEL_VERSION;
#else
inline constexpr char kVersion[] = "dev";
#endif

}  // namespace scalpel

#endif  // SCALPEL_SERVER_BASE_VERSION_H_

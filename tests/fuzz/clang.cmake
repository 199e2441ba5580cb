# The settings of the build for fuzzing: cmake -B build-fuzz -C tests/fuzz/clang.cmake
set(CMAKE_C_COMPILER clang-16 CACHE STRING "")
set(CMAKE_CXX_COMPILER clang++-16 CACHE STRING "")
set(SCALPEL_SANITIZE ON CACHE STRING "")
set(SCALPEL_FUZZ ON CACHE BOOL "")
set(SCALPEL_TESTS OFF CACHE BOOL "")

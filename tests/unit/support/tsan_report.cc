// For builds with ThreadSanitizer: what it reports fails the test that runs.

#include <gtest/gtest.h>

extern "C" void __tsan_on_report(void*) { FAIL() << "ThreadSanitizer reports, see above"; }

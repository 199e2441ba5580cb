"""Runs the suites of the tests, the benchmark and the soak, for `./scalpel`."""

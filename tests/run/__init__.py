"""Runs the suites of the tests, and the benchmark, for `./scalpel test` and `./scalpel bench`."""

"""Timings of Threadline, and of what one would write instead, in one run. docs/contributing/benchmarks.md says what and how."""

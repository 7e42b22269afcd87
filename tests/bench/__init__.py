"""Timings of Threadline and of the alternatives in one run; docs/contributing/benchmarks.md explains them."""

"""Timings of Threadline and of the alternatives in one run; docs/benchmarks.md explains them."""

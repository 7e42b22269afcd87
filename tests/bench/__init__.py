"""Compares the speed of Threadline with what one would write instead; see docs/contributing/benchmarks.md."""

"""Tests, the demo and the benchmarks; what they share is in ``tests.support``."""

"""Tissue, models and processes that tests, demo and benchmarks share."""

"""Benchmarks: rbee against the bare engine, in one run, as ratios of medians."""

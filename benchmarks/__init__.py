"""Benchmarks: every number is a ratio inside one run, checked before it is timed. `python -m benchmarks --help`."""

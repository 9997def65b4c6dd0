"""Benchmarks: real servers on a scratch store, measured by an ordinary client."""

"""Jackline beside others, measured in the same run. `scripts/bench` runs it; see README.md."""

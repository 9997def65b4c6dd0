"""What `jackline doctor` measures a path with: streams of a known timing, a mirror, a count of
executions."""

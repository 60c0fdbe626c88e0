"""Measurements: every one runs both sides in one go and prints a ratio. `python -m benchmarks` runs them all."""

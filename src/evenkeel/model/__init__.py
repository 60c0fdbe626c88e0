"""Frozen values that every layer speaks in. Nothing here does input or output, reads a clock or keeps state."""

"""Reads region.toml, wires components, supervises processes."""

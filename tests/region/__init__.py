"""region.toml: every error, the schema, the examples."""

"""region.toml: read, checked and expanded. Not for processes, which start from the compiled form."""

from evenkeel.region.config.loading import load
from evenkeel.region.config.schema import schema, schema_text

__all__ = ["load", "schema", "schema_text"]

"""The scenarios that come with evenkeel, by name."""

from __future__ import annotations

from pathlib import Path

import evenkeel
from evenkeel.model.errors import InputError

FOLDER = Path(evenkeel.__file__).parent / "scenarios"
_PARTS = (".assumptions.toml",)


def packaged() -> dict[str, Path]:
    """Files of the ready scenarios, by name."""
    files = sorted(path for path in FOLDER.glob("*.toml") if not path.name.endswith(_PARTS))
    return {path.stem: path for path in files}


def scenario_path(text: str) -> Path:
    """The file that `text` names: a path, or a ready scenario's name. Raises `InputError`."""
    ready = packaged()
    if text in ready:
        return ready[text]
    path = Path(text)
    if path.exists():
        return path
    raise InputError.one(text, "is neither a file nor a ready scenario", "give a file, or one of " + ", ".join(ready))

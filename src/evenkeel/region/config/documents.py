"""Files as text and as TOML, bounded, with what is wrong told by line and column."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from evenkeel.model.errors import InputError
from evenkeel.region.config.texts import BadText

FILE_OCTETS_MAX = 16 * 1024 * 1024
_POSITION = re.compile(r" \(at line (\d+), column (\d+)\)\Z")


def read_text(path: Path) -> str:
    """The file's text, at most 16 MB of UTF-8. Raises `BadText`."""
    try:
        with path.open("rb") as file:
            octets = file.read(FILE_OCTETS_MAX + 1)
    except OSError as error:
        raise BadText(f"{path} cannot be read: {error.strerror}", "give the path of a file that can") from error
    if len(octets) > FILE_OCTETS_MAX:
        raise BadText(f"{path} is larger than 16 MB", "use templates and groups, or split the region")
    try:
        return octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise BadText(
            f"{path} is not UTF-8: octet {octets[error.start]:#04x} in line {line}", "save it as UTF-8"
        ) from error


def read_document(path: Path) -> tuple[str, dict[str, Any]]:
    """The file's text, and the TOML document in it. Raises `InputError`; a syntax error has its line and column."""
    try:
        text = read_text(path).replace("\r\n", "\n")
    except BadText as error:
        raise InputError.one(str(path), error.what, error.mend) from error
    try:
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        position = _POSITION.search(str(error))
        where = f"{path}:{position[1]}:{position[2]}" if position else f"{path}:{text.count(chr(10)) + 1}"
        what = _POSITION.sub("", str(error)).removesuffix(" (at end of document)")
        raise InputError.one(where, f"is not TOML: {what}", "mend it there, or just before") from error
    except RecursionError as error:
        raise InputError.one(str(path), "nests deeper than can be read", "flatten it") from error

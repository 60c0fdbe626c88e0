"""TSIG keys from where operators keep them: a base64 secret, or a key file as BIND and tsig-keygen write it."""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path

from evenkeel.model.errors import InputError
from evenkeel.wire.tsig import ALGORITHM, TsigKey

_SECRET_OCTETS_MIN = 16
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*|#[^\n]*", re.DOTALL)
_KEY = re.compile(r'key\s+"?([^\s"{;]+)"?\s*\{([^}]*)\}\s*;')
_STATEMENT = re.compile(r'(algorithm|secret)\s+"?([^\s";]+)"?\s*;')


def tsig_key(name: str, secret: str, where: str = "TSIG secret") -> TsigKey:
    """The key `name` with its base64 `secret`. Raises `InputError` naming `where`, never the secret itself."""
    try:
        octets = base64.b64decode(secret.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError.one(where, f"the secret of key {name!r} is not base64", "tsig-keygen makes one") from error
    if len(octets) < _SECRET_OCTETS_MIN:
        raise InputError.one(
            where,
            f"the secret of key {name!r} has {len(octets)} octets, at least {_SECRET_OCTETS_MIN} are needed",
            "tsig-keygen -a hmac-sha256 makes one of 32",
        )
    return TsigKey(name.lower().removesuffix(".") + ".", octets)


def parse_key_file(text: str, where: str) -> dict[str, TsigKey]:
    """Keys by name from `key "name" { algorithm hmac-sha256; secret "..."; };`. Raises `InputError`."""
    keys: dict[str, TsigKey] = {}
    for name, body in _KEY.findall(_COMMENT.sub("", text)):
        statements = dict(_STATEMENT.findall(body))
        algorithm = statements.get("algorithm", "none").lower().removesuffix(".")
        if algorithm != ALGORITHM.removesuffix("."):
            raise InputError.one(
                where, f"key {name!r} has algorithm {algorithm}", "use hmac-sha256: tsig-keygen -a hmac-sha256 NAME"
            )
        if "secret" not in statements:
            raise InputError.one(where, f"key {name!r} has no secret", 'add secret "<base64>";')
        key = tsig_key(name, statements["secret"], where)
        keys[key.name] = key
    if not keys:
        raise InputError.one(where, "no key statement found", 'expected key "name" { algorithm ...; secret ...; };')
    return keys


def read_key_file(path: Path, name: str) -> TsigKey:
    """The key `name` out of the file at `path`. Raises `InputError`."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError.one(str(path), f"the key file cannot be read: {error}", "see its path and mode") from error
    keys = parse_key_file(text, str(path))
    wanted = name.lower().removesuffix(".") + "."
    if wanted not in keys:
        raise InputError.one(str(path), f"no key {name!r}; the file has {sorted(keys)}", "use one of these names")
    return keys[wanted]

"""The compiled region: what region.toml came to, as one msgpack file that every process starts from.

Reading it takes msgspec alone, so a process (the Enactor above all) needs neither the TOML file, nor the files it
names, nor pydantic. Thousands of endpoints of one template differ by name alone: the file holds what they share once,
as profiles, and endpoints as (name, profile) pairs; loaded endpoints share their pool and zone objects too.
"""

from __future__ import annotations

import os
from dataclasses import fields, replace
from pathlib import Path

import msgspec

from evenkeel.model.errors import InputError
from evenkeel.model.region import Endpoint, Region

FORM = "evenkeel-region-1"  # changes when an older reader would misread the file
OCTETS_MAX = 256 * 1024 * 1024
_MEND = "write it anew from region.toml: `evenkeel up` and `evenkeel run` do"


class _Compiled(msgspec.Struct, array_like=True):
    form: str
    region: Region  # without its endpoints
    profiles: list[Endpoint]  # with an empty name
    endpoints: list[tuple[str, int]]  # name, index into profiles


class _Form(msgspec.Struct, array_like=True):
    """The first field alone: later ones of another form are not looked at."""

    form: str


def dump_compiled(region: Region, path: Path) -> None:
    """Write `region` to `path`: a reader sees the old file or the new one, never a part. Raises `OSError`."""
    profiles: dict[Endpoint, int] = {}
    endpoints = [
        (endpoint.name, profiles.setdefault(replace(endpoint, name=""), len(profiles)))
        for endpoint in region.endpoints.values()
    ]
    compiled = _Compiled(FORM, replace(region, endpoints={}), list(profiles), endpoints)
    _write_atomically(path, msgspec.msgpack.encode(compiled))


def load_compiled(path: Path) -> Region:
    """The region in `path`. Raises `InputError` where the file is absent, of another form or not whole."""
    try:
        with path.open("rb") as file:
            body = file.read(OCTETS_MAX + 1)
    except OSError as error:
        raise InputError.one(str(path), f"cannot be read: {error.strerror}", _MEND) from error
    if len(body) > OCTETS_MAX:
        raise InputError.one(str(path), f"is larger than {OCTETS_MAX} octets", _MEND)
    try:
        form = msgspec.msgpack.decode(body, type=_Form).form
        if form != FORM:
            raise InputError.one(str(path), f"has the form {form!r}, expected {FORM!r}", _MEND)
        compiled = msgspec.msgpack.decode(body, type=_Compiled)
        return replace(compiled.region, endpoints=_endpoints(compiled))
    except (msgspec.MsgspecError, UnicodeDecodeError, IndexError) as error:
        raise InputError.one(str(path), f"is not a compiled region: {error}", _MEND) from error


def _endpoints(compiled: _Compiled) -> dict[str, Endpoint]:
    shared_fields = [field.name for field in fields(Endpoint) if field.name != "name"]
    shared = [{field: getattr(profile, field) for field in shared_fields} for profile in compiled.profiles]
    return {name: Endpoint(name=name, **shared[index]) for name, index in compiled.endpoints}


def _write_atomically(path: Path, body: bytes) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename itself outlives a power cut
    finally:
        os.close(folder)

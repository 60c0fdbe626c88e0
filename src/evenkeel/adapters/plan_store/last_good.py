"""A follower's copy of the last good plan on disk, for the day when the plan store is gone.

The file is a magic line, the SHA-256 of what follows, and the plan's rows. It is replaced by renaming, so a crash
leaves the old one or the new one. One that is damaged is as good as none: the reason is told, nothing is raised.
"""

from __future__ import annotations

import contextlib
import os
from hashlib import sha256
from pathlib import Path

import msgspec

from evenkeel.adapters.plan_store.wire import DeltaRows, plan_of, rows_of
from evenkeel.model.errors import InternalError
from evenkeel.model.plan import Plan

_MAGIC = b"evenkeel last good plan 1\n"
_DIGEST_OCTETS = 32


def load(path: Path, region: str) -> tuple[Plan | None, str]:
    """The plan on disk, or None and the reason; no file yet is no reason ("")."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        return None, f"{path}: {error.strerror or error}"
    digest, body = content[len(_MAGIC) :][:_DIGEST_OCTETS], content[len(_MAGIC) + _DIGEST_OCTETS :]
    if not content.startswith(_MAGIC) or sha256(body).digest() != digest:
        return None, f"{path}: damaged, {len(content)} octets do not match their checksum; it will be written anew"
    try:
        rows = msgspec.msgpack.decode(body, type=DeltaRows)
        plan = plan_of(rows)
    except (msgspec.MsgspecError, InternalError) as error:
        return None, f"{path}: not a plan ({error}); it will be written anew"
    if rows.region != region:
        return None, f"{path}: is of region {rows.region!r}, not of {region!r}; left unread"
    return plan, ""


def save(path: Path, plan: Plan) -> None:
    """Write `plan` durably in place of what is there. Raises `OSError`, with what was there untouched."""
    body = msgspec.msgpack.encode(rows_of(plan.as_delta()))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            file.write(_MAGIC + sha256(body).digest() + body)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

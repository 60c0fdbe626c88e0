"""Tokens and TSIG secrets: one file each in `<state_dir>/keys`, mode 0600, made at the first start.

Every one is the base64 text of 32 random octets: a TSIG secret for hmac-sha256 (RFC 8945), a bearer token
between evenkeel's own processes. They never reach a log, a journal or a command line.
"""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path

from evenkeel.model.errors import InputError
from evenkeel.model.region import Region

SECRET_OCTETS = 32
SECRET_FILE_OCTETS_MAX = 4096
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def secret_path(state_dir: str, name: str) -> Path:
    """Where the secret `name` stands."""
    return Path(state_dir) / "keys" / name


def secret_names(region: Region) -> tuple[str, ...]:
    """Every secret that the components of `region` ask for."""
    keys = sorted({f"tsig-{zone.tsig_key}" for zone in region.zones.values()})
    report = ("report",) if region.report_intake else ()
    fleet = region.fleet
    of_fleet = ("tables", "fleet", "join", *(f"account-{name}" for name in fleet.accounts)) if fleet else ()
    return ("plan-store", "health", *report, *of_fleet, *keys)


def read_secret(state_dir: str, name: str) -> str:
    """The secret. Raises `InputError` where it is missing, empty, or open to other users."""
    path = secret_path(state_dir, name)
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(SECRET_FILE_OCTETS_MAX).decode("ascii", "replace").strip()
    except OSError as error:
        raise InputError.one(
            str(path), f"the secret {name!r} cannot be read: {error.strerror}", "`evenkeel keys REGION.toml` makes it"
        ) from error
    if mode & _OTHERS:
        raise InputError.one(str(path), f"other users may read it (mode {mode & 0o777:04o})", f"chmod 600 {path}")
    if not text:
        raise InputError.one(str(path), "the file is empty", "remove it, then `evenkeel keys REGION.toml`")
    return text


def make_missing_secrets(state_dir: str, names: Iterable[str]) -> tuple[str, ...]:
    """Create those that are not there yet; returns their names. Safe when several processes do it at once.

    Raises `InputError` where the folder cannot be written.
    """
    try:
        return _make_missing(state_dir, names)
    except OSError as error:
        raise InputError.one(
            str(secret_path(state_dir, "")),
            f"secrets cannot be written: {error.strerror}",
            "name a state-dir that can be written, or make room there",
        ) from error


def _make_missing(state_dir: str, names: Iterable[str]) -> tuple[str, ...]:
    folder = secret_path(state_dir, "").absolute()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = []
    for name in names:
        path = folder / name
        if path.exists():
            continue
        # Written whole under another name, then linked: nobody reads half a secret, and the first one stays.
        descriptor, draft = tempfile.mkstemp(prefix=f".{name}.", dir=folder)  # mode 0600
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(secrets.token_bytes(SECRET_OCTETS)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
            made.append(name)
        os.unlink(draft)
    return tuple(made)

"""Asks a component's `/status`, `/healthz` or `/metrics` (`adapters.observability`), with a deadline and a bound."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from evenkeel.model.errors import Unreachable
from evenkeel.model.region import HostPort

REPLY_OCTETS_MAX = 64 * 1024 * 1024
_OK = b"200"


async def fetch(address: HostPort, path: str, deadline_s: float = 1.0) -> bytes:
    """The body of a 200 reply. Raises `Unreachable` on anything else."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(deadline_s):
            reader, writer = await asyncio.open_connection(address.host, address.port)
            writer.write(f"GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            body = await _bounded(reader)
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise Unreachable(f"http://{address}{path}: {error!r}") from error
    finally:
        if writer is not None:
            writer.close()
    if head.split(b" ", 2)[1:2] != [_OK]:
        raise Unreachable(f"http://{address}{path} answered {head.splitlines()[0].decode('latin-1')!r}")
    return body


async def fetch_status(address: HostPort, deadline_s: float = 1.0) -> dict[str, Any]:
    """A component's status. Raises `Unreachable`."""
    body = await fetch(address, "/status", deadline_s)
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise Unreachable(f"http://{address}/status answered no status: {error}") from error


async def _bounded(reader: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    octets = 0
    while part := await reader.read(65536):
        octets += len(part)
        if octets > REPLY_OCTETS_MAX:
            raise OSError(f"the reply is longer than {REPLY_OCTETS_MAX} octets")
        parts.append(part)
    return b"".join(parts)

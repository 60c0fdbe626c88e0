"""Real servers as pytest fixtures: what is not installed is skipped, loudly, or fails where that is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from evenkeel.testing.servers import REQUIRE_SERVERS, Server, ServerMissing, bind_server, embedded_server, knot_server

ZONE = "demo.example."

STARTERS: dict[str, Callable[..., AbstractContextManager[Server]]] = {
    "bind": bind_server,
    "knot": knot_server,
    "embedded": embedded_server,
}
BIND = pytest.param("bind", marks=pytest.mark.bind)
KNOT = pytest.param("knot", marks=pytest.mark.knot)


def running(name: str, folder: Path) -> Iterator[Server]:
    """The server `name` with the zone `ZONE`, for a fixture to `yield from`."""
    try:
        context = STARTERS[name](folder, [ZONE])
        server = context.__enter__()
    except ServerMissing as missing:
        if os.environ.get(REQUIRE_SERVERS) == "1":
            pytest.fail(str(missing))
        pytest.skip(f"NOT TESTED against {name}: {missing}")
    try:
        yield server
    finally:
        context.__exit__(None, None, None)

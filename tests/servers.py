"""Real servers as pytest fixtures: what is not installed is skipped, loudly, or fails where that is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import pytest

from evenkeel.testing.servers import REQUIRE_SERVERS, Server, ServerMissing, bind_server, embedded_server, knot_server

ZONE = "demo.example."

STARTERS: dict[str, Callable[..., AbstractContextManager[Server]]] = {
    "bind": bind_server,
    "knot": knot_server,
    # Without its guard, which is a rule of ours and none of RFC 2136's; tests/nameserver looks at that.
    "embedded": partial(embedded_server, is_guarded=False),
}
BIND = pytest.param("bind", marks=pytest.mark.bind)
KNOT = pytest.param("knot", marks=pytest.mark.knot)


def running(name: str, folder: Path) -> Iterator[Server]:
    """The server `name` with the zone `ZONE`, for a fixture to `yield from`."""
    with or_skipped(name), STARTERS[name](folder, [ZONE]) as server:
        yield server


@contextmanager
def or_skipped(name: str) -> Iterator[None]:
    """A server that is not installed skips the test, loudly, or fails it where that is asked for."""
    try:
        yield
    except ServerMissing as missing:
        if os.environ.get(REQUIRE_SERVERS) == "1":
            pytest.fail(str(missing))
        pytest.skip(f"NOT TESTED against {name}: {missing}")

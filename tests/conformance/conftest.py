"""The arms: one server of each kind for the whole session, a name of its own for each test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from evenkeel.testing.servers import Server
from tests.conformance.arms import Arm, ServerArm, TwinArm
from tests.servers import BIND, KNOT, ZONE, running

_names = itertools.count()
SERVERS = ["embedded", BIND, KNOT]


@pytest.fixture(scope="session", params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real server, shared by the tests that leave it running."""
    yield from running(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(params=SERVERS)
def own_server(request: pytest.FixtureRequest, tmp_path: object) -> Iterator[Server]:
    """A real server for one test, which may kill it."""
    folder = request.getfixturevalue("tmp_path")
    yield from running(request.param, folder)


@pytest.fixture(scope="session", params=["twin", *SERVERS])
def arm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arm]:
    """The twin or a real server."""
    if request.param == "twin":
        yield TwinArm()
    else:
        for server in running(request.param, tmp_path_factory.mktemp(f"{request.param}-arm")):
            yield ServerArm(server)


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"t{next(_names)}.{ZONE}"

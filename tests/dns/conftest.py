"""A real server a test, for tests that stop, pause or kill it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from evenkeel.testing.servers import Server
from tests.servers import BIND, KNOT, running

settings.register_profile("evenkeel", deadline=None)  # nothing here asserts a duration
settings.load_profile("evenkeel")


@pytest.fixture(params=["embedded", BIND, KNOT])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    yield from running(request.param, tmp_path)


@pytest.fixture(params=[BIND])
def bind(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """Where it makes no difference which server it is."""
    yield from running(request.param, tmp_path)

"""Room on hosts, as launches are placed."""

from __future__ import annotations

import numpy as np

from evenkeel.fleet.launches import RoomTable
from evenkeel.model.fleet import InstanceSpec

SPEC = InstanceSpec("web", 2, 1024)


def test_places_kept_for_hosts_that_are_not_known_yet_take_nothing_and_lose_nothing() -> None:
    room = RoomTable(np.random.default_rng(1))
    room.set_host(0, 8, 4096, True)
    room.place(0, SPEC)
    room.reserve(1000)
    everyone = np.ones(1000, np.bool_)
    assert len(room) == 1000
    assert room.find(SPEC, 4, everyone).tolist() == [0, 0, 0], "three more fit on the one host that is known"
    room.set_host(999, 8, 4096, True)
    room.reserve(10)
    assert len(room) == 1000, "places are never taken away"
    assert sorted(room.find(SPEC, 7, everyone).tolist()) == [0, 0, 0, 999, 999, 999, 999]

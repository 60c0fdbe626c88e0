"""What operators see of an az's managers: who has it, and who stands by."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

from rich.console import Console

from evenkeel.cli.fleet import managers_text
from evenkeel.cli.rendering import lease_table
from evenkeel.region.components import Kind
from evenkeel.region.observing import Observer
from evenkeel.region.picture import LeaseView
from tests.up.regions import small_region

FLEET = {
    "az": "a",
    "hosts": 3,
    "leased": 3,
    "epoch": 7,
    "store_is_lost": False,
    "eta_s": 0.0,
    "recovering_for_s": 0.0,
    "x_bound": 0.0,
}


def role(component: str, az: str = "a", *, holds: bool = False) -> dict[str, Any]:
    return {"component": component, "az": az, "is_holder": holds, "holder": "", "epoch": 7, "waits_for": ""}


class Answering(Observer):
    """Of managers that answer so."""

    def __init__(self, folder: Path, replies: list[dict[str, Any]]) -> None:
        # Its levers and its plans have no part in leases.
        super().__init__(small_region(folder), cast("Any", None), cast("Any", None))
        self._replies = replies

    async def _statuses(self, kind: Kind) -> list[dict[str, Any]]:
        assert kind is Kind.DROPLET_MANAGER
        return self._replies

    def seen(self) -> tuple[tuple[LeaseView, ...], list[str]]:
        return asyncio.run(self._leases())


def shown(views: tuple[LeaseView, ...]) -> str:
    console = Console(width=150)
    with console.capture() as captured:
        console.print(lease_table(views))
    return captured.get()


def test_status_shows_who_has_an_az_and_who_stands_by(tmp_path: Path) -> None:
    holder = {"role": role("manager-a-2", holds=True), "fleet": FLEET, "covered": 3, "instances": {"running": 2}}
    standby = {"role": role("manager-a"), "fleet": {}, "covered": None, "instances": None}
    views, notes = Answering(tmp_path, [standby, holder]).seen()
    assert notes == []
    assert [(view.manager, view.standbys, view.epoch) for view in views] == [("manager-a-2", ("manager-a",), 7)]
    head, row = shown(views).splitlines()
    assert head.split()[:4] == ["az", "manager", "stands", "by"]
    assert row.split()[:5] == ["a", "manager-a-2", "manager-a", "3/3", "3"]


def test_a_region_without_standbys_is_shown_without_them(tmp_path: Path) -> None:
    holder = {"role": role("manager-a", holds=True), "fleet": FLEET, "covered": 3, "instances": {}}
    views, _ = Answering(tmp_path, [holder]).seen()
    assert "stands by" not in shown(views)


def test_an_az_that_no_manager_has_is_named(tmp_path: Path) -> None:
    standby = {"role": role("manager-a-2"), "fleet": {}, "covered": None, "instances": None}
    views, notes = Answering(tmp_path, [standby, {"region": "an older process"}]).seen()
    assert views == ()
    assert notes == ["no manager has az a: manager-a-2 waiting"]


def test_leases_name_the_managers_only_where_an_az_has_several() -> None:
    told = [
        {"component": "manager-a", "az": "a", "role": "does not answer"},
        {"component": "manager-a-2", "az": "a", "role": "has it"},
        {"component": "manager-b", "az": "b", "role": "has it"},
    ]
    assert managers_text(told, "a") == "; manager-a does not answer, manager-a-2 has it"
    assert managers_text(told, "b") == ""

"""A live region and what a test does to it: ask, wait, hurt, look."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

from evenkeel.adapters.dns.resolve import Resolved, resolve
from evenkeel.adapters.dns.zone_client import ZoneClient
from evenkeel.adapters.journal import JournalReader, journal_folder
from evenkeel.endpoints.layout import fence_name
from evenkeel.model.events import Event, EventKind
from evenkeel.model.fence import Fence
from evenkeel.model.region import HostPort, ServerKind
from evenkeel.model.transactions import Change, Commit, Transaction
from evenkeel.region.keys import zone_key
from evenkeel.testing.regions import ZONE, LiveRegion, running
from evenkeel.testing.watch import Seen, ask, inspect

T = TypeVar("T")
WAIT_S = 60.0

DB = f"db.{ZONE}"
FLAT = f"flat.{ZONE}"


class Watcher(threading.Thread):
    """Clients and an inspector, as in the chaos run, beside whatever a test does."""

    def __init__(self, server: HostPort, endpoints: list[str]) -> None:
        super().__init__(daemon=True)
        self.seen = Seen()
        self._server = server
        self._endpoints = endpoints
        self._is_over = threading.Event()

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *raised: object) -> None:
        self._is_over.set()
        self.join(10.0)

    def run(self) -> None:
        asyncio.run(self._watch())

    async def _watch(self) -> None:
        stopping = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ask(self.seen, self._server, self._endpoints, stopping))
            tasks.create_task(inspect(self.seen, self._server, self._endpoints, stopping))
            await asyncio.to_thread(self._is_over.wait, 600.0)
            stopping.set()


class World:
    """A running region, with its endpoints published."""

    def __init__(self, live: LiveRegion) -> None:
        self.live = live
        self.endpoints = sorted(live.region.endpoints)
        self.watcher = Watcher(live.primary, self.endpoints)

    # --- looking --------------------------------------------------------------------------------------

    def ask(self, name: str, rtype: str = "A") -> Resolved:
        return asyncio.run(resolve(self.live.primary, name, rtype, deadline_s=3.0))

    def addresses(self, name: str) -> tuple[str, ...]:
        return self.ask(name).addresses

    def fence(self, name: str = DB) -> Fence:
        texts = self.ask(fence_name(name), "TXT").addresses
        assert len(texts) == 1, texts
        return Fence.parse(texts[0])

    def members(self, name: str) -> set[str]:
        """Every address published for a flat endpoint: a reply may carry a part, by weight."""
        with self.zone() as zone:
            return set(zone(lambda client: client.read(name)).a)

    def events(self, kind: EventKind) -> list[Event]:
        journal = JournalReader(journal_folder(self.live.region.state_dir))
        return [event for event in journal.history() if event.kind is kind]

    def evenkeel(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command, on this region."""
        command = [sys.executable, "-m", "evenkeel.cli.main", *arguments]
        environment = os.environ | {"EVENKEEL_REGION": str(self.live.folder / "region.toml")}
        return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            self.evenkeel("status", str(self.live.folder / "region.toml"), "--json").stdout
        )
        return found

    @contextlib.contextmanager
    def zone(self) -> Iterator[Callable[[Callable[[ZoneClient], Coroutine[Any, Any, T]]], T]]:
        """A client of the zone's primary, as anyone with the key may have one."""
        zone = self.live.region.zones[ZONE]

        async def do(act: Callable[[ZoneClient], Coroutine[Any, Any, T]]) -> T:
            async with ZoneClient(zone, zone_key(self.live.region, zone)) as client:
                return await act(client)

        yield lambda act: asyncio.run(do(act))

    # --- hurting --------------------------------------------------------------------------------------

    def by_hand(self, *changes: Change) -> None:
        """A foreign writer with a valid key changes the zone."""
        with self.zone() as zone:
            assert zone(lambda client: client.commit(Transaction(ZONE, (), changes))) is Commit.APPLIED

    def order(self, balancer: str, order: str) -> None:
        """Tell a demo backend to behave: fail, recover, capacity/N..."""
        found = self.live.region.load_balancers[balancer]
        url = f"http://{found.ipv4[0]}:{found.probe.port}/-/{order}"
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=2),
        ):
            pass

    def pid(self, component: str) -> int:
        return wait_for(lambda: self.live.pids().get(component, 0), f"{component} runs")

    def kill(self, component: str) -> None:
        os.kill(self.pid(component), signal.SIGKILL)

    @contextlib.contextmanager
    def paused(self, *components: str) -> Iterator[None]:
        """SIGSTOP, then SIGCONT."""
        pids = [self.pid(component) for component in components]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def move_plans(self, count: int) -> None:
        """Let the Planner make `count` generations: capacities move."""
        goal = self.fence().generation + count
        capacities = [60, 100, 160, 80]

        def moved() -> bool:
            capacities.append(capacities.pop(0))
            for number, balancer in enumerate(sorted(self.live.region.load_balancers)):
                self.order(balancer, f"capacity/{capacities[number % 4]}")
            time.sleep(0.3)
            return self.fence().generation >= goal

        wait_for(moved, f"generation {goal} published")


def wait_for(condition: Callable[[], T], what: str, deadline_s: float = WAIT_S) -> T:
    """Poll until `condition` is true; its value. Fails naming `what` did not come about."""
    until = time.monotonic() + deadline_s
    while not (found := condition()):
        assert time.monotonic() < until, f"not within {deadline_s:g} s: {what}"
        time.sleep(0.05)
    return found


@contextlib.contextmanager
def world(kind: ServerKind, folder: Path, policy: str = "safe", accounts: int = 3) -> Iterator[World]:
    """A region on a server of that kind, up and with every endpoint published."""
    with running(kind, folder, policy, accounts) as live:
        found = World(live)
        try:
            for endpoint in found.endpoints:
                wait_for(lambda name=endpoint: _answers(found, name), f"{endpoint} published")  # type: ignore[misc] # mypy cannot infer a lambda with a default
        except AssertionError as error:
            raise AssertionError(f"{error}\n{(folder / 'up.log').read_text()[-3000:]}") from None
        with found.watcher:
            yield found


def _answers(found: World, name: str) -> bool:
    try:
        return bool(found.addresses(name))
    except Exception:  # the server is not there yet, whatever way that shows
        return False

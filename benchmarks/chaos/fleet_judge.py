"""Looks at a fleet while faults go on: at the store, at the hosts' own disks, at the processes that live.

Every look is ordered so that what is in flight cannot be taken for a fault: a host's lease is read before the store
that has to have it, the store before the processes that it has to know, and the processes before the lease that has to
cover them.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from benchmarks.chaos.fleet_clients import Ledger
from evenkeel.adapters.instances.keeper import boot_s
from evenkeel.adapters.journal import JournalReader, journal_folder
from evenkeel.adapters.lease_store.postgres import PostgresLeaseStore
from evenkeel.adapters.table_service.sqlite import SqliteTables
from evenkeel.model.errors import EvenkeelError
from evenkeel.model.events import EventKind
from evenkeel.model.fleet import Host, Instance, InstanceState, epoch_of
from evenkeel.region.components import host_az
from evenkeel.region.fleet import fleet_of
from evenkeel.testing.fleets import RunningFleet, Workload

LOOK_EVERY_S = 0.4
OVERRUN_S = 1.0  # a keeper looks five times a second, on a machine that has other work
_GONE = (InstanceState.TERMINATED,)


class Judge:
    """Findings go to the ledger, under the names of `fleet.FINDINGS`."""

    def __init__(self, fleet: RunningFleet, ledger: Ledger) -> None:
        self._fleet, self._ledger = fleet, ledger
        database = fleet_of(fleet.region).database
        self.store: SqliteTables | PostgresLeaseStore = (
            PostgresLeaseStore(database)
            if database
            else SqliteTables(Path(fleet.region.state_dir) / "tables" / "tables.sqlite")
        )
        self.looks = 0
        self.takeovers = 0
        self.overrun_max_s = 0.0
        self._newest: defaultdict[str, int] = defaultdict(int)  # generation of each host, recorded or held
        self._owners: dict[tuple[str, int], str] = {}  # az, generation -> host
        self._epochs: defaultdict[str, int] = defaultdict(int)
        self._states: dict[str, InstanceState] = {}
        self._ends: dict[str, float] = {}
        self._said: set[tuple[str, str]] = set()
        self.seen_lost: set[str] = set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Look again and again until told to stop."""
        while not stopping.is_set():
            await self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    def close(self) -> None:
        self.store.close()

    async def look(self) -> None:
        """Once. A store that is away is no finding, and no look."""
        held = {host: self._fleet.held(host) for host in self._fleet.hosts}
        try:
            hosts = {each.name: each for az in self._fleet.region.azs for each in await self.store.hosts(az)}
            tenures = {az: (await self.store.tenure(az)).epoch for az in self._fleet.region.azs}
            records = {each.instance: each for each in await self.store.instances()}
        except EvenkeelError:
            self._ledger.counts["looks without the store"] += 1
            return
        self.looks += 1
        self._leases(held, hosts, tenures)
        self._instances(records.values())
        asked_boot_s = boot_s()
        found = self._fleet.workloads()
        self._covered(found, asked_boot_s)
        await self._processes(found, records)

    def _finding(self, kind: str, what: str, detail: str) -> None:
        """Each is told once: what is wrong now will be so at the next look too."""
        if (kind, what) not in self._said:
            self._said.add((kind, what))
            self._ledger.finding(kind, f"{what} {detail}")

    # --- leases -----------------------------------------------------------------------------------------

    def _leases(self, held: dict[str, tuple[int, int]], hosts: dict[str, Host], tenures: dict[str, int]) -> None:
        for az, epoch in tenures.items():
            if epoch < self._epochs[az]:
                self._finding("leased twice", az, f"went back from epoch {self._epochs[az]} to {epoch}")
            self._epochs[az] = epoch
        for name, (generation, epoch) in held.items():
            az, recorded = host_az(self._fleet.region, name), hosts.get(name)
            if generation and (recorded is None or generation > recorded.generation):
                self._finding("leased twice", name, f"holds {generation}, which the store has not")
            if max(epoch, epoch_of(generation)) > tenures[az]:
                self._finding("two managers", name, f"obeys epoch {epoch}, and az {az} is in {tenures[az]}")
            self._own(az, name, generation)
        for recorded in hosts.values():
            self._own(recorded.az, recorded.name, recorded.generation)
            if recorded.generation < self._newest[recorded.name]:
                newest = self._newest[recorded.name]
                self._finding("leased twice", recorded.name, f"went back from {newest} to {recorded.generation}")
            self._newest[recorded.name] = recorded.generation

    def _own(self, az: str, host: str, generation: int) -> None:
        if generation and self._owners.setdefault((az, generation), host) != host:
            other = self._owners[az, generation]
            self._finding("leased twice", host, f"and {other} were both given {generation} in az {az}")

    def count_takeovers(self) -> None:
        """From all journals: every epoch was had by one manager."""
        had: Counter[tuple[str, int]] = Counter()
        for event in JournalReader(journal_folder(self._fleet.region.state_dir)).history():
            if event.kind is EventKind.TOOK_OVER:
                az = next(az for az in self._fleet.region.azs if f" az {az} " in event.detail)
                had[az, event.generation] += 1
        for (az, epoch), count in had.items():
            if count > 1:
                self._finding("two managers", az, f"was taken over {count} times in epoch {epoch}")
        self.takeovers = len(had)

    @property
    def leases(self) -> int:
        """Different ones that were seen."""
        return len(self._owners)

    # --- instances --------------------------------------------------------------------------------------

    def _instances(self, records: Iterable[Instance]) -> None:
        tokens: Counter[str] = Counter()
        for each in records:
            tokens[each.token] += 1
            before = self._states.get(each.instance)
            is_back = before in _GONE or (before is InstanceState.STOPPING and each.state not in _GONE)
            if before is not None and before is not each.state and is_back:
                self._finding("terminate lost", each.instance, f"went back from {before} to {each.state}")
            self._states[each.instance] = each.state
            if each.state is InstanceState.LOST:
                self.seen_lost.add(each.instance)
        for token, count in tokens.items():
            launch = self._ledger.launches.get(token)
            if launch is None or count > launch.count:
                asked = launch.count if launch is not None else 0
                self._finding("launched twice", token, f"asked for {asked}, and {count} are recorded")

    def _covered(self, found: list[Workload], asked_boot_s: float) -> None:
        """Processes seen after `asked_boot_s`, against leases that are read only now."""
        for each in found:
            ends_boot_s = self._fleet.lease_ends_boot_s(each.host) or self._ends.get(each.host, 0.0)
            self._ends[each.host] = ends_boot_s
            overrun_s = asked_boot_s - ends_boot_s
            if overrun_s > 0 and ends_boot_s:
                self.overrun_max_s = max(self.overrun_max_s, overrun_s)
            if overrun_s > OVERRUN_S:
                self._finding(
                    "ran without a lease", each.instance, f"on {each.host}, {overrun_s:.1f} s after the lease's end"
                )

    async def _processes(self, found: list[Workload], records: dict[str, Instance]) -> None:
        by_instance: defaultdict[str, list[Workload]] = defaultdict(list)
        for each in found:
            by_instance[each.instance].append(each)
        unknown = [instance for instance in by_instance if instance not in records]
        if unknown:  # recorded since, it must be
            try:
                records = records | {each.instance: each for each in await self.store.instances()}
            except EvenkeelError:
                for instance in unknown:  # not to be judged now
                    del by_instance[instance]
        for instance, processes in by_instance.items():
            if sum(each.lives() for each in processes) > 1:
                self._finding("ran twice", instance, f"as {processes}")
            if instance not in records:
                self._finding("ran unrecorded", instance, f"as {processes}")
            record = records.get(instance)
            if record is None:
                continue
            if record.host != processes[0].host:
                self._finding("ran twice", instance, f"on {processes[0].host}, recorded on {record.host}")
            if record.state in _GONE and instance not in unknown and processes[0].lives():
                self._finding("ran after its end", instance, f"on {record.host}: terminated, and it lives")

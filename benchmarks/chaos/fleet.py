"""Faults at random against a fleet: `python -m benchmarks.chaos.fleet [--minutes 10] [--seed N] [--hosts 6]`.

A region with a fleet of real processes; clients that launch, describe and terminate, and repeat what had no answer;
kill -9 and SIGSTOP of managers, agents, the table service's front ends, the launch API and the zone's server. A judge
says with counts whether a host was leased twice, an instance launched twice or lost, an acknowledged change lost,
anything run without a lease. With `--store postgres` the table service stands on a PostgreSQL that is killed too.

It takes the minutes asked for and up to four more to come to rest. Loopback alone, bounded, ends by itself; exit code 0
if every count that has to be zero is zero, 1 if not.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.chaos.fleet_clients import ACCOUNTS, Clients, Ledger
from benchmarks.chaos.fleet_faults import FleetFaults
from benchmarks.chaos.fleet_judge import Judge
from benchmarks.chaos.signals import Signals
from evenkeel.adapters.droplet_manager.client import ManagerClient
from evenkeel.adapters.secrets import read_secret
from evenkeel.model.errors import Unreachable
from evenkeel.region.fleet import controls_of
from evenkeel.testing.fleets import RunningFleet, running_fleet
from evenkeel.testing.postgres import Cluster, cluster

MINUTES_MAX = 45.0  # terminated instances are described for an hour, and every one of them is asked for
AZS = 2
MANAGERS_PER_AZ = 2  # one has the az, one stands by
TAKEOVER_AFTER_S = 2.0
CLIENTS = 4
TERM_S = 4.0
CALM_SHARE = 0.3  # of the time, at first, managers are spared: leases end as they do under one manager
HOST_CPUS = 4
UP_DEADLINE_S = 60.0
FINISH_S = 60.0  # what clients have begun when the faults end
CONVERGE_S = 90.0
TELL_EVERY_S = 30.0
FINDINGS = (
    "leased twice",
    "two managers",
    "launched twice",
    "ran twice",
    "ran unrecorded",
    "ran without a lease",
    "ran after its end",
    "launch lost",
    "ended unasked",
    "terminate lost",
    "internal error",
    "not converged",
)


class Chaos:
    """One run."""

    def __init__(self, fleet: RunningFleet, database: Cluster | None, seed: int, hosts: int) -> None:
        self.ledger, self.faults = Ledger(), Counter[str]()
        self._fleet, self._database, self._seed, self._hosts = fleet, database, seed, hosts
        self.judge: Judge | None = None
        self.converged_s = 0.0

    async def run(self, minutes: float) -> None:
        if not await self._until(self._fleet.are_covered, UP_DEADLINE_S):
            self.ledger.finding("not converged", "the fleet did not come up")
            return
        self.judge = Judge(self._fleet, self.ledger)
        try:
            await self._trouble(self.judge, minutes)
            began_s = time.monotonic()
            await self._rest(self.judge, "after the faults")
            self.converged_s = time.monotonic() - began_s
            await self._restart_store()
            await self._rest(self.judge, "after a restart of the store")
            self.judge.count_takeovers()
        finally:
            self.judge.close()

    async def _trouble(self, judge: Judge, minutes: float) -> None:
        """Faults and clients for so long; then the clients finish what they have begun, without faults."""
        over, faults_over, give_up = asyncio.Event(), asyncio.Event(), asyncio.Event()
        clients = Clients(self._fleet, self.ledger, self._seed, running_max=self._hosts * 2)
        faults = FleetFaults(self._fleet, self._database, self.faults, self._seed)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(judge.run(give_up))
            troubling = tasks.create_task(faults.run(faults_over))
            working = tasks.create_task(clients.run(CLIENTS, over, give_up))
            await self._progress(minutes * 60, faults)
            faults_over.set()
            await troubling
            over.set()
            await asyncio.wait({working}, timeout=FINISH_S)
            if not working.done():
                self.ledger.finding("not converged", "clients got no answer without any fault")
            give_up.set()

    async def _progress(self, seconds: float, faults: FleetFaults) -> None:
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0:
            await asyncio.sleep(min(TELL_EVERY_S, left_s))
            faults.spares_managers = until_s - time.monotonic() > seconds * (1 - CALM_SHARE)
            counts = self.ledger.counts
            print(
                f"    {max(0.0, until_s - time.monotonic()):5.0f} s left, {len(self.ledger.acknowledged)} instances, "
                f"{counts['calls']} calls, {self.faults.total()} faults, {self.ledger.findings.total()} findings",
                flush=True,
            )

    # --- rest -------------------------------------------------------------------------------------------

    async def _rest(self, judge: Judge, when: str) -> None:
        """Whether everything comes to be as it was acknowledged."""
        wrong: list[str] = ["not asked"]
        deadline_s = time.monotonic() + CONVERGE_S
        while wrong and time.monotonic() < deadline_s:
            await asyncio.sleep(0.5)
            await judge.look()
            wrong = await self._wrong()
        for line in wrong[:10]:
            self.ledger.finding("not converged", f"{when}: {line}")

    async def _wrong(self) -> list[str]:
        """What is not yet as it has to be."""
        if not self._fleet.are_covered():
            return ["not every host holds a lease"]
        wrong: list[str] = []
        for account in ACCOUNTS:
            client = self._fleet.client(account)
            try:
                before = self.ledger.expected(account)
                reply = await client.described()
            except Unreachable as error:
                return [str(error)]
            finally:
                client.close()
            if reply.status != 200:
                return [f"describe: {reply.status} {reply.code}"]
            self.ledger.described(account, before, reply.instances)
            wanted = {name: "terminated" if is_ended else "running" for name, is_ended in before.items()}
            states = {each["instance"]: each["state"] for each in reply.instances}
            wrong += [
                f"{name} is {states.get(name)}, not {state}"
                for name, state in wanted.items()
                if states.get(name) != state
            ]
            rows = [each for each in reply.instances if each["state"] == "running"]
            heard = await asyncio.gather(*(_answers(each["address"], each["instance"]) for each in rows))
            wrong += [f"{each['instance']} does not answer" for each, ok in zip(rows, heard, strict=True) if not ok]
        living = Counter(each.instance for each in self._fleet.workloads())
        wrong += [f"{name} lives, and was ended" for name in living if name in self.ledger.ended]
        return wrong + await self._misplaced(living.total())

    async def _misplaced(self, instances: int) -> list[str]:
        """Whether the managers count as much room taken as there are instances, of one processor each."""
        region, taken = self._fleet.region, 0
        for az in region.azs:
            manager = ManagerClient(controls_of(region, az), read_secret(region.state_dir, "fleet"))
            try:
                taken += sum(each.host.cpus - each.cpus_free for each in await manager.hosts())
            except Unreachable as error:
                return [str(error)]
            finally:
                await manager.close()
        return [f"managers count room for {taken} instances, and {instances} run"] if taken != instances else []

    async def _restart_store(self) -> None:
        """What was acknowledged has to be on the disk: every front end is killed at once, and the database."""
        for name, pid in self._fleet.pids().items():
            if name.startswith("table-"):
                Signals().kill(pid)
        if self._database is not None:
            await asyncio.to_thread(self._database.kill)
            await asyncio.to_thread(self._database.start)

    async def _until(self, holds: Callable[[], bool], deadline_s: float) -> bool:
        until_s = time.monotonic() + deadline_s
        while not holds():
            if time.monotonic() > until_s:
                return False
            await asyncio.sleep(0.3)
        return True


async def _answers(address: str, instance: str) -> bool:
    """Whether the instance says over HTTP that it is the one."""
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(2.0):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(f"GET / HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
            said = await reader.read(4096)
            writer.close()
    except (OSError, TimeoutError, ValueError):
        return False
    return f"instance {instance} ".encode() in said


def report(chaos: Chaos, minutes: float) -> bool:
    """Print the table; whether it is good."""
    ledger, judge = chaos.ledger, chaos.judge
    print(f"\n{minutes:g} minutes, {chaos.faults.total()} faults")
    for name, count in sorted(chaos.faults.items()):
        print(f"    {count:6}  {name}")
    print("what clients did")
    print(f"    {len(ledger.acknowledged):6}  instances acknowledged, {len(ledger.ended)} ends acknowledged")
    for name, count in sorted(ledger.counts.items()):
        print(f"    {count:6}  {name}")
    if judge is not None:
        print("what the judge saw")
        print(f"    {judge.looks:6}  looks, {judge.leases} leases, {judge.takeovers} takeovers")
        print(f"    {len(judge.seen_lost):6}  instances said to be lost with their hosts' leases")
        print(f"    {judge.overrun_max_s:6.2f}  s that an instance lived beyond its host's lease, at most")
        print(f"    {chaos.converged_s:6.1f}  s from the last call to everything as acknowledged")
    print("what has to be zero")
    for name in FINDINGS:
        print(f"    {ledger.findings[name]:6}  {name}")
    for line in ledger.told:
        print(f"    {line}")
    is_good = judge is not None and not ledger.findings.total()
    print("GOOD" if is_good else "BAD", flush=True)
    return is_good


@contextlib.contextmanager
def _database(store: str) -> Iterator[Cluster | None]:
    if store == "postgres":
        with cluster() as database:
            yield database
    else:
        yield None


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos.fleet", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of faults")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of faults and clients")
    parser.add_argument("--hosts", type=int, default=6, help=f"in all, shared by {AZS} azs")
    parser.add_argument("--store", default="sqlite", choices=["sqlite", "postgres"], help="of the table service")
    parser.add_argument("--keep", type=Path, help="folder for logs, journals and state; removed without it")
    asked = parser.parse_args()
    minutes, hosts = min(asked.minutes, MINUTES_MAX), max(1, asked.hosts // AZS)
    print(
        f"chaos of a fleet: {minutes:g} minutes of faults and up to 4 more; {AZS * hosts} hosts, {asked.store}, "
        f"seed {asked.seed}",
        flush=True,
    )
    with contextlib.ExitStack() as stack:
        folder = asked.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-fleet-")))
        folder.mkdir(parents=True, exist_ok=True)
        database = stack.enter_context(_database(asked.store))
        dsn = database.dsn if database is not None else ""
        fleet = stack.enter_context(
            running_fleet(
                folder,
                azs=AZS,
                hosts=hosts,
                host_cpus=HOST_CPUS,
                term_s=TERM_S,
                managers_per_az=MANAGERS_PER_AZ,
                takeover_after_s=TAKEOVER_AFTER_S,
                database=dsn,
            )
        )
        chaos = Chaos(fleet, database, asked.seed, AZS * hosts)
        asyncio.run(chaos.run(minutes))
        is_good = report(chaos, minutes)
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())

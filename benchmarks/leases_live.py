"""A fleet's recovery for real: a manager in one process, every agent's link in another, over loopback, with real work.

An establishment is a host's state check (a key derivation of about `--work-ms`, on a worker thread) and its record in
SQLite, synced. All hosts lose their leases at once and say so within a second. The limit is the time that the work
itself took, on this machine at this time: so what else the machine does counts on both sides of the ratio.

    python -m benchmarks.leases_live [--hosts 30000] [--work-ms 1.0] [--naive-s 60]

Beside the sweep, in the same run: October 2025's policy (first come, first served; hosts retry when their request times
out), which stays stuck. Links are plain TCP here: 30,000 handshakes would measure TLS.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import multiprocessing
import resource
import socket
import sqlite3
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from evenkeel.adapters.droplet_manager.leases import Doing, LeaseDriver
from evenkeel.adapters.droplet_manager.roster import Roster
from evenkeel.adapters.fleet_messages import (
    CallFrame,
    ContactFrame,
    GrantFrame,
    RefusedFrame,
    Report,
    WaitFrame,
    encoder,
    read_at_agent,
)
from evenkeel.adapters.table_service.sqlite import SqliteTables
from evenkeel.fleet.arrays import Ids
from evenkeel.fleet.hosts import HostTable
from evenkeel.fleet.manager import make_manager
from evenkeel.fleet.retries import RetryManager
from evenkeel.fleet.takeover import take_over
from evenkeel.model.fleet import Granted, Host
from evenkeel.model.fleet_policy import OCTOBER_2025_FLEET, SAFE_FLEET, FleetPolicy

BAR = 1.10
AZ = "a"
TURN_S = 0.02
CONNECTING = 256  # at once
LIMIT_S = 600.0
OTHER_FILES = 500
_LENGTH = struct.Struct("!I")


@dataclass(frozen=True, slots=True)
class Told:
    """What the manager's process says at the end."""

    work_s: float
    established: int
    counts: dict[str, int]


def links_possible(wanted: int) -> int:
    """Let this process have a link for each of `wanted` hosts; for how many there is leave."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted + OTHER_FILES, max(wanted + OTHER_FILES, hard)))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        print(
            f"a process may have {hard:,} files open here: {hard - OTHER_FILES:,} hosts instead of {wanted:,},"
            f" each with {wanted / (hard - OTHER_FILES):.2f} times the work"
        )
        return hard - OTHER_FILES
    return wanted


def rounds_of(work_ms: float) -> int:
    """Rounds of the key derivation that take so long on this machine, now."""
    rounds = 20_000
    began_s = time.thread_time()
    hashlib.pbkdf2_hmac("sha256", b"host", b"salt", rounds)
    return max(1, round(rounds * work_ms / 1000 / (time.thread_time() - began_s)))


# --- the manager's process --------------------------------------------------------------------------------


class ManagerSide(asyncio.Protocol):
    """One host's link: four octets of number first, then frames."""

    def __init__(self, links: dict[str, asyncio.Transport], drivers: list[LeaseDriver]) -> None:
        self._links, self._drivers = links, drivers
        self._held = bytearray()
        self._host = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._held += data
        if not self._host and len(self._held) >= _LENGTH.size:
            self._host = f"host-{_LENGTH.unpack_from(self._held)[0]}"
            self._links[self._host] = self._transport
            del self._held[: _LENGTH.size]
        frames = cut(self._held)
        if frames and self._drivers:
            self._drivers[0].on_frames(self._host, frames)


def cut(held: bytearray) -> list[bytes]:
    frames, at = [], 0
    while len(held) - at >= _LENGTH.size:
        (length,) = _LENGTH.unpack_from(held, at)
        if len(held) < at + _LENGTH.size + length:
            break
        frames.append(bytes(held[at + _LENGTH.size : at + _LENGTH.size + length]))
        at += _LENGTH.size + length
    del held[:at]
    return frames


def stocked(path: Path, hosts: int) -> list[Host]:
    """The inventory, put there at once: joining one by one is synced one by one."""
    inventory = [Host(number, f"host-{number}", AZ, 8, 4096) for number in range(hosts)]
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.executemany(
            "INSERT INTO hosts (az, number, name, cpus, memory_mib, state) VALUES (?, ?, ?, ?, ?, ?)",
            [(host.az, host.number, host.name, host.cpus, host.memory_mib, host.state.value) for host in inventory],
        )
    return inventory


def manage(pipe: Connection, policy: FleetPolicy, hosts: int, rounds: int, folder: str) -> None:
    links_possible(hosts)
    asyncio.run(_manage(pipe, policy, hosts, rounds, Path(folder)))


async def _manage(pipe: Connection, policy: FleetPolicy, hosts: int, rounds: int, folder: Path) -> None:
    loop = asyncio.get_running_loop()
    store = SqliteTables(folder / "tables.sqlite")
    inventory = stocked(folder / "tables.sqlite", hosts)
    tenure = await take_over(store, AZ, "bench", 60.0)
    assert tenure is not None
    manager = make_manager(policy, AZ, tenure.epoch, np.random.default_rng(1), time.monotonic())
    manager.add(0, hosts)
    work = {"s": 0.0, "count": 0}
    links: dict[str, asyncio.Transport] = {}

    def check_hosts(count: int) -> None:
        for _ in range(count):
            hashlib.pbkdf2_hmac("sha256", b"host", b"salt", rounds)

    async def establish(grants: Sequence[Granted]) -> None:
        began_s = time.monotonic()
        await asyncio.to_thread(check_hosts, len(grants))
        await store.record_grants(AZ, tenure.epoch, grants)
        work["s"] += time.monotonic() - began_s
        work["count"] += len(grants)

    async def launch(numbers: Ids) -> None:
        """Nobody launches here."""

    def send(host: str, frame: bytes) -> bool:
        link = links.get(host)
        if link is None or link.is_closing():
            return False
        link.write(_LENGTH.pack(len(frame)) + frame)
        return True

    def report(number: int, said: Report) -> None:
        """Nothing runs here."""

    doing = Doing(establish, None, launch)
    is_naive = isinstance(manager, RetryManager)
    driver = LeaseDriver(manager, policy, Roster(inventory), send, doing, time.monotonic, report, is_naive)
    drivers: list[LeaseDriver] = [driver]
    server = await loop.create_server(lambda: ManagerSide(links, drivers), "127.0.0.1", 0, backlog=4096)
    pipe.send(server.sockets[0].getsockname()[1])
    async with asyncio.timeout(LIMIT_S):
        while len(links) < hosts:  # noqa: ASYNC110 - 30,000 links come; a look now and then is cheaper than an event each
            await asyncio.sleep(0.05)
    pipe.send("ready")
    tasks = [asyncio.create_task(driver.run()), asyncio.create_task(driver.work())]
    while not pipe.poll():
        manager.store_seen(time.monotonic())
        await asyncio.sleep(0.05)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    server.close()
    store.close()
    pipe.send(Told(work["s"], int(work["count"]), dict(driver.counts)))


# --- every agent, in this process ---------------------------------------------------------------------------


class AgentSide(asyncio.Protocol):
    """One agent's link; what comes goes to the fleet."""

    def __init__(self, number: int, fleet: Agents) -> None:
        self._number, self._fleet = number, fleet
        self._held = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport.write(_LENGTH.pack(self._number))
        self._fleet.links[self._number] = transport

    def data_received(self, data: bytes) -> None:
        self._held += data
        self._fleet.came.extend((self._number, frame) for frame in cut(self._held))


class Agents:
    """Hosts' tables over real links."""

    def __init__(self, hosts: int, policy: FleetPolicy) -> None:
        self.table = HostTable(hosts, policy, np.random.default_rng(2))
        self.links: list[asyncio.Transport | None] = [None] * hosts
        self.came: list[tuple[int, bytes]] = []
        self.counts: Counter[str] = Counter()
        self._everyone = np.arange(hosts, dtype=np.int32)

    def begin(self, now_s: float) -> None:
        """All leases are lost; everybody says so within a second."""
        self.table.next_s[:] = now_s + np.random.default_rng(3).random(len(self.table))

    def turn(self, now_s: float) -> int:
        """Hear what came, contact where it is time; how many hold a lease."""
        came, self.came = self.came, []
        calls = []
        for number, frame in came:
            message = read_at_agent(frame)
            if isinstance(message, CallFrame):
                calls.append((number, message.epoch))
            else:
                self._obey(np.array([number], np.int32), message, now_s)
        if calls:
            who = np.array(sorted({number for number, _ in calls}), np.int32)
            self._send(self.table.called(who, calls[0][1], now_s))
        due = self.table.due(self._everyone, now_s)
        self.table.contact(due, now_s)
        self._send(due)
        return self.table.count_held(now_s)

    def _obey(self, who: Ids, message: object, now_s: float) -> None:
        table = self.table
        self.counts[type(message).__name__] += 1
        if isinstance(message, GrantFrame):
            answers = np.array([message.answers])
            term_s, next_s, poll_s, phase_s = (
                np.array([each], np.float32)
                for each in (message.term_s, message.next_contact_s, message.poll_s, message.phase_s)
            )
            generation = np.array([message.generation])
            table.granted(who, message.epoch, generation, answers, term_s, next_s, poll_s, phase_s, now_s)
        elif isinstance(message, WaitFrame):
            after_s = np.array([message.after_s], np.float32)
            table.told_to_wait(who, message.epoch, np.array([message.answers]), after_s, now_s)
        elif isinstance(message, RefusedFrame):
            table.refused(who, np.array([message.answers]), now_s)

    def _send(self, who: Ids) -> None:
        table = self.table
        rows = zip(
            who.tolist(),
            table.sequence[who].tolist(),
            table.generation[who].tolist(),
            table.epoch[who].tolist(),
            strict=True,
        )
        for number, sequence, generation, epoch in rows:
            frame = encoder.encode(ContactFrame(sequence, generation, epoch))
            link = self.links[number]
            if link is not None:
                link.write(_LENGTH.pack(len(frame)) + frame)
        self.counts["contacts"] += len(who)


@dataclass(frozen=True, slots=True)
class Recovered:
    took_s: float
    leased: int
    told: Told
    messages: int


async def recover(hosts: int, policy: FleetPolicy, rounds: int, limit_s: float, folder: str) -> Recovered:
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=manage, args=(there, policy, hosts, rounds, folder))
    process.start()
    try:
        agents = Agents(hosts, policy)
        await _connect(agents, hosts, here)
        began_s = time.monotonic()
        agents.begin(began_s)
        leased = 0
        while leased < hosts and time.monotonic() < began_s + limit_s:
            leased = agents.turn(time.monotonic())
            await asyncio.sleep(TURN_S)
        took_s = time.monotonic() - began_s
        here.send("stop")
        told = await asyncio.to_thread(here.recv)
        messages = agents.counts["contacts"] + told.counts.get("replies", 0)
        return Recovered(took_s, leased, told, messages)
    finally:
        process.join(10)
        if process.is_alive():
            process.kill()


async def _connect(agents: Agents, hosts: int, here: Connection) -> None:
    loop, port = asyncio.get_running_loop(), await asyncio.to_thread(here.recv)
    # One address has 28,000 ports towards another: the loopback network has enough addresses.
    for start in range(0, hosts, CONNECTING):
        await asyncio.gather(
            *(
                loop.create_connection(
                    lambda number=number: AgentSide(number, agents),  # type: ignore[misc]  # bound now
                    "127.0.0.1",
                    port,
                    local_addr=(f"127.0.{1 + number // 10_000}.1", 0),
                )
                for number in range(start, min(start + CONNECTING, hosts))
            )
        )
    await asyncio.to_thread(here.recv)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=30_000)
    parser.add_argument("--work-ms", type=float, default=1.0)
    parser.add_argument("--naive-s", type=float, default=60.0)
    arguments = parser.parse_args()
    wanted, arguments.hosts = arguments.hosts, links_possible(arguments.hosts)
    # As much work in all: what a line of requests collapses under is its length in time.
    work_ms = arguments.work_ms * wanted / arguments.hosts
    rounds = rounds_of(work_ms)
    with tempfile.TemporaryDirectory() as folder:
        swept = asyncio.run(recover(arguments.hosts, SAFE_FLEET, rounds, LIMIT_S, folder))
    ratio = swept.took_s / swept.told.work_s
    is_met = swept.leased == arguments.hosts and ratio <= BAR
    print(
        f"sweep          {swept.leased:,} of {arguments.hosts:,} hosts leased in {swept.took_s:.1f} s;"
        f" the work itself took {swept.told.work_s:.1f} s: {ratio:.3f} x limit (bar {BAR}),"
        f" {swept.messages / arguments.hosts:.1f} messages a host"
    )
    october = replace(OCTOBER_2025_FLEET, term_s=SAFE_FLEET.term_s)
    with tempfile.TemporaryDirectory() as folder:
        naive = asyncio.run(recover(arguments.hosts, october, rounds, arguments.naive_s, folder))
    print(
        f"october-2025   {naive.leased:,} of {arguments.hosts:,} hosts leased after {naive.took_s:.1f} s;"
        f" {naive.told.established:,} establishments done, {naive.messages / arguments.hosts:.1f} messages a host"
    )
    is_met &= naive.leased < arguments.hosts
    print(f"{'met' if is_met else 'MISSED'}: the sweep within {BAR}, where October's policy stays stuck")
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())

"""The lease store on disk: SQLite in WAL mode, shared by the front ends of one machine, synced before each reply.

Every write is one transaction that takes the file's write lock first, so what it compares cannot change before it sets:
that is the compare-and-set of the takeover, and the fence of every manager's write.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from evenkeel.model.errors import InputError, StoreCorrupt, StoreUnwritable
from evenkeel.model.fleet import (
    Amnesty,
    Granted,
    Host,
    HostState,
    Instance,
    InstanceSpec,
    InstanceState,
    Tenure,
)
from evenkeel.ports.lease_rules import (
    TERMINATED_KEPT_S,
    check_epoch,
    check_launch,
    epoch_after,
    in_state,
    joined_anew,
    may_be_asked_to_stop,
    may_become,
)

T = TypeVar("T")

BUSY_MS = 2000
_VERSION = 2
_SCHEMA = """
CREATE TABLE tenures (
    az TEXT PRIMARY KEY, epoch INTEGER NOT NULL, manager TEXT NOT NULL, capacity_per_s REAL NOT NULL DEFAULT 0,
    amnesty_epoch INTEGER NOT NULL DEFAULT 0, amnesty_generation INTEGER NOT NULL DEFAULT 0,
    amnesty_extend_s REAL NOT NULL DEFAULT 0, beat INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE hosts (
    az TEXT NOT NULL, number INTEGER NOT NULL, name TEXT NOT NULL UNIQUE, cpus INTEGER NOT NULL,
    memory_mib INTEGER NOT NULL, state TEXT NOT NULL, generation INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (az, number)
) WITHOUT ROWID;
CREATE TABLE instances (
    instance TEXT PRIMARY KEY, account TEXT NOT NULL, token TEXT NOT NULL, kind TEXT NOT NULL, cpus INTEGER NOT NULL,
    memory_mib INTEGER NOT NULL, az TEXT NOT NULL, host TEXT NOT NULL, generation INTEGER NOT NULL,
    state TEXT NOT NULL, address TEXT NOT NULL DEFAULT '', ended_at_s INTEGER
) WITHOUT ROWID;
CREATE INDEX instances_by_launch ON instances (account, token);
CREATE INDEX instances_by_az ON instances (az);
"""
_FROM_1 = "ALTER TABLE tenures ADD COLUMN beat INTEGER NOT NULL DEFAULT 0"
_HOST = "number, name, az, cpus, memory_mib, state, generation"
_INSTANCE = "instance, account, token, kind, cpus, memory_mib, az, host, generation, state, address"


class SqliteTables:
    """`ports.fleet.LeaseStore`. Calls run one after the other on a thread of their own."""

    def __init__(self, path: Path, *, wall_s: Callable[[], float] = time.time) -> None:
        """Open or create. Raises `StoreCorrupt`, `StoreUnwritable`, `InputError`."""
        self._path, self._wall_s = path, wall_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tables")
        try:
            path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        except OSError as error:
            raise InputError.one(str(path), f"cannot be made: {error.strerror}", "mend the folder's mode") from error
        self._db = self._said_plainly(self._opened)

    def close(self) -> None:
        """Waits for the call that is running."""
        self._thread.shutdown()
        self._db.close()

    # --- who manages ----------------------------------------------------------------------------------

    async def tenure(self, az: str) -> Tenure:
        return await self._run(lambda: self._tenure(az))

    async def take(self, az: str, manager: str, seen_epoch: int, extend_s: float) -> bool:
        return await self._write(lambda: self._take(az, manager, seen_epoch, extend_s))

    async def beat(self, az: str, epoch: int) -> None:
        def advance() -> None:
            self._check(az, epoch)
            self._db.execute("UPDATE tenures SET beat = beat + 1 WHERE az = ?", (az,))

        await self._write(advance)

    async def record_amnesty(self, az: str, amnesty: Amnesty) -> None:
        await self._write(lambda: self._record_amnesty(az, amnesty))

    async def record_capacity(self, az: str, epoch: int, capacity_per_s: float) -> None:
        def record() -> None:
            self._check(az, epoch)
            self._db.execute("UPDATE tenures SET capacity_per_s = ? WHERE az = ?", (capacity_per_s, az))

        await self._write(record)

    # --- hosts ----------------------------------------------------------------------------------------

    async def hosts(self, az: str) -> Sequence[Host]:
        return await self._run(lambda: self._hosts("az = ? ORDER BY number", az))

    async def join(self, host: Host) -> Host:
        return await self._write(lambda: self._join(host))

    async def set_state(self, az: str, name: str, state: HostState) -> Host:
        return await self._write(lambda: self._set_state(az, name, state))

    async def record_grants(self, az: str, epoch: int, grants: Sequence[Granted]) -> None:
        def record() -> None:
            self._check(az, epoch)
            self._db.executemany(
                "UPDATE hosts SET generation = ?1 WHERE az = ?2 AND number = ?3 AND generation < ?1",
                [(grant.generation, az, grant.number) for grant in grants],
            )

        await self._write(record)

    # --- instances ------------------------------------------------------------------------------------

    async def place(self, az: str, epoch: int, instances: Sequence[Instance]) -> tuple[Instance, ...]:
        return await self._write(lambda: self._place(az, epoch, instances))

    async def launch_of(self, account: str, token: str) -> tuple[Instance, ...]:
        return await self._run(lambda: self._instances("account = ? AND token = ?", account, token))

    async def set_instance(
        self, az: str, epoch: int, instance: str, state: InstanceState, address: str = ""
    ) -> Instance | None:
        return await self._write(lambda: self._set_instance(az, epoch, instance, state, address))

    async def ask_to_stop(self, account: str, instance: str) -> Instance | None:
        return await self._write(lambda: self._ask_to_stop(account, instance))

    async def instances(self, az: str = "", account: str = "") -> Sequence[Instance]:
        since_s = self._wall_s() - TERMINATED_KEPT_S
        where = "(?1 = '' OR az = ?1) AND (?2 = '' OR account = ?2) AND (ended_at_s IS NULL OR ended_at_s >= ?3)"
        return await self._run(lambda: self._instances(where, az, account, since_s))

    # --- on the thread --------------------------------------------------------------------------------

    async def _run(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._said_plainly, call)

    async def _write(self, call: Callable[[], T]) -> T:
        def whole() -> T:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                result = call()
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            return result

        return await self._run(whole)

    def _said_plainly(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except sqlite3.OperationalError as error:
            raise StoreUnwritable(f"{self._path}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise StoreCorrupt(f"{self._path}: {error}; put a copy of it back") from error

    def _opened(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, BUSY_MS / 1000, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("BEGIN IMMEDIATE")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            for statement in filter(str.strip, _SCHEMA.split(";\n")):
                db.execute(statement)
        elif version == 1:
            db.execute(_FROM_1)
        if version in (0, 1):
            db.execute(f"PRAGMA user_version = {_VERSION}")
        db.execute("COMMIT")
        if version not in (0, 1, _VERSION):
            raise InputError.one(str(self._path), f"has version {version}, expected {_VERSION}", "use another file")
        return db

    def _check(self, az: str, epoch: int) -> None:
        check_epoch(az, epoch, self._tenure(az).epoch)

    def _tenure(self, az: str) -> Tenure:
        row = self._db.execute(
            "SELECT epoch, manager, capacity_per_s, beat, amnesty_epoch, amnesty_generation, amnesty_extend_s"
            " FROM tenures WHERE az = ?",
            (az,),
        ).fetchone()
        if row is None:
            return Tenure()
        epoch, manager, capacity_per_s, beat, *amnesty = row
        return Tenure(epoch, manager, Amnesty(*amnesty) if amnesty[0] else None, capacity_per_s, beat)

    def _take(self, az: str, manager: str, seen_epoch: int, extend_s: float) -> bool:
        if self._tenure(az).epoch != seen_epoch:
            return False
        epoch = epoch_after(az, seen_epoch)
        (newest,) = self._db.execute("SELECT max(generation) FROM hosts WHERE az = ?", (az,)).fetchone()
        self._db.execute(
            "INSERT INTO tenures VALUES (?1, ?2, ?3, 0, ?2, ?4, ?5, 0) ON CONFLICT (az) DO UPDATE SET epoch = ?2,"
            " manager = ?3, amnesty_epoch = ?2, amnesty_generation = ?4, amnesty_extend_s = ?5, beat = 0",
            (az, epoch, manager, newest or 0, extend_s),
        )
        return True

    def _record_amnesty(self, az: str, amnesty: Amnesty) -> None:
        self._check(az, amnesty.epoch)
        self._db.execute(
            "UPDATE tenures SET amnesty_epoch = ?, amnesty_generation = ?, amnesty_extend_s = ? WHERE az = ?",
            (amnesty.epoch, amnesty.generation, amnesty.extend_s, az),
        )

    def _hosts(self, where: str, *values: object) -> tuple[Host, ...]:
        rows = self._db.execute(f"SELECT {_HOST} FROM hosts WHERE {where}", values)  # noqa: S608 - texts of ours
        return tuple(
            Host(number, name, az, cpus, memory_mib, HostState(state), generation)
            for number, name, az, cpus, memory_mib, state, generation in rows
        )

    def _join(self, host: Host) -> Host:
        known = self._hosts("name = ?", host.name)
        if not known:
            (count,) = self._db.execute("SELECT count(*) FROM hosts WHERE az = ?", (host.az,)).fetchone()
            joined = replace(host, number=count, state=HostState.ACTIVE, generation=0)
            self._db.execute(
                f"INSERT INTO hosts ({_HOST}) VALUES (?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - texts of ours
                (count, host.name, host.az, host.cpus, host.memory_mib, joined.state.value, 0),
            )
            return joined
        joined = joined_anew(known[0], host)
        self._db.execute(
            "UPDATE hosts SET cpus = ?, memory_mib = ? WHERE name = ?", (host.cpus, host.memory_mib, host.name)
        )
        return joined

    def _set_state(self, az: str, name: str, state: HostState) -> Host:
        known = self._hosts("name = ? AND az = ?", name, az)
        changed = in_state(az, name, known[0] if known else None, state)
        self._db.execute("UPDATE hosts SET state = ? WHERE name = ?", (state.value, name))
        return changed

    def _instances(self, where: str, *values: object) -> tuple[Instance, ...]:
        rows = self._db.execute(f"SELECT {_INSTANCE} FROM instances WHERE {where}", values)  # noqa: S608 - texts of ours
        return tuple(
            Instance(
                instance,
                account,
                token,
                InstanceSpec(kind, cpus, memory_mib),
                az,
                host,
                generation,
                InstanceState(state),
                address,
            )
            for instance, account, token, kind, cpus, memory_mib, az, host, generation, state, address in rows
        )

    def _place(self, az: str, epoch: int, instances: Sequence[Instance]) -> tuple[Instance, ...]:
        self._check(az, epoch)
        check_launch(instances)
        before = self._instances("account = ? AND token = ?", instances[0].account, instances[0].token)
        if before:
            return before
        self._db.executemany(
            f"INSERT INTO instances ({_INSTANCE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - texts of ours
            [
                (
                    each.instance,
                    each.account,
                    each.token,
                    each.spec.kind,
                    each.spec.cpus,
                    each.spec.memory_mib,
                    each.az,
                    each.host,
                    each.generation,
                    each.state.value,
                    each.address,
                )
                for each in instances
            ],
        )
        return tuple(instances)

    def _set_instance(self, az: str, epoch: int, instance: str, state: InstanceState, address: str) -> Instance | None:
        self._check(az, epoch)
        known = self._instances("instance = ? AND az = ?", instance, az)
        if not known:
            return None
        return self._moved(known[0], state, address) if may_become(known[0], state) else known[0]

    def _ask_to_stop(self, account: str, instance: str) -> Instance | None:
        known = self._instances("instance = ? AND account = ?", instance, account)
        if not known:
            return None
        if not may_be_asked_to_stop(known[0]):
            return known[0]
        return self._moved(known[0], InstanceState.STOPPING, known[0].address)

    def _moved(self, instance: Instance, state: InstanceState, address: str) -> Instance:
        ended_at_s = int(self._wall_s()) if state is InstanceState.TERMINATED else None
        self._db.execute(
            "UPDATE instances SET state = ?, address = ?, ended_at_s = ? WHERE instance = ?",
            (state.value, address, ended_at_s, instance.instance),
        )
        return replace(instance, state=state, address=address)

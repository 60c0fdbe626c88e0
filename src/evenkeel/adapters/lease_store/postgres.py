"""The lease store in PostgreSQL, for managers on many machines (extra `postgres`).

Every write is one transaction that first locks what it compares: the az's tenure for a manager's write (so that no
takeover comes in between), the az for a host that joins, the token for a launch. A connection that is lost in a commit
leaves it open whether that happened; the caller is told `Unreachable`, and repeats without harm.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, LiteralString, TypeVar

import psycopg

from evenkeel.model.errors import InputError, StoreCorrupt, StoreUnwritable, Unreachable
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
Rows = list[tuple[Any, ...]]

CONNECT_S = 3
STATEMENT_MS = 5000
_VERSION = 2
_SCHEMA: LiteralString = """
CREATE TABLE IF NOT EXISTS evenkeel_fleet (version integer NOT NULL);
CREATE TABLE IF NOT EXISTS tenures (
    az text PRIMARY KEY, epoch bigint NOT NULL, manager text NOT NULL, capacity_per_s double precision NOT NULL DEFAULT
    0, amnesty_epoch bigint NOT NULL DEFAULT 0, amnesty_generation bigint NOT NULL DEFAULT 0,
    amnesty_extend_s double precision NOT NULL DEFAULT 0, beat bigint NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS hosts (
    az text NOT NULL, number integer NOT NULL, name text NOT NULL UNIQUE, cpus integer NOT NULL,
    memory_mib integer NOT NULL, state text NOT NULL, generation bigint NOT NULL DEFAULT 0, PRIMARY KEY (az, number)
);
CREATE TABLE IF NOT EXISTS instances (
    place bigserial, instance text PRIMARY KEY, account text NOT NULL, token text NOT NULL, kind text NOT NULL,
    cpus integer NOT NULL, memory_mib integer NOT NULL, az text NOT NULL, host text NOT NULL, generation bigint NOT
    NULL, state text NOT NULL, address text NOT NULL DEFAULT '', ended_at_s double precision
);
CREATE INDEX IF NOT EXISTS instances_by_launch ON instances (account, token);
CREATE INDEX IF NOT EXISTS instances_by_az ON instances (az);
"""
_FROM_1: LiteralString = "ALTER TABLE tenures ADD COLUMN beat bigint NOT NULL DEFAULT 0"
_HOSTS: LiteralString = "SELECT number, name, az, cpus, memory_mib, state, generation FROM hosts WHERE "
_INSTANCES: LiteralString = (
    "SELECT instance, account, token, kind, cpus, memory_mib, az, host, generation, state, address"
    " FROM instances WHERE "
)


class PostgresLeaseStore:
    """`ports.fleet.LeaseStore`. One connection, made anew when it is lost; calls run one after the other on a
    thread."""

    def __init__(self, dsn: str, *, wall_s: Callable[[], float] = time.time) -> None:
        """Nothing is connected yet; the first call makes the tables where there are none. Raises `InputError` for a
        text that is no connection string."""
        try:
            psycopg.conninfo.conninfo_to_dict(dsn)
        except psycopg.ProgrammingError as error:
            raise InputError.one("postgres", str(error).strip(), "write host=... dbname=... user=...") from error
        self._dsn, self._wall_s = dsn, wall_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lease-store")
        self._db: psycopg.Connection[tuple[Any, ...]] | None = None

    def close(self) -> None:
        """Waits for the call that is running."""
        self._thread.shutdown()
        if self._db is not None:
            self._db.close()

    # --- who manages ----------------------------------------------------------------------------------

    async def tenure(self, az: str) -> Tenure:
        return await self._do(lambda: self._tenure(az))

    async def take(self, az: str, manager: str, seen_epoch: int, extend_s: float) -> bool:
        return await self._do(lambda: self._take(az, manager, seen_epoch, extend_s))

    async def beat(self, az: str, epoch: int) -> None:
        def advance() -> None:
            # One statement: a shared lock that is made an exclusive one afterwards is how two writers deadlock.
            advanced: LiteralString = "UPDATE tenures SET beat = beat + 1 WHERE az = %s AND epoch = %s RETURNING 1"
            if not self._ask(advanced, (az, epoch)):
                self._check(az, epoch)

        await self._do(advance)

    async def record_amnesty(self, az: str, amnesty: Amnesty) -> None:
        def record() -> None:
            self._check(az, amnesty.epoch)
            self._ask(
                "UPDATE tenures SET amnesty_epoch = %s, amnesty_generation = %s, amnesty_extend_s = %s WHERE az = %s",
                (amnesty.epoch, amnesty.generation, amnesty.extend_s, az),
            )

        await self._do(record)

    async def record_capacity(self, az: str, epoch: int, capacity_per_s: float) -> None:
        def record() -> None:
            self._check(az, epoch)
            self._ask("UPDATE tenures SET capacity_per_s = %s WHERE az = %s", (capacity_per_s, az))

        await self._do(record)

    # --- hosts ----------------------------------------------------------------------------------------

    async def hosts(self, az: str) -> Sequence[Host]:
        return await self._do(lambda: self._hosts("az = %s ORDER BY number", (az,)))

    async def join(self, host: Host) -> Host:
        return await self._do(lambda: self._join(host))

    async def set_state(self, az: str, name: str, state: HostState) -> Host:
        return await self._do(lambda: self._set_state(az, name, state))

    async def record_grants(self, az: str, epoch: int, grants: Sequence[Granted]) -> None:
        def record() -> None:
            self._check(az, epoch)
            self._ask(
                "UPDATE hosts SET generation = granted.generation"
                " FROM unnest(%s::integer[], %s::bigint[]) AS granted (number, generation)"
                " WHERE hosts.az = %s AND hosts.number = granted.number AND hosts.generation < granted.generation",
                ([grant.number for grant in grants], [grant.generation for grant in grants], az),
            )

        await self._do(record)

    # --- instances ------------------------------------------------------------------------------------

    async def place(self, az: str, epoch: int, instances: Sequence[Instance]) -> tuple[Instance, ...]:
        return await self._do(lambda: self._place(az, epoch, instances))

    async def launch_of(self, account: str, token: str) -> tuple[Instance, ...]:
        return await self._do(lambda: self._launch_of(account, token))

    async def set_instance(
        self, az: str, epoch: int, instance: str, state: InstanceState, address: str = ""
    ) -> Instance | None:
        return await self._do(lambda: self._set_instance(az, epoch, instance, state, address))

    async def ask_to_stop(self, account: str, instance: str) -> Instance | None:
        return await self._do(lambda: self._ask_to_stop(account, instance))

    async def instances(self, az: str = "", account: str = "") -> Sequence[Instance]:
        since_s = self._wall_s() - TERMINATED_KEPT_S
        where: LiteralString = (
            "(%s = '' OR az = %s) AND (%s = '' OR account = %s)"
            " AND (ended_at_s IS NULL OR ended_at_s >= %s) ORDER BY place"
        )
        return await self._do(lambda: self._instances(where, (az, az, account, account, since_s)))

    # --- on the thread --------------------------------------------------------------------------------

    async def _do(self, call: Callable[[], T]) -> T:
        """One transaction. A lost connection is made anew by the next call."""

        def whole() -> T:
            try:
                with self._connected().transaction():
                    return call()
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                self._drop()
                raise self._said_plainly(error) from error
            except psycopg.errors.DatabaseError as error:
                raise StoreCorrupt(f"PostgreSQL: {_text(error)}; see its log") from error

        return await asyncio.get_running_loop().run_in_executor(self._thread, whole)

    def _said_plainly(self, error: psycopg.Error) -> Unreachable | StoreUnwritable:
        is_full = isinstance(error, psycopg.errors.InsufficientResources | psycopg.errors.ReadOnlySqlTransaction)
        if is_full:
            return StoreUnwritable(f"PostgreSQL: {_text(error)}")
        return Unreachable(f"PostgreSQL: {_text(error)}")

    def _connected(self) -> psycopg.Connection[tuple[Any, ...]]:
        if self._db is None or self._db.closed:
            given = str(psycopg.conninfo.conninfo_to_dict(self._dsn).get("options") or "")
            options = f"{given} -c statement_timeout={STATEMENT_MS} -c lock_timeout={STATEMENT_MS}".strip()
            # `synchronous_commit` is left as the server has it: a replicated one may ask for more than `on`.
            db = psycopg.connect(self._dsn, connect_timeout=CONNECT_S, options=options, autocommit=True)
            try:
                _make_tables(db)
            except BaseException:
                db.close()  # else the next call would go on as if the tables were there
                raise
            self._db = db
        return self._db

    def _drop(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _ask(self, statement: LiteralString, values: Sequence[Any] = ()) -> Rows:
        if self._db is None:
            raise Unreachable("PostgreSQL: not connected")
        cursor = self._db.execute(statement, values)
        return cursor.fetchall() if cursor.description else []

    def _check(self, az: str, epoch: int) -> None:
        """Hold the tenure as it is until the end of the transaction. Raises `Superseded`."""
        rows = self._ask("SELECT epoch FROM tenures WHERE az = %s FOR SHARE", (az,))
        check_epoch(az, epoch, rows[0][0] if rows else 0)

    def _tenure(self, az: str) -> Tenure:
        rows = self._ask(
            "SELECT epoch, manager, capacity_per_s, beat, amnesty_epoch, amnesty_generation, amnesty_extend_s"
            " FROM tenures WHERE az = %s",
            (az,),
        )
        if not rows:
            return Tenure()
        epoch, manager, capacity_per_s, beat, *amnesty = rows[0]
        return Tenure(epoch, manager, Amnesty(*amnesty) if amnesty[0] else None, capacity_per_s, beat)

    def _take(self, az: str, manager: str, seen_epoch: int, extend_s: float) -> bool:
        epoch = epoch_after(az, seen_epoch)
        self._ask("INSERT INTO tenures (az, epoch, manager) VALUES (%s, 0, '') ON CONFLICT DO NOTHING", (az,))
        # The row is locked, and compared as it is after any takeover before; grants under way are waited for.
        rows = self._ask("SELECT epoch FROM tenures WHERE az = %s FOR UPDATE", (az,))
        if rows[0][0] != seen_epoch:
            return False
        ((newest,),) = self._ask("SELECT coalesce(max(generation), 0) FROM hosts WHERE az = %s", (az,))
        self._ask(
            "UPDATE tenures SET epoch = %s, manager = %s, amnesty_epoch = %s, amnesty_generation = %s,"
            " amnesty_extend_s = %s, beat = 0 WHERE az = %s",
            (epoch, manager, epoch, newest, extend_s, az),
        )
        return True

    def _hosts(self, where: LiteralString, values: Sequence[Any]) -> tuple[Host, ...]:
        return tuple(
            Host(number, name, az, cpus, memory_mib, HostState(state), generation)
            for number, name, az, cpus, memory_mib, state, generation in self._ask(_HOSTS + where, values)
        )

    def _join(self, host: Host) -> Host:
        self._ask("SELECT pg_advisory_xact_lock(hashtext('evenkeel hosts'))")
        known = self._hosts("name = %s", (host.name,))
        if not known:
            ((count,),) = self._ask("SELECT count(*) FROM hosts WHERE az = %s", (host.az,))
            joined = replace(host, number=count, state=HostState.ACTIVE, generation=0)
            self._ask(
                "INSERT INTO hosts (number, name, az, cpus, memory_mib, state) VALUES (%s, %s, %s, %s, %s, %s)",
                (count, host.name, host.az, host.cpus, host.memory_mib, joined.state.value),
            )
            return joined
        joined = joined_anew(known[0], host)
        self._ask(
            "UPDATE hosts SET cpus = %s, memory_mib = %s WHERE name = %s", (host.cpus, host.memory_mib, host.name)
        )
        return joined

    def _set_state(self, az: str, name: str, state: HostState) -> Host:
        known = self._hosts("name = %s AND az = %s FOR UPDATE", (name, az))
        changed = in_state(az, name, known[0] if known else None, state)
        self._ask("UPDATE hosts SET state = %s WHERE name = %s", (state.value, name))
        return changed

    def _instances(self, where: LiteralString, values: Sequence[Any]) -> tuple[Instance, ...]:
        rows = self._ask(_INSTANCES + where, values)
        return tuple(
            Instance(
                instance, account, token, InstanceSpec(kind, cpus, memory), az, host, of, InstanceState(state), address
            )
            for instance, account, token, kind, cpus, memory, az, host, of, state, address in rows
        )

    def _launch_of(self, account: str, token: str) -> tuple[Instance, ...]:
        return self._instances("account = %s AND token = %s ORDER BY place", (account, token))

    def _place(self, az: str, epoch: int, instances: Sequence[Instance]) -> tuple[Instance, ...]:
        self._check(az, epoch)
        check_launch(instances)
        account, token = instances[0].account, instances[0].token
        # Managers of two azs may place the same launch at once.
        self._ask("SELECT pg_advisory_xact_lock(hashtext('evenkeel launch'), hashtext(%s))", (f"{account}\n{token}",))
        before = self._launch_of(account, token)
        if before:
            return before
        for each in instances:
            spec = each.spec
            self._ask(
                "INSERT INTO instances (instance, account, token, kind, cpus, memory_mib, az, host, generation, state,"
                " address) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                (
                    each.instance,
                    account,
                    token,
                    spec.kind,
                    spec.cpus,
                    spec.memory_mib,
                    each.az,
                    each.host,
                    each.generation,
                    each.state.value,
                    each.address,
                ),
            )
        return tuple(instances)

    def _set_instance(self, az: str, epoch: int, instance: str, state: InstanceState, address: str) -> Instance | None:
        self._check(az, epoch)
        known = self._instances("instance = %s AND az = %s FOR UPDATE", (instance, az))
        if not known:
            return None
        return self._moved(known[0], state, address) if may_become(known[0], state) else known[0]

    def _ask_to_stop(self, account: str, instance: str) -> Instance | None:
        known = self._instances("instance = %s AND account = %s FOR UPDATE", (instance, account))
        if not known:
            return None
        if not may_be_asked_to_stop(known[0]):
            return known[0]
        return self._moved(known[0], InstanceState.STOPPING, known[0].address)

    def _moved(self, instance: Instance, state: InstanceState, address: str) -> Instance:
        ended_at_s = self._wall_s() if state is InstanceState.TERMINATED else None
        self._ask(
            "UPDATE instances SET state = %s, address = %s, ended_at_s = %s WHERE instance = %s",
            (state.value, address, ended_at_s, instance.instance),
        )
        return replace(instance, state=state, address=address)


def _make_tables(db: psycopg.Connection[tuple[Any, ...]]) -> None:
    """Where they are there already, nothing is asked for that a role without CREATE may not do."""
    with db.transaction():
        # Two that come at once would both make the tables.
        db.execute("SELECT pg_advisory_xact_lock(hashtext('evenkeel schema'))")
        if db.execute("SELECT to_regclass('evenkeel_fleet')").fetchone() == (None,):
            for statement in filter(None, map(str.strip, _SCHEMA.split(";\n"))):
                db.execute(statement.encode())
            db.execute("INSERT INTO evenkeel_fleet VALUES (%s)", (_VERSION,))
            return
        row = db.execute("SELECT version FROM evenkeel_fleet").fetchone()
        if row == (1,):
            db.execute(_FROM_1)
            db.execute("UPDATE evenkeel_fleet SET version = %s", (_VERSION,))
        elif row != (_VERSION,):
            what = f"has version {row[0] if row else 'none'}, expected {_VERSION}"
            raise InputError.one("[fleet] database", what, "use another database")


def _text(error: psycopg.Error) -> str:
    """The first line of what the server said."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]

"""The plan store on disk: SQLite in WAL mode, every append synced before it is acknowledged.

Only what changed is stored: the plan at generation g is, for each endpoint, the row with the greatest `changed_in`
that is not above g. A row without content says that the endpoint is gone. History is bounded: each append takes the
oldest generation away, and the rows that only it could see.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import msgspec

from evenkeel.adapters.plan_store.wire import PlanRow, endpoints_of, row_of
from evenkeel.endpoints.plan_rules import check_delta, may_follow
from evenkeel.model.errors import InputError, Refusal, StoreCorrupt, StoreUnwritable
from evenkeel.model.plan import EndpointPlan, Plan, PlanDelta
from evenkeel.ports.plan_store import GenerationInfo, Head, Proposed

T = TypeVar("T")

_SCHEMA_VERSION = 1
_BUSY_MS = 2000
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE generations (
    generation INTEGER PRIMARY KEY, previous INTEGER NOT NULL, planner TEXT NOT NULL, at_ms INTEGER NOT NULL,
    changed INTEGER NOT NULL, removed INTEGER NOT NULL
);
CREATE TABLE answers (
    endpoint TEXT NOT NULL, changed_in INTEGER NOT NULL, content BLOB, PRIMARY KEY (endpoint, changed_in)
) WITHOUT ROWID;
CREATE INDEX answers_by_generation ON answers (changed_in);
"""
_PLAN_AT = """
SELECT content, max(changed_in) FROM answers WHERE changed_in <= ? GROUP BY endpoint HAVING content IS NOT NULL
"""
_SINCE = "SELECT endpoint, content, max(changed_in) FROM answers WHERE changed_in > ? GROUP BY endpoint"
# Superseded at the oldest generation that is kept: by a row that came after and is not above that generation.
_SUPERSEDED = """
DELETE FROM answers WHERE (endpoint, changed_in) IN (
    SELECT old.endpoint, old.changed_in FROM answers new
    JOIN answers old ON old.endpoint = new.endpoint AND old.changed_in < new.changed_in
    WHERE new.changed_in > ? AND new.changed_in <= ?
)
"""


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class SqlitePlanStore:
    """`ports.plan_store.PlanStore`. Calls run one after the other on a thread of their own."""

    def __init__(
        self, path: Path, region: str, generations_kept: int, *, wall_ms: Callable[[], int] = _wall_ms
    ) -> None:
        """Open or create. Raises `StoreCorrupt`, `StoreUnwritable`, or `InputError` where the file is another's."""
        self._path, self._region, self._kept, self._wall_ms = path, region, max(1, generations_kept), wall_ms
        self._floor = 0  # told anew by whoever knows, and so are proposals; an approval is for keeps
        self._proposed: dict[str, Proposed] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="plan-store")
        with self._said_plainly():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            with self._said_plainly():
                self._prepare()
        except BaseException:
            self._db.close()
            self._thread.shutdown()
            raise

    def close(self) -> None:
        """Waits for the call that is running."""
        self._thread.shutdown()
        self._db.close()

    # --- the port ---------------------------------------------------------------------------------

    async def append(self, delta: PlanDelta) -> bool:
        check_delta(delta, self._region)
        return await self._run(lambda: self._append(delta))

    async def head(self) -> Head:
        return await self._run(lambda: Head(self._newest(), self._floor))

    async def since(self, generation: int) -> PlanDelta:
        return await self._run(lambda: self._since(generation))

    async def plan_at(self, generation: int) -> Plan:
        return await self._run(lambda: self._plan_at(generation))

    async def history(self, limit: int) -> tuple[GenerationInfo, ...]:
        return await self._run(lambda: self._history(limit))

    async def raise_floor(self, generation: int) -> None:
        self._floor = max(self._floor, generation)

    async def propose(self, proposed: Proposed) -> bool:
        return await self._run(lambda: self._propose(proposed))

    async def proposals(self) -> tuple[Proposed, ...]:
        return tuple(self._proposed[planner] for planner in sorted(self._proposed))

    async def approve(self, checksum: str) -> None:
        await self._run(lambda: self._approve(checksum))

    # --- on the thread ----------------------------------------------------------------------------

    async def _run(self, call: Callable[[], T]) -> T:
        def guarded() -> T:
            with self._said_plainly():
                return call()

        return await asyncio.get_running_loop().run_in_executor(self._thread, guarded)

    def _append(self, delta: PlanDelta) -> bool:
        with self._transaction():
            newest = self._newest()
            if not may_follow(delta, newest, self._floor):
                return False
            self._db.execute(
                "INSERT INTO generations VALUES (?, ?, ?, ?, ?, ?)",
                (
                    delta.generation,
                    delta.previous,
                    delta.planner,
                    self._wall_ms(),
                    len(delta.changed),
                    len(delta.removed),
                ),
            )
            encode = msgspec.msgpack.Encoder().encode
            rows = ((e.name, delta.generation, encode(row_of(e))) for e in delta.changed)
            self._db.executemany("INSERT INTO answers VALUES (?, ?, ?)", rows)
            gone = ((name, delta.generation, None) for name in delta.removed)
            self._db.executemany("INSERT INTO answers VALUES (?, ?, ?)", gone)
            self._prune()
        return True

    def _prune(self) -> None:
        """Take away the generations beyond those kept, and the rows that no kept generation can see."""
        row = self._db.execute(
            "SELECT generation FROM generations ORDER BY generation DESC LIMIT 1 OFFSET ?", (self._kept - 1,)
        ).fetchone()
        oldest = row[0] if row else 0
        (last,) = self._db.execute("SELECT min(generation) FROM generations WHERE generation < ?", (oldest,)).fetchone()
        if last is None:
            return
        self._db.execute(_SUPERSEDED, (last, oldest))
        self._db.execute("DELETE FROM answers WHERE content IS NULL AND changed_in <= ?", (oldest,))
        self._db.execute("DELETE FROM generations WHERE generation < ?", (oldest,))

    def _newest(self) -> int:
        (newest,) = self._db.execute("SELECT max(generation) FROM generations").fetchone()
        return int(newest or 0)

    def _planner(self, generation: int) -> str | None:
        """Who appended `generation`; None where the history does not have it."""
        row = self._db.execute("SELECT planner FROM generations WHERE generation = ?", (generation,)).fetchone()
        return None if row is None else str(row[0])

    def _since(self, generation: int) -> PlanDelta:
        newest = self._newest()
        planner = self._planner(newest) or ""
        if newest == 0 or self._planner(generation) is None:
            rows = self._db.execute(_PLAN_AT, (newest,))
            changed = tuple(self._endpoints(content for content, _ in rows))
            return PlanDelta(self._region, newest, 0, planner, changed)
        found = self._db.execute(_SINCE, (generation,)).fetchall()
        changed = tuple(self._endpoints(content for _, content, _ in found if content is not None))
        removed = tuple(endpoint for endpoint, content, _ in found if content is None)
        return PlanDelta(self._region, newest, generation, planner, changed, removed)

    def _plan_at(self, generation: int) -> Plan:
        planner = self._planner(generation)
        if planner is None:
            bounds = self._db.execute("SELECT min(generation), max(generation) FROM generations").fetchone()
            span = f"it has {bounds[0]} to {bounds[1]}" if bounds[0] is not None else "it is empty"
            raise Refusal(f"the plan store has no generation {generation}; {span}")
        rows = self._db.execute(_PLAN_AT, (generation,))
        endpoints = {e.name: e for e in self._endpoints(content for content, _ in rows)}
        return Plan(self._region, generation, planner, endpoints)

    def _history(self, limit: int) -> tuple[GenerationInfo, ...]:
        now_ms = self._wall_ms()
        rows = self._db.execute(
            "SELECT generation, planner, at_ms, changed, removed FROM generations ORDER BY generation DESC LIMIT ?",
            (limit,),
        )
        return tuple(
            GenerationInfo(generation, planner, at_ms, max(0.0, (now_ms - at_ms) / 1000), changed, removed)
            for generation, planner, at_ms, changed, removed in rows
        )

    def _propose(self, proposed: Proposed) -> bool:
        self._proposed[proposed.planner] = proposed
        return self._meta("approved") == proposed.checksum

    def _approve(self, checksum: str) -> None:
        if checksum not in {proposed.checksum for proposed in self._proposed.values()}:
            raise not_proposed(checksum)
        with self._transaction():
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('approved', ?)", (checksum,))

    # --- within -----------------------------------------------------------------------------------

    def _prepare(self) -> None:
        execute = self._db.execute
        execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        # One process at a time: a second one would not push to the first one's followers.
        execute("PRAGMA locking_mode = EXCLUSIVE")
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = FULL")
        (version,) = execute("PRAGMA user_version").fetchone()
        if version == 0:
            with self._transaction():
                for statement in _SCHEMA.split(";"):
                    execute(statement)
                execute("INSERT INTO meta VALUES ('region', ?)", (self._region,))
                execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
        elif version != _SCHEMA_VERSION:
            raise InputError.one(
                str(self._path),
                f"is a plan store of version {version}, this evenkeel reads version {_SCHEMA_VERSION}",
                "use the evenkeel that wrote it, or move the file aside",
            )
        (verdict,) = execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        region = self._meta("region")
        if region != self._region:
            raise InputError.one(
                str(self._path),
                f"holds the plans of region {region!r}, not of {self._region!r}",
                "set another state-dir",
            )

    def _meta(self, key: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def _endpoints(self, contents: Iterator[bytes]) -> list[EndpointPlan]:
        decode = msgspec.msgpack.Decoder(PlanRow).decode
        return endpoints_of(decode(content) for content in contents)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # SQLite rolls back by itself on a full disk
                self._db.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _said_plainly(self) -> Iterator[None]:
        """Errors of the database as evenkeel's own, with the file and the mend."""
        try:
            yield
        except (sqlite3.OperationalError, OSError) as error:
            raise StoreUnwritable(
                f"{self._path}: {error}; what was stored is still there. "
                "Free the disk, or see that no other plan store has the file open"
            ) from error
        except (sqlite3.DatabaseError, msgspec.MsgspecError) as error:
            raise StoreCorrupt(
                f"{self._path}: not a sound plan store ({error}). Stop the plan store, move the file and its -wal and "
                "-shm aside, start it again: its followers tell it the newest generation, and it goes on above that"
            ) from error


def not_proposed(checksum: str) -> Refusal:
    return Refusal(
        f"no Planner proposes {checksum!r} (any more): what is published or its health moved on. "
        "See `evenkeel plan` for what is proposed now"
    )

"""What the store on disk bears: kill -9, a full disk, a damaged file, a second process."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from evenkeel.adapters.plan_store.sqlite import SqlitePlanStore
from evenkeel.model.errors import InputError, StoreCorrupt, StoreUnwritable
from evenkeel.model.plan import PlanDelta
from tests.plan_store.arms import REGION, delta, endpoint

KEPT = 1000
ROOT = Path(__file__).parents[2]

# Appends as fast as it can, and says each generation once it is acknowledged.
APPENDER = """
import asyncio, sys
from pathlib import Path
from evenkeel.adapters.plan_store.sqlite import SqlitePlanStore
from tests.plan_store.arms import REGION, delta

async def main():
    store = SqlitePlanStore(Path(sys.argv[1]), REGION, 50)
    newest = (await store.head()).generation
    while True:
        names = [f"n{k}" for k in range(newest % 40 + 1)]
        assert await store.append(delta(newest, *names))
        newest += 1
        print(newest, flush=True)

asyncio.run(main())
"""


def open_store(path: Path, kept: int = KEPT) -> SqlitePlanStore:
    return SqlitePlanStore(path, REGION, kept)


def fill(store: SqlitePlanStore, generations: int) -> None:
    async def body() -> None:
        for previous in range(generations):
            assert await store.append(delta(previous, "db", "web"))

    asyncio.run(body())


def newest(store: SqlitePlanStore) -> int:
    return asyncio.run(store.head()).generation


def test_kill_9_at_any_moment_loses_nothing_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "plans.sqlite"
    acknowledged = 0
    for round_ in range(4):
        child = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(APPENDER), str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert child.stdout is not None
        for _ in range(5 + 7 * round_):
            acknowledged = int(child.stdout.readline())
        os.kill(child.pid, signal.SIGKILL)
        acknowledged = max([acknowledged, *(int(line) for line in child.stdout.read().split())])
        child.wait()
        child.stdout.close()
        store = open_store(path, 50)
        found = newest(store)
        # One more may have been committed than was said: the reply was lost, the plan was not.
        assert found in (acknowledged, acknowledged + 1)
        plan = asyncio.run(store.plan_at(found))
        assert all(not each.answer.is_empty for each in plan.endpoints.values())
        assert max(each.changed_in for each in plan.endpoints.values()) == found
        store.close()


def limit_pages(store: SqlitePlanStore, more: int) -> None:
    """As if the disk had room for `more` pages only."""
    (pages,) = store._db.execute("PRAGMA page_count").fetchone()
    store._db.execute(f"PRAGMA max_page_count = {pages + more}")


def test_a_full_disk_refuses_the_plan_says_so_and_keeps_the_rest(tmp_path: Path) -> None:
    store = open_store(tmp_path / "plans.sqlite")
    fill(store, 3)
    limit_pages(store, 2)
    big = delta(3, *(f"name-that-takes-room-{n}" for n in range(2000)))
    with pytest.raises(StoreUnwritable, match="full"):
        asyncio.run(store.append(big))
    assert newest(store) == 3
    assert len(asyncio.run(store.plan_at(3)).endpoints) == 2
    store._db.execute("PRAGMA max_page_count = 1000000")
    assert asyncio.run(store.append(big))
    store.close()
    again = open_store(tmp_path / "plans.sqlite")
    assert newest(again) == 4
    again.close()


# A child whose files may not grow beyond 200 KB: what the system refuses, not what SQLite counts.
BOUNDED = """
import asyncio, resource, sys
from pathlib import Path
from evenkeel.adapters.plan_store.sqlite import SqlitePlanStore
from evenkeel.model.errors import StoreUnwritable
from tests.plan_store.arms import REGION, delta

async def main():
    store = SqlitePlanStore(Path(sys.argv[1]), REGION, 50)
    await store.append(delta(0, "db"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    try:
        await store.append(delta(1, *(f"name-that-takes-room-{n}" for n in range(5000))))
    except StoreUnwritable as error:
        print("refused", (await store.head()).generation, len((await store.plan_at(1)).endpoints))
    print("small", await store.append(delta(1, "db")))

asyncio.run(main())
"""


def test_a_write_that_the_system_refuses_changes_nothing_and_smaller_ones_go_on(tmp_path: Path) -> None:
    child = subprocess.run(
        [sys.executable, "-c", BOUNDED, str(tmp_path / "plans.sqlite")], capture_output=True, text=True, cwd=ROOT
    )
    assert child.stdout.split("\n")[:2] == ["refused 1 1", "small True"], child.stderr
    store = open_store(tmp_path / "plans.sqlite")
    assert newest(store) == 2
    store.close()


@pytest.mark.parametrize("damage", ["header", "middle", "text"])
def test_a_damaged_file_is_named_with_the_mend(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "plans.sqlite"
    store = open_store(path)
    asyncio.run(store.append(delta(0, *(f"name-{n}" for n in range(3000)))))
    store.close()
    content = bytearray(path.read_bytes())
    if damage == "header":
        content[:100] = os.urandom(100)
    elif damage == "middle":
        content[4096 : 4096 * 20] = os.urandom(4096 * 19)
    else:
        content = bytearray(b"these are not the plans that you are looking for" * 100)
    path.write_bytes(content)
    with pytest.raises(StoreCorrupt, match="move the file") as caught:
        open_store(path)
    assert str(path) in str(caught.value)


def test_a_damaged_row_is_told_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "plans.sqlite"
    store = open_store(path)
    fill(store, 1)
    store.close()
    with sqlite3.connect(path) as db:
        db.execute("UPDATE answers SET content = x'ff00ff'")
    db.close()
    store = open_store(path)
    with pytest.raises(StoreCorrupt):
        asyncio.run(store.plan_at(1))
    store.close()


def test_another_region_s_store_is_refused(tmp_path: Path) -> None:
    store = open_store(tmp_path / "plans.sqlite")
    store.close()
    with pytest.raises(InputError, match="other"):
        SqlitePlanStore(tmp_path / "plans.sqlite", "other", KEPT)


def test_a_store_of_a_later_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plans.sqlite"
    open_store(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(InputError, match="version 99"):
        open_store(path)


def test_a_second_process_on_the_same_file_is_refused(tmp_path: Path) -> None:
    first = open_store(tmp_path / "plans.sqlite")
    with pytest.raises(StoreUnwritable, match="other plan store"):
        open_store(tmp_path / "plans.sqlite")
    first.close()


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreUnwritable):
        open_store(tmp_path / "file" / "plans.sqlite")


def test_the_file_stays_small_however_many_generations_pass(tmp_path: Path) -> None:
    path = tmp_path / "plans.sqlite"
    store = open_store(path, kept=10)

    async def body() -> None:
        for previous in range(400):
            changed = tuple(endpoint(f"n{n}", previous + 1, "192.0.2.1", f"192.0.2.{n + 2}") for n in range(50))
            assert await store.append(PlanDelta(REGION, previous + 1, previous, "planner-1", changed))

    asyncio.run(body())
    (rows,) = store._db.execute("SELECT count(*) FROM answers").fetchone()
    assert rows == 500
    store.close()
    assert path.stat().st_size < 1_000_000


def test_an_endpoint_that_went_leaves_no_row_behind_once_its_history_is_gone(tmp_path: Path) -> None:
    store = open_store(tmp_path / "plans.sqlite", kept=3)

    async def body() -> None:
        await store.append(delta(0, "db", "old"))
        await store.append(delta(1, "db", removed=("old",)))
        for previous in range(2, 8):
            await store.append(delta(previous, "db"))

    asyncio.run(body())
    rows = store._db.execute("SELECT DISTINCT endpoint FROM answers").fetchall()
    assert rows == [("db.demo.example.",)]
    store.close()

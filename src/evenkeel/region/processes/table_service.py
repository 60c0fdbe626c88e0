"""`table-<n>`: one front end of the table service, over the one store that all of them share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from evenkeel.adapters.lease_store import opening
from evenkeel.adapters.table_service.sqlite import SqliteTables
from evenkeel.api.serving import listen, serve
from evenkeel.api.tables import tables_app
from evenkeel.model.errors import Unreachable
from evenkeel.region.addresses import front_end_addresses
from evenkeel.region.components import front_ends
from evenkeel.region.fleet import fleet_of
from evenkeel.region.runtime import Runtime

if TYPE_CHECKING:
    from evenkeel.adapters.lease_store.postgres import PostgresLeaseStore


class _Collector(Collector):
    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        calls = CounterMetricFamily("evenkeel_table_calls", "Calls, and troubles by kind", labels=["call"])
        for name, count in sorted(self._counts.items()):
            calls.add_metric([name], count)
        yield calls


async def _opened(runtime: Runtime) -> SqliteTables | PostgresLeaseStore:
    """The store behind all front ends. Raises `StoreCorrupt`, `StoreUnwritable`, `InputError`."""
    database = fleet_of(runtime.region).database
    if not database:
        return SqliteTables(Path(runtime.region.state_dir) / "tables" / "tables.sqlite")
    store = opening.opened(database)
    try:
        await opening.check(store)
    except Unreachable as error:
        runtime.log.warning("the database is away; /health says 503 until it answers", why=str(error))
    except BaseException:
        store.close()
        raise
    return store


async def main(runtime: Runtime) -> None:
    """Serve until told to stop. Raises `StoreCorrupt`, `StoreUnwritable` or `InputError` with the mend."""
    number = int(runtime.component.removeprefix("table-"))
    name, addresses = front_ends(runtime.region)[number - 1], front_end_addresses(runtime.region, number)
    counts: Counter[str] = Counter()
    runtime.registry.register(_Collector(counts))
    runtime.status.update(front_end=name, addresses=list(map(str, addresses)), calls=lambda: dict(counts))
    store = await _opened(runtime)
    try:
        app = tables_app(store, runtime.secret("tables"), name, counts)
        await serve(app, listen(addresses), runtime.stopping)
    finally:
        store.close()

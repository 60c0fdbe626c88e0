"""The launch API over HTTP: who may, what is refused and in which words, and what a repetition gets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from evenkeel.adapters.droplet_manager.control import ManagerView
from evenkeel.adapters.table_service.http import HttpCaller, Reply
from evenkeel.api.launches import BODY_OCTETS_MAX, LaunchDesk, launches_app
from evenkeel.api.quotas import Bucket
from evenkeel.api.serving import listen, serve
from evenkeel.model.errors import Unreachable
from evenkeel.model.fleet import (
    FleetStatus,
    Instance,
    InstanceState,
    InsufficientCapacity,
    Launched,
    LaunchOutcome,
    LaunchRequest,
    Recovering,
    RequestLimitExceeded,
)
from evenkeel.model.region import HostPort, LaunchLimits
from tests.fleet_live.stores import FaultyStore

TOKENS = {"demo": "token-of-demo", "other": "token-of-other"}


@dataclass
class Az:
    """A manager that answers as ordered, and launches otherwise."""

    az: str
    store: FaultyStore
    says: LaunchOutcome | None = None
    is_gone: bool = False
    leased: int = 2
    told: list[str] = field(default_factory=list)

    async def launch(self, request: LaunchRequest) -> LaunchOutcome:
        if self.is_gone:
            raise Unreachable(f"manager of {self.az} is gone")
        if self.says is not None:
            return self.says
        wanted = [
            Instance(
                f"i-{self.az}{request.token.replace('-', '')[:20]}{n}",
                request.account,
                request.token,
                request.spec,
                self.az,
                "h",
                1,
            )
            for n in range(request.count)
        ]
        await self.store.take(self.az, "m", 0, 1.0)
        return Launched(await self.store.place(self.az, 1, wanted))

    async def stopped(self, instance: str) -> None:
        self.told.append(instance)

    async def status(self) -> ManagerView:
        if self.is_gone:
            raise Unreachable("gone")
        fleet = FleetStatus(self.az, 1, 2, self.leased, 0, False, 0, 0, 1.0, 5.0, 0.0, 0.0, 0.0, 0, 0, 0, 0, 0, 0, 0, 0)
        return ManagerView(fleet, 2, 2, 0, {}, 0)


@dataclass
class Api:
    address: HostPort
    managers: dict[str, Az]
    store: FaultyStore
    counts: Counter[str]
    caller: HttpCaller

    async def ask(
        self, method: str, path: str, body: object = None, token: str = TOKENS["demo"], raw: bytes | None = None
    ) -> Reply:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        octets = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        return await self.caller.request(self.address, method, path, headers, octets, 10.0)

    async def run(self, **body: object) -> Reply:
        return await self.ask("POST", "/v1/instances", body)


def told(reply: Reply) -> Any:
    return json.loads(reply.body)


def code(reply: Reply) -> tuple[int, str]:
    return reply.status, told(reply)["error"]["code"]


@contextlib.asynccontextmanager
async def api(limits: LaunchLimits | None = None) -> AsyncIterator[Api]:
    store, counts, stopping = FaultyStore(), Counter[str](), asyncio.Event()
    managers = {az: Az(az, store) for az in ("a", "b")}
    limits = limits or LaunchLimits(1000.0, 1000, 1000.0, 50)
    desk = LaunchDesk(store, managers, limits, asyncio.get_running_loop().time, counts)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = HostPort("127.0.0.1", free.getsockname()[1])
    serving = asyncio.create_task(serve(launches_app(desk, TOKENS), listen([address]), stopping))
    caller = HttpCaller(1 << 20)
    try:
        yield Api(address, managers, store, counts, caller)
    finally:
        caller.close()
        stopping.set()
        await serving


def run(body: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30.0):
            await body()

    asyncio.run(bounded())


def test_run_describe_and_terminate() -> None:
    async def body() -> None:
        async with api() as world:
            launched = told(await world.run(count=2, az="b", client_token="t-1"))["instances"]
            assert [(each["state"], each["az"], each["client_token"]) for each in launched] == [
                ("pending", "b", "t-1")
            ] * 2
            listed = told(await world.ask("GET", "/v1/instances"))["instances"]
            assert listed == launched
            assert told(await world.ask("GET", "/v1/instances?state=running"))["instances"] == []
            name = launched[0]["instance"]
            for _ in range(2):
                ended = await world.ask("DELETE", f"/v1/instances/{name}")
                assert told(ended)["state"] == "stopping"
            assert world.managers["b"].told == [name, name]

    run(body)


def test_a_client_token_used_again_gets_the_same_instances_and_another_launch_under_it_is_refused() -> None:
    async def body() -> None:
        async with api() as world:
            first = told(await world.run(client_token="t-1"))
            assert told(await world.run(client_token="t-1")) == first
            assert told(await world.run(client_token="t-1", az="b")) == first
            assert code(await world.run(client_token="t-1", count=2)) == (409, "IdempotentParameterMismatch")
            assert code(await world.run(client_token="t-1", cpus=2)) == (409, "IdempotentParameterMismatch")
            assert len(world.store.by_id) == 1

    run(body)


def test_without_a_token_of_an_account_nothing_is_told_or_done() -> None:
    async def body() -> None:
        async with api() as world:
            for token in ("", "guessed", TOKENS["demo"][:-1], TOKENS["demo"] + "x", "ünïcode"):
                assert code(await world.ask("GET", "/v1/instances", token=token)) == (401, "Unauthorized")
                assert code(await world.ask("POST", "/v1/instances", {}, token=token)) == (401, "Unauthorized")
            assert world.store.by_id == {}

    run(body)


def test_an_account_sees_and_ends_its_own_instances_only() -> None:
    async def body() -> None:
        async with api() as world:
            name = told(await world.run())["instances"][0]["instance"]
            assert told(await world.ask("GET", "/v1/instances", token=TOKENS["other"]))["instances"] == []
            refused = await world.ask("DELETE", f"/v1/instances/{name}", token=TOKENS["other"])
            assert code(refused) == (404, "NotFound")
            assert world.store.by_id[name].state is InstanceState.PENDING

    run(body)


def test_refusals_say_which_it_is_and_when_to_come_again() -> None:
    async def body() -> None:
        async with api() as world:
            a, b = world.managers.values()
            a.says = b.says = InsufficientCapacity("a", 3, 1)
            full = await world.run(count=3)
            assert code(full) == (409, "InsufficientCapacity")
            assert "retry-after" not in full.headers
            b.says = RequestLimitExceeded(2.2)
            limited = await world.run()
            assert (*code(limited), limited.headers["retry-after"]) == (429, "RequestLimitExceeded", "3")
            a.says = Recovering("a", 1, 100, 41.5)
            recovering = await world.run()
            assert (*code(recovering), recovering.headers["retry-after"]) == (503, "Recovering", "42")
            assert "1 of 100 hosts are leased, ETA 42 s" in told(recovering)["error"]["message"]
            a.says = Recovering("a", 1, 100, -1.0)
            assert told(await world.run(az="a"))["error"]["eta_s"] is None
            b.says = None
            assert (await world.run()).status == 200, "the other az has room"

    run(body)


def test_an_az_that_does_not_answer_is_passed_over_and_all_of_them_are_an_outage() -> None:
    async def body() -> None:
        async with api() as world:
            world.managers["a"].is_gone = True
            assert told(await world.run())["instances"][0]["az"] == "b"
            world.managers["b"].is_gone = True
            outage = await world.run()
            assert code(outage) == (503, "Unavailable")
            assert "retry-after" in outage.headers
            world.store.is_lost = True
            assert code(await world.ask("GET", "/v1/instances")) == (503, "Unavailable")
            assert [each["reachable"] for each in told(await world.ask("GET", "/v1/fleet"))["azs"]] == [False, False]

    run(body)


def test_no_lack_of_capacity_is_claimed_while_an_az_does_not_say() -> None:
    async def body() -> None:
        async with api() as world:
            a, b = world.managers.values()
            a.says, b.is_gone = InsufficientCapacity("a", 1, 0), True
            assert code(await world.run()) == (503, "Unavailable"), "b may have room, and may have launched"
            assert code(await world.run(az="a")) == (409, "InsufficientCapacity")
            a.says = Recovering("a", 1, 100, 41.5)
            assert code(await world.run()) == (503, "Recovering")

    run(body)


def test_absurd_requests_are_refused_in_words_and_cost_nothing() -> None:
    async def body() -> None:
        async with api() as world:
            absurd: list[dict[str, object]] = [
                {"count": 0},
                {"count": -1},
                {"count": 10**30},
                {"count": 51},
                {"count": 1.5},
                {"count": "2"},
                {"count": True},
                {"cpus": 10**9},
                {"memory_mib": 2**63},
                {"az": "z"},
                {"az": "x" * 10_000},
                {"kind": "mainframe"},
                {"kind": "../../bin/sh"},
                {"client_token": "with space"},
                {"client_token": "x" * 65},
                {"unknown": 1},
            ]
            for body in absurd:
                assert code(await world.run(**body)) == (400, "InvalidParameter"), body
            for raw in (b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 8000, b'{"count": NaN}'):
                assert code(await world.ask("POST", "/v1/instances", raw=raw)) == (400, "InvalidParameter"), raw[:20]
            large = await world.ask("POST", "/v1/instances", raw=b" " * (BODY_OCTETS_MAX + 1))
            assert code(large) == (413, "RequestTooLarge")
            assert code(await world.ask("DELETE", "/v1/instances/i-..%2f..")) in (
                (400, "InvalidParameter"),
                (404, "NotFound"),
            )
            assert world.store.calls == 0

    run(body)


def test_an_endless_body_is_cut_at_the_bound() -> None:
    async def body() -> None:
        async with api() as world:
            reader, writer = await asyncio.open_connection(world.address.host, world.address.port)
            writer.write(
                f"POST /v1/instances HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKENS['demo']}\r\n"
                "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
            )
            with contextlib.suppress(OSError):
                for _ in range(64):
                    writer.write(b"1000\r\n" + b" " * 4096 + b"\r\n")
                    await writer.drain()
            assert b" 413 " in await reader.readline()
            writer.close()

    run(body)


def test_an_account_beyond_its_budget_is_throttled_alone() -> None:
    async def body() -> None:
        async with api(LaunchLimits(launches_per_s=0.01, launches_burst=3, reads_per_s=1000.0, count_max=50)) as world:
            assert (await world.run(count=3)).status == 200
            throttled = await world.run()
            assert code(throttled) == (429, "RequestLimitExceeded")
            assert int(throttled.headers["retry-after"]) >= 90
            other = await world.ask("POST", "/v1/instances", {}, token=TOKENS["other"])
            assert other.status == 200

    run(body)


def test_the_description_of_the_api_is_complete() -> None:
    async def body() -> None:
        async with api() as world:
            described = told(await world.ask("GET", "/openapi.json"))
            assert set(described["paths"]) == {"/v1/instances", "/v1/instances/{instance}", "/v1/fleet"}
            assert described["components"]["schemas"]["RunInstances"]["additionalProperties"] is False

    run(body)


def test_a_bucket_lets_its_rate_through_and_a_large_launch_leaves_a_debt() -> None:
    bucket = Bucket(per_s=2.0, burst=10.0)
    assert bucket.take(10.0, 0.0) == 0.0
    assert bucket.take(1.0, 0.0) == 0.5
    assert bucket.take(1.0, 0.5) == 0.0
    assert bucket.take(50.0, 5.5) == 0.0
    assert bucket.take(1.0, 5.5) == 20.5
    assert sum(bucket.take(1.0, 30.0 + second / 10) == 0.0 for second in range(1000)) in range(205, 215)

"""`/metrics`, `/status` and `/healthz` of one process, served beside an event loop that may be stuck."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable

import pytest
from prometheus_client import CollectorRegistry, Counter

from evenkeel.adapters import observability
from evenkeel.adapters.observability import Heartbeat, StatusServer
from evenkeel.model.region import HostPort

LOOPBACK = "127.0.0.1"


def get(port: int, path: str, host: str = LOOPBACK) -> tuple[int, str]:
    shown = f"[{host}]" if ":" in host else host
    try:
        with urllib.request.urlopen(f"http://{shown}:{port}{path}", timeout=15) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def serving(
    status: dict[str, object], body: Callable[[StatusServer, Heartbeat], Awaitable[None]], host: str = LOOPBACK
) -> None:
    async def run() -> None:
        registry, heartbeat = CollectorRegistry(), Heartbeat()
        Counter("evenkeel_tests", "of this test", registry=registry).inc()
        server = StatusServer(HostPort(host, 0), registry, status, heartbeat, asyncio.get_running_loop())
        beat = asyncio.create_task(heartbeat.run())
        try:
            await body(server, heartbeat)
        finally:
            beat.cancel()
            server.close()

    asyncio.run(run())


def test_status_is_read_on_the_event_loop_and_callables_when_asked_for() -> None:
    threads: list[threading.Thread] = []

    def where() -> list[str]:
        threads.append(threading.current_thread())
        return ["on", "the loop"]

    async def body(server: StatusServer, _: Heartbeat) -> None:
        code, text = await asyncio.to_thread(get, server.port, "/status")
        assert (code, json.loads(text)) == (200, {"component": "x", "where": ["on", "the loop"]})
        assert threads == [threading.main_thread()]

    serving({"component": "x", "where": where}, body)


def test_a_value_that_cannot_be_read_hides_no_other() -> None:
    def broken() -> object:
        raise ValueError("not today")

    async def body(server: StatusServer, _: Heartbeat) -> None:
        code, text = await asyncio.to_thread(get, server.port, "/status")
        assert (code, json.loads(text)) == (200, {"broken": {"error": "ValueError('not today')"}, "x": 1})

    serving({"broken": broken, "x": 1}, body)


def test_metrics_are_those_of_the_registry_that_was_handed_in() -> None:
    async def body(server: StatusServer, _: Heartbeat) -> None:
        code, text = await asyncio.to_thread(get, server.port, "/metrics")
        assert code == 200
        assert "evenkeel_tests_total 1.0" in text
        assert (await asyncio.to_thread(get, server.port, "/nowhere"))[0] == 404

    serving({}, body)


def test_it_serves_on_ipv6_as_well() -> None:
    async def body(server: StatusServer, _: Heartbeat) -> None:
        assert (await asyncio.to_thread(get, server.port, "/healthz", "::1"))[0] == 200

    serving({}, body, "::1")


def test_a_loop_that_does_not_turn_is_unhealthy_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observability, "STATUS_DEADLINE_S", 0.2)
    monkeypatch.setattr(observability, "STALL_S", 0.1)

    async def body(server: StatusServer, _: Heartbeat) -> None:
        replies: list[tuple[int, str]] = []
        asker = threading.Thread(
            target=lambda: replies.extend(get(server.port, path) for path in ("/status", "/healthz"))
        )
        asker.start()
        asker.join()  # blocks the loop: nothing of it turns until both replies are here
        assert [code for code, _ in replies] == [503, 503]
        assert "did not turn" in replies[0][1]

    serving({"x": 1}, body)


def test_callers_that_say_nothing_take_a_bounded_number_of_places_and_give_them_back() -> None:
    async def body(server: StatusServer, _: Heartbeat) -> None:
        silent = [socket.create_connection((LOOPBACK, server.port)) for _ in range(observability.REQUESTS_MAX)]
        refused = await asyncio.to_thread(_first_octets, server.port)
        assert refused == b""
        for each in silent:
            each.close()
        for _attempt in range(100):
            if await asyncio.to_thread(_first_octets, server.port):
                return
            await asyncio.sleep(0.02)
        raise AssertionError("the places were not given back")

    serving({}, body)


def _first_octets(port: int) -> bytes:
    try:
        with socket.create_connection((LOOPBACK, port), timeout=10) as caller:
            caller.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            return caller.recv(100)
    except ConnectionError:
        return b""


def test_a_port_whose_last_connections_linger_is_served_at_once() -> None:
    """A restarted process was without metrics for a minute, where a scrape had been under way."""
    listener = socket.create_server((LOOPBACK, 0))
    port: int = listener.getsockname()[1]
    client = socket.create_connection((LOOPBACK, port))
    accepted, _ = listener.accept()
    # The side that closes first keeps the connection in TIME_WAIT.
    accepted.close()
    client.recv(1)
    client.close()
    listener.close()

    async def run() -> None:
        server = StatusServer(
            HostPort(LOOPBACK, port), CollectorRegistry(), {}, Heartbeat(), asyncio.get_running_loop()
        )
        server.close()

    asyncio.run(run())

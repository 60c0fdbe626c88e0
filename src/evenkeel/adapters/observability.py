"""`/metrics`, `/status` and `/healthz` of one component, served on loopback by a thread of its own.

`/metrics` is Prometheus text; `/status` the component's status as JSON, read on the component's event loop;
`/healthz` answers 200 while that loop turns and 503 when it has not for `STALL_S`. At most
`REQUESTS_MAX` requests are served at once, each within `REQUEST_DEADLINE_S`; more are closed unanswered.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any, cast
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import msgspec
from prometheus_client import CollectorRegistry, make_wsgi_app

from evenkeel.model.region import HostPort

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

REQUESTS_MAX = 8
REQUEST_DEADLINE_S = 5.0
STATUS_DEADLINE_S = 2.0
CLOSE_POLL_S = 0.1
BEAT_S = 0.5
STALL_S = 5.0


class Heartbeat:
    """Proves that the event loop turns, and how late it is."""

    def __init__(self) -> None:
        self._beat_s = time.monotonic()
        self.lag_s = 0.0  # how late the last beat came

    async def run(self) -> None:
        """Beats until cancelled."""
        while True:
            due_s = time.monotonic() + BEAT_S
            await asyncio.sleep(BEAT_S)
            self._beat_s = time.monotonic()
            self.lag_s = max(0.0, self._beat_s - due_s)

    def is_alive(self) -> bool:
        return time.monotonic() - self._beat_s < STALL_S


class StatusServer:
    """Serves until `close`. Raises `OSError` when the address cannot be bound."""

    def __init__(
        self,
        address: HostPort,
        registry: CollectorRegistry,
        status: Mapping[str, object],
        heartbeat: Heartbeat,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        server_class = type("_Server", (_BoundedServer,), {"address_family": family})
        application = _application(registry, status, heartbeat, loop)
        self._server: WSGIServer = make_server(address.host, address.port, application, server_class, _QuietHandler)
        self.port: int = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(CLOSE_POLL_S,), name="status-http", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _BoundedServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 32

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._places = threading.BoundedSemaphore(REQUESTS_MAX)
        super().__init__(*args, **kwargs)

    def server_bind(self) -> None:
        # WSGIServer would look its own name up in DNS, which may hang; the numeric address says enough.
        # Connections of the process before this one may linger in TIME_WAIT, for a minute, at the same port.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        socket.socket.bind(self.socket, self.server_address)
        host, port = self.socket.getsockname()[:2]
        self.server_name, self.server_port = host, port
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that goes away in mid-reply is no news."""


class _QuietHandler(WSGIRequestHandler):
    timeout = REQUEST_DEADLINE_S

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Scrapes are not logged."""


def _application(
    registry: CollectorRegistry,
    status: Mapping[str, object],
    heartbeat: Heartbeat,
    loop: asyncio.AbstractEventLoop,
) -> WSGIApplication:
    metrics = make_wsgi_app(registry, disable_compression=True)

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        match environ.get("PATH_INFO"):
            case "/metrics":
                return cast("Iterable[bytes]", metrics(environ, start_response))
            case "/status":
                return _reply(start_response, *_status_body(status, loop))
            case "/healthz":
                body = {"ok": heartbeat.is_alive(), "loop_lag_s": round(heartbeat.lag_s, 3)}
                return _reply(start_response, "200 OK" if body["ok"] else "503 Service Unavailable", body)
            case path:
                return _reply(
                    start_response, "404 Not Found", {"error": f"{path!r}: try /metrics, /status or /healthz"}
                )

    return answer


def _status_body(status: Mapping[str, object], loop: asyncio.AbstractEventLoop) -> tuple[str, object]:
    async def read() -> bytes:
        return msgspec.json.encode(_evaluated(status), enc_hook=str)

    coroutine = read()
    try:
        return "200 OK", msgspec.Raw(asyncio.run_coroutine_threadsafe(coroutine, loop).result(STATUS_DEADLINE_S))
    except TimeoutError:
        return "503 Service Unavailable", {"error": f"the event loop did not turn within {STATUS_DEADLINE_S} s"}
    except RuntimeError as error:  # the loop is closed
        coroutine.close()
        return "503 Service Unavailable", {"error": str(error)}


def _evaluated(status: Mapping[str, object]) -> dict[str, object]:
    return {key: _called(value) if callable(value) else value for key, value in status.items()}


def _called(value: Callable[[], object]) -> object:
    try:
        return value()
    except Exception as error:
        return {"error": repr(error)}  # one value that cannot be had must not hide the others


def _reply(start_response: StartResponse, outcome: str, body: object) -> list[bytes]:
    data = msgspec.json.encode(body)
    start_response(outcome, [("Content-Type", "application/json"), ("Content-Length", str(len(data)))])
    return [data]

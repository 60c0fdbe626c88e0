"""Running an HTTP application inside a component: bounded, stopped by an event, no signals of its own."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import socket
from collections.abc import Iterator, Sequence
from typing import Any

import uvicorn
from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from evenkeel.model.region import HostPort

CONCURRENT_MAX = 1024
KEEP_ALIVE_S = 10
STOP_GRACE_S = 1
BACKLOG = 512


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the component's."""
        yield


def listen(addresses: Sequence[HostPort]) -> list[socket.socket]:
    """Sockets at `addresses`. Raises `OSError` where one cannot be had."""
    sockets: list[socket.socket] = []
    try:
        for address in addresses:
            family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
            sockets.append(socket.create_server((address.host, address.port), family=family, backlog=BACKLOG))
    except OSError:
        for each in sockets:
            each.close()
        raise
    return sockets


async def serve(app: Any, sockets: list[socket.socket], stopping: asyncio.Event) -> None:
    """Serve `app` until `stopping` is set; requests under way have `STOP_GRACE_S` to end."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        limit_concurrency=CONCURRENT_MAX,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=STOP_GRACE_S,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=sockets))
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait({serving, stop}, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    server.should_exit = True
    await serving


class TooLarge(Exception):
    """A request's body is over its bound."""


async def bounded_body(request: Request, octets_max: int) -> bytes:
    """The request's body. Raises `TooLarge` before more than `octets_max` of it is held."""
    declared = request.headers.get("content-length", "0")
    if not declared.isdigit() or int(declared) > octets_max:
        raise TooLarge
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > octets_max:
            raise TooLarge
    return bytes(body)


def bearer(request: Request) -> str:
    """The bearer token (RFC 6750), "" where there is none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def is_token(presented: str, token: str) -> bool:
    """Compared in constant time."""
    return hmac.compare_digest(presented.encode(), token.encode())


class BoundedBodies:
    """ASGI middleware: a request whose body is over the bound is answered 413, before it is held."""

    def __init__(self, app: ASGIApp, octets_max: int) -> None:
        self._app = app
        self._octets_max = octets_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > self._octets_max:
            await self._refuse(scope, receive, send)
            return
        octets = 0

        async def counted() -> Message:
            nonlocal octets
            message = await receive()
            octets += len(message.get("body", b""))
            if octets > self._octets_max:
                raise TooLarge
            return message

        async def unless_too_large(message: Message) -> None:
            # The application takes the end of its reading for a mistake in the body, and has words of its own for it.
            if octets <= self._octets_max:
                await send(message)

        with contextlib.suppress(TooLarge):
            await self._app(scope, counted, unless_too_large)
        if octets > self._octets_max:
            await self._refuse(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        what = f"the body is over {self._octets_max} octets"
        body = {"error": {"code": "RequestTooLarge", "message": what}}
        await JSONResponse(body, 413, {"Connection": "close"})(scope, receive, send)

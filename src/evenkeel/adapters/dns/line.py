"""A line to one server: a connection that is made when there is something to say, and made again after a loss."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

from evenkeel.adapters.dns.connection import Connection, connect
from evenkeel.adapters.dns.failures import NotSent
from evenkeel.adapters.dns.server_clock import ServerClock
from evenkeel.adapters.dns.settings import ClientSettings
from evenkeel.model.region import HostPort
from evenkeel.wire.tsig import TsigKey

_RETRY_S_MIN = 0.05


class Line:
    """Hands out the live connection; one attempt at a new one runs at a time, with a jittered back-off."""

    def __init__(
        self,
        server: HostPort,
        key: TsigKey,
        settings: ClientSettings,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self.server = server
        self.key = key
        self.clock = ServerClock(wall_s)
        self.connections = 0
        self._settings = settings
        self._connection: Connection | None = None
        self._attempt: asyncio.Task[Connection] | None = None
        self._failures = 0
        self._not_before = 0.0
        self._closed = False

    def ready(self) -> Connection | None:
        """The connection, if there is a live one now."""
        connection = self._connection
        return connection if connection is not None and not connection.closed else None

    async def connection(self) -> Connection:
        """A live connection. Raises `NotSent` where one attempt at it fails."""
        connection = self.ready()
        if connection is not None:
            return connection
        if self._closed:
            raise NotSent(f"{self.server}: the client is closed")
        if self._attempt is None:
            self._attempt = asyncio.create_task(self._connect())
            self._attempt.add_done_callback(self._attempted)
        return await asyncio.shield(self._attempt)

    def close(self) -> None:
        self._closed = True
        if self._attempt is not None:
            self._attempt.cancel()
        if self._connection is not None:
            self._connection.close()

    async def _connect(self) -> Connection:
        await asyncio.sleep(max(0.0, self._not_before - asyncio.get_running_loop().time()))
        try:
            connection = await connect(
                self.server,
                self.key,
                connect_deadline_s=self._settings.connect_deadline_s,
                exchange_deadline_s=self._settings.exchange_deadline_s,
                clock=self.clock,
            )
        except NotSent:
            self._failures += 1
            pause_s = min(self._settings.retry_s_max, _RETRY_S_MIN * 2 ** min(self._failures, 10))
            self._not_before = asyncio.get_running_loop().time() + pause_s * random.uniform(0.5, 1.0)
            raise
        self._failures = 0
        self.connections += 1
        self._connection = connection
        return connection

    def _attempted(self, attempt: asyncio.Task[Connection]) -> None:
        self._attempt = None
        if not attempt.cancelled():
            attempt.exception()  # whoever waited has it; nobody waiting is no accident

"""Keeps a zone's view fresh: the serial is asked for every second, and what changed is transferred.

A *doubt* is an endpoint whose last commit was refused or has an unknown outcome: it is not read again before a
transfer that was begun after the doubt has been taken in, so re-reading can never go round on a stale value.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Iterable

from evenkeel.adapters.dns.failures import KeyRejected, NotSent, ServerRefused
from evenkeel.adapters.dns.line import Line
from evenkeel.adapters.dns.settings import ClientSettings
from evenkeel.adapters.dns.transfers import transfer
from evenkeel.adapters.dns.view import ZoneView
from evenkeel.model.errors import EvenkeelError, Unreachable
from evenkeel.wire.names import Malformed, encode_name, read_name, skip_name
from evenkeel.wire.rdata import SOA_CODE, read_rdata

_RETRY_S_MIN = 0.1
_BUSY_POLLS = 5  # how many polls may be left out while we write ourselves


class Follower:
    """Runs as one task; `refresh` waits for a round that begins after the call."""

    def __init__(self, line: Line, view: ZoneView, settings: ClientSettings) -> None:
        self.failure: EvenkeelError | None = None  # of the latest round; None while all is well
        self.transfers = 0
        # Told by whoever writes: a zone that we ourselves write without pause is followed more slowly, because what a
        # transfer would bring is mostly our own.
        self.is_busy: Callable[[], bool] = lambda: False
        self._line = line
        self._view = view
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._round = 0  # number of the latest round begun
        self._wanted = 0  # a refresh waits for this round
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._doubts: dict[str, int] = {}
        self._wake = asyncio.Event()
        self._confirmed_at = float("-inf")
        self._closed = False

    # --- for readers ----------------------------------------------------------------------------------

    def doubt(self, endpoints: Iterable[str]) -> None:
        """What the view shows of `endpoints` may be older than what the server has just decided by."""
        for endpoint in endpoints:
            self._doubts[endpoint] = self._round

    def is_fresh(self, endpoint: str) -> bool:
        """Whether the view may be read for `endpoint` as it is."""
        return endpoint not in self._doubts and self.age_s <= self._settings.stale_after_s

    async def refresh(self) -> None:
        """Return once a round begun after this call is done. Raises that round's `Unreachable`."""
        if self._closed:
            raise NotSent(f"{self._line.server}: the client is closed")
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._wanted = self._round + 1
        self._waiters.append((self._wanted, waiter))
        self._wake.set()
        try:
            async with asyncio.timeout(self._settings.transfer_deadline_s):
                await waiter
        except TimeoutError as error:
            raise Unreachable(f"{self._line.server}: no transfer of {self._view.zone} in time") from error

    @property
    def age_s(self) -> float:
        """Since the view was last known to be the server's own state."""
        return self._loop.time() - self._confirmed_at

    # --- the task -------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled."""
        failures = 0
        try:
            while True:
                self._wake.clear()
                if self._may_wait():
                    await self._pause(0)
                    continue
                self._round += 1
                began = self._loop.time()
                try:
                    await self._one_round()
                except EvenkeelError as error:
                    failures += 1
                    self._ended(self._round, error)
                else:
                    failures = 0
                    self._confirmed_at = began
                    self._ended(self._round, None)
                await self._pause(failures)
        finally:
            self._closed = True
            self._ended(self._round + 1, NotSent(f"{self._line.server}: the client is closed"))

    def _may_wait(self) -> bool:
        unasked = self._wanted <= self._round and self._view.serial >= 0 and self.failure is None
        return unasked and self.is_busy() and self.age_s < _BUSY_POLLS * self._settings.poll_s

    async def _one_round(self) -> None:
        view = self._view
        if view.serial >= 0 and self._wanted < self._round:
            covered = view.stage(whole=False).covered
            if await self._serial() == view.serial:
                view.confirm(covered)
                return
        await transfer(self._line, view, self._settings)
        self.transfers += 1
        await self._line.connection()  # so that the next commit finds it open

    async def _serial(self) -> int:
        """The zone's serial, as the primary says (RFC 1035 section 3.3.13)."""
        zone = self._view.zone
        query = struct.pack("!6H", 0, 0, 1, 0, 0, 0) + encode_name(zone) + struct.pack("!HH", SOA_CODE, 1)
        connection = await self._line.connection()
        reply = await connection.exchange(query)
        what = f"SOA query of {zone} at {self._line.server}"
        if reply.tsig_error:
            raise KeyRejected(reply.tsig_error, self._line.key.name, what)
        if reply.rcode:
            raise ServerRefused(reply.rcode, what)
        return _soa_serial(reply.message, zone)

    async def _pause(self, failures: int) -> None:
        pause_s = self._settings.poll_s
        if failures:
            pause_s = min(self._settings.retry_s_max, _RETRY_S_MIN * 2 ** min(failures, 8))
        elif self._wanted > self._round:
            return
        try:
            async with asyncio.timeout(pause_s):
                await self._wake.wait()
        except TimeoutError:
            return
        if failures:
            await asyncio.sleep(_RETRY_S_MIN)  # many impatient readers do not turn into a retry storm

    def _ended(self, number: int, failure: EvenkeelError | None) -> None:
        self.failure = failure
        still: list[tuple[int, asyncio.Future[None]]] = []
        for wanted, waiter in self._waiters:
            if wanted > number:
                still.append((wanted, waiter))
            elif waiter.done():
                continue
            elif failure is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(failure)
        self._waiters = still
        if failure is None and self._doubts:
            self._doubts = {name: since for name, since in self._doubts.items() if since >= number}


def _soa_serial(message: bytes, zone: str) -> int:
    try:
        questions, answers = struct.unpack_from("!2H", message, 4)
        at = 12
        for _ in range(questions):
            at = skip_name(message, at) + 4
        seen: dict[int, str] = {}
        for _ in range(answers):
            name, at = read_name(message, at, seen)
            rtype, _, _, rdlength = struct.unpack_from("!HHIH", message, at)
            at += 10
            if rtype == SOA_CODE and name == zone:
                return int(read_rdata(message, rtype, at, at + rdlength, seen).split()[2])
            at += rdlength
    except (IndexError, struct.error, ValueError) as error:
        raise Malformed(f"SOA reply of {zone} is broken") from error
    raise Malformed(f"SOA reply of {zone} has no SOA: the server does not serve that zone")

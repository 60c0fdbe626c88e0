"""Clients behind caching resolvers, as tables: what a population suffers from the answers over time.

One row a resolver, one step a window. A resolver asks again at the first demand after its answer has expired: after
the record's TTL, or, for "no answer", after the negative TTL (RFC 2308). Clients hold connections, which end at a
steady rate; a new one needs an answer with an address that answers. What a client without a connection asks fails.

Everything is whole numbers (clients in thousandths), so that the same run gives the same figures on every machine.
Clients change nothing in the region, so their tables are filled in after the run, from what the zones showed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evenkeel.sim.acting import Override
from evenkeel.sim.chance import Streams
from evenkeel.sim.scheduler import SECOND_US
from evenkeel.sim.script import Clients
from evenkeel.sim.watching import Moment

Ints = npt.NDArray[np.int64]

MILLE = 1000
SERVFAIL_RETRY_US = 5 * SECOND_US  # RFC 2308 section 7: a failure may be kept, for 5 minutes at most
NO_ANSWER = -1
EMPTY = 0
FAILING_SHARE = 10  # per mille of clients that make "clients fail"
RECOVERED_SHARE = 1
MINUTE_US = 60 * SECOND_US


@dataclass(frozen=True, slots=True)
class Stage:
    """What a population looks at: one endpoint's answers, who can be asked when, and which addresses are alive."""

    moments: Sequence[Moment]
    ttl_s: int
    negative_ttl_s: int
    host_changes: Sequence[tuple[int, bool]]  # moment, up from then on
    address_changes: Sequence[tuple[int, tuple[str, ...], bool]]  # moment, addresses, alive from then on
    overrides: Sequence[Override]
    lasts_us: int
    window_us: int


@dataclass(frozen=True, slots=True)
class Suffered:
    """What a population suffered. `failing` is per mille of clients, one a window."""

    name: str
    requests: int
    failed: int
    failing: tuple[int, ...]
    window_us: int
    first_failed_us: int = -1  # the first window in which anything failed; below 0: none

    @property
    def failed_share(self) -> float:
        return self.failed / self.requests if self.requests else 0.0

    @property
    def worst(self) -> int:
        """Per mille."""
        return max(self.failing, default=0)

    @property
    def no_answer_min(self) -> float:
        """Minutes, of one client on average."""
        return sum(self.failing) * self.window_us / MILLE / MINUTE_US

    def failing_from_us(self, after_us: int = 0) -> int | None:
        """When clients began to fail, from `after_us` on; None where they never did."""
        start = after_us // self.window_us
        return next(
            (n * self.window_us for n in range(start, len(self.failing)) if self.failing[n] >= FAILING_SHARE), None
        )

    def recovered_at_us(self) -> int | None:
        """Since when all is well again, to the end; None where it never failed, or is not well."""
        last = next((n for n in range(len(self.failing) - 1, -1, -1) if self.failing[n] >= RECOVERED_SHARE), None)
        if last is None or last == len(self.failing) - 1:
            return None
        return (last + 1) * self.window_us


class _Answers:
    """Distinct answers by number, 0 the empty one, and which share of each is alive."""

    def __init__(self) -> None:
        self.numbers: dict[tuple[tuple[str, ...], str], int] = {((), ""): EMPTY}
        self._dead: dict[str, None] = {}

    def number(self, moment: Moment) -> int:
        if moment.is_empty:
            return EMPTY
        return self.numbers.setdefault((moment.addresses, moment.weights), len(self.numbers))

    def set_alive(self, addresses: tuple[str, ...], alive: bool) -> None:
        for address in addresses:
            if alive:
                self._dead.pop(address, None)
            else:
                self._dead[address] = None

    def alive_shares(self) -> list[int]:
        """Per mille of each answer's weight that is alive."""
        return [self._alive_share(addresses, weights) for addresses, weights in self.numbers]

    def _alive_share(self, addresses: tuple[str, ...], weights: str) -> int:
        if not addresses:
            return 0
        if not self._dead:
            return MILLE
        by_address = weights_of(addresses, weights)
        alive = sum(weight for address, weight in by_address.items() if address not in self._dead)
        return MILLE * alive // sum(by_address.values())


def weights_of(addresses: Sequence[str], weights: str) -> dict[str, int]:
    """`a=3,1;aaaa=2,2` beside the sorted addresses of each family; 1 each where nothing is said."""
    said: dict[str, list[int]] = {}
    for part in weights.split(";") if weights else ():
        family, _, numbers = part.partition("=")
        said[family] = [int(number) for number in numbers.split(",")]
    found: dict[str, int] = {}
    for family in ("a", "aaaa"):
        members = [address for address in addresses if (":" in address) == (family == "aaaa")]
        found.update(zip(members, said.get(family, [1] * len(members)), strict=False))
    return found


def suffered(population: Clients, stage: Stage, streams: Streams) -> Suffered:
    """Fill in a population's tables from start to end."""
    return _Table(population, stage, streams).run()


class _Table:
    """The rows of one population."""

    def __init__(self, population: Clients, stage: Stage, streams: Streams) -> None:
        self._population = population
        self._stage = stage
        self._stream = streams.table_stream(f"clients/{population.name}")
        rows = population.resolvers
        each, left = divmod(population.clients * MILLE, rows)
        self._clients: Ints = np.full(rows, each, dtype=np.int64)
        self._clients[:left] += 1
        self._connected = self._clients.copy()
        self._answers = _Answers()
        self._now_number = NO_ANSWER
        self._known: Ints = np.full(rows, NO_ANSWER, dtype=np.int64)
        self._expires_us: Ints = self._gaps_us(rows, max(stage.ttl_s * SECOND_US, 1))
        self._good_until_us: Ints = np.zeros(rows, dtype=np.int64)
        self._is_up = True

    def _gaps_us(self, rows: int, most_us: int) -> Ints:
        gaps: Ints = self._stream.integers(0, most_us + 1, rows, dtype=np.int64)
        return gaps

    def run(self) -> Suffered:
        stage, population = self._stage, self._population
        windows = -(-stage.lasts_us // stage.window_us)
        moments, hosts, addresses = iter(stage.moments), iter(stage.host_changes), iter(stage.address_changes)
        moment, host, address = next(moments, None), next(hosts, None), next(addresses, None)
        shares = np.array([0], dtype=np.int64)
        failing, failed_total, first_failed_us = [], 0, -1
        is_started = False
        for window in range(windows):
            now_us = window * stage.window_us
            end_us = now_us + stage.window_us
            is_changed = False
            while moment is not None and moment.at_us < end_us:
                self._now_number, is_changed = self._answers.number(moment), True
                moment = next(moments, None)
            while host is not None and host[0] < end_us:
                self._is_up = host[1]
                host = next(hosts, None)
            while address is not None and address[0] < end_us:
                self._answers.set_alive(address[1], address[2])
                self._break_connections(address[2])
                address, is_changed = next(addresses, None), True
            if is_changed:
                shares = np.array([*self._answers.alive_shares(), 0], dtype=np.int64)  # NO_ANSWER is the last
                if not is_started and self._now_number > EMPTY:
                    is_started = True  # clients come once there is something to come to
                    self._known[:] = self._now_number
            if is_started:
                self._ask(now_us)
                self._connect(shares)
            lost = int((self._clients - self._connected).sum())
            failing.append(MILLE * lost // (population.clients * MILLE))
            failed_total += lost
            if lost and first_failed_us < 0:
                first_failed_us = now_us
        per_window = population.requests_per_minute * stage.window_us
        return Suffered(
            population.name,
            population.clients * population.requests_per_minute * stage.lasts_us // MINUTE_US,
            failed_total * per_window // (MINUTE_US * MILLE),
            tuple(failing),
            stage.window_us,
            first_failed_us,
        )

    def _override(self, now_us: int) -> int | None:
        """The number that resolvers answer by hand; None where they do not."""
        if not self._population.obeys_override:
            return None
        for override in self._stage.overrides:
            if override.at_us <= now_us and (not override.until_us or now_us < override.until_us):
                before = [m for m in self._stage.moments if m.at_us <= override.at_us and not m.is_empty]
                return self._answers.number(before[-1]) if before else None
        return None

    def _ask(self, now_us: int) -> None:
        """Resolvers whose answer has expired ask again."""
        by_hand = self._override(now_us)
        if by_hand is not None:
            self._known[:] = by_hand
            self._expires_us[:] = now_us
            return
        due = np.flatnonzero(self._expires_us <= now_us)
        if not len(due):
            return
        if self._is_up:
            self._known[due] = self._now_number
            is_empty = self._now_number <= EMPTY
            life_s = self._stage.negative_ttl_s if is_empty else self._stage.ttl_s
            idle_us = self._population.idle_s * SECOND_US
            # Nobody asks at the very moment of expiry: the next demand comes a while later.
            self._expires_us[due] = now_us + life_s * SECOND_US + self._gaps_us(len(due), 2 * idle_us)
            self._good_until_us[due] = self._expires_us[due] + self._population.stale_s * SECOND_US
        else:
            too_old = due[self._good_until_us[due] <= now_us]
            self._known[too_old] = NO_ANSWER
            self._expires_us[due] = now_us + SERVFAIL_RETRY_US

    def _connect(self, shares: Ints) -> None:
        """Some connections end; who has none opens one, as far as the answer's addresses are alive."""
        ending = self._connected * self._stage.window_us // (self._population.connection_s * SECOND_US)
        self._connected -= np.minimum(ending, self._connected)
        alive = shares[self._known]
        dead = MILLE - alive
        for _ in range(self._population.retries):
            dead = dead * (MILLE - alive) // MILLE
        self._connected += np.where(alive > 0, (self._clients - self._connected) * (MILLE - dead) // MILLE, 0)

    def _break_connections(self, is_alive: bool) -> None:
        """An address that dies takes its connections along."""
        if is_alive:
            return
        shares = np.array([*self._answers.alive_shares(), 0], dtype=np.int64)
        alive = np.where(self._known > EMPTY, shares[self._known], MILLE)
        self._connected = np.minimum(self._connected, self._clients * alive // MILLE)


def capacity_lost(
    moments: Sequence[Moment],
    capacity: Mapping[str, float],
    address_changes: Sequence[tuple[int, tuple[str, ...], bool]],
) -> list[tuple[int, int]]:
    """Over time, per mille of an endpoint's live capacity that its answer does not offer."""
    dead: dict[str, None] = {}
    offered: tuple[str, ...] = ()
    found: list[tuple[int, int]] = []
    changes: list[tuple[int, Moment | tuple[tuple[str, ...], bool]]] = [(m.at_us, m) for m in moments]
    changes += [(at_us, (addresses, alive)) for at_us, addresses, alive in address_changes]
    for at_us, change in sorted(changes, key=lambda each: each[0]):
        if isinstance(change, Moment):
            offered = change.addresses
        else:
            for address in change[0]:
                if change[1]:
                    dead.pop(address, None)
                else:
                    dead[address] = None
        alive = sum(value for address, value in capacity.items() if address not in dead)
        given = sum(capacity.get(address, 0.0) for address in offered if address not in dead)
        found.append((at_us, round(MILLE * (1 - given / alive)) if alive else 0))
    return found

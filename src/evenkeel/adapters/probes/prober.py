"""Probes thousands of targets on one event loop, each at its own place in the interval.

Load is bounded by what does not grow: a turn that would exceed `in_flight_max`, or that comes up more than
`LATE_START_SHARE` of its interval late, is not queued but given up as `LATE`, which no target is blamed for. So a
checker that saturates learns less; it never takes healthy capacity away (RECOVERY.md).
"""

from __future__ import annotations

import asyncio
import resource
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from evenkeel.adapters.probes.exchange import Call, Exchange, call_for, tls_context
from evenkeel.adapters.probes.loop_watch import LoopWatch
from evenkeel.adapters.probes.reported import Mailbox
from evenkeel.adapters.probes.schedule import Schedule, Turn, phase_share
from evenkeel.endpoints.vantage_view import Target
from evenkeel.endpoints.verdicts import Observation, Outcome
from evenkeel.model.health import ProbeKind

TICK_S = 0.005  # turns this close together start together: fewer wake-ups
TICK_MAX_S = 0.05  # how often the loop's absences are looked for
BATCH_MAX = 256  # turns started before replies are looked at again
LATE_START_SHARE = 0.5  # of the interval
ABSENCE_SHARE_MAX = 0.25  # of the timeout: if we were away for more of it, the timeout is ours
IN_FLIGHT_MAX = 8192
DESCRIPTORS_SHARE = 0.5  # of what the process may open, for probes


@dataclass(slots=True)
class ProbeCounts:
    """What happened since the start. `turns` = `started` + `skipped` + `overlapping` + `refused_full`."""

    turns: int = 0
    started: int = 0
    done: int = 0
    skipped: int = 0  # came up too late
    overlapping: int = 0  # the turn before is still under way
    refused_full: int = 0  # `in_flight_max` reached
    outcomes: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))


class Prober:
    """Calls `on_result(index, observation, now_s)` for every turn of every target; times are the loop's."""

    def __init__(
        self,
        vantage: str,
        targets: Sequence[Target],
        on_result: Callable[[int, Observation, float], None],
        *,
        mailbox: Mailbox | None = None,
        in_flight_max: int = 0,
        on_lag: Callable[[float], None] | None = None,
    ) -> None:
        self.counts = ProbeCounts()
        self._targets = tuple(targets)
        self._on_result = on_result
        self._on_lag = on_lag
        self._mailbox = mailbox if mailbox is not None else Mailbox()
        self._in_flight_max = in_flight_max or in_flight_limit()
        self._calls = _calls(self._targets)
        self._shares = [phase_share(vantage, target.key) for target in self._targets]
        self._under_way: dict[int, tuple[Exchange, asyncio.TimerHandle, float]] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def in_flight(self) -> int:
        """Probes under way."""
        return len(self._under_way)

    def start(self) -> None:
        """Begin, on the running loop; the first turns are within one interval."""
        self._loop = asyncio.get_running_loop()
        now_s = self._loop.time()
        self._schedule = Schedule(now_s, [target.probe.interval_s for target in self._targets], self._shares)
        self._watch = LoopWatch(now_s)
        self._mailbox.listen_from(now_s)
        self._sleep_until(now_s)

    def stop(self) -> None:
        """End; probes under way are abandoned."""
        if self._timer is not None:
            self._timer.cancel()
        for exchange, deadline, _ in self._under_way.values():
            deadline.cancel()
            exchange.abandon()
        self._under_way.clear()

    def _sleep_until(self, at_s: float) -> None:
        self._watch.expect(at_s)
        self._timer = self._loop.call_at(at_s, self._tick)

    def _tick(self) -> None:
        now_s = self._loop.time()
        self._watch.woke(now_s)
        turns = self._schedule.take(now_s, BATCH_MAX)
        for turn in turns:
            self._take_turn(turn, now_s)
        if len(turns) == BATCH_MAX:
            self._sleep_until(self._loop.time())
            return
        self._sleep_until(min(max(self._schedule.next_s, now_s + TICK_S), now_s + TICK_MAX_S))

    def _take_turn(self, turn: Turn, now_s: float) -> None:
        probe = self._targets[turn.index].probe
        late_s = now_s - turn.due_s
        if self._on_lag is not None:
            self._on_lag(late_s)
        self.counts.turns += 1 + turn.skipped
        self.counts.skipped += turn.skipped
        if late_s > probe.interval_s * LATE_START_SHARE:
            self.counts.skipped += 1
            self._report(turn.index, Observation(Outcome.LATE, detail=f"turn {late_s:.1f} s late"))
        elif turn.index in self._under_way:
            self.counts.overlapping += 1
        elif len(self._under_way) >= self._in_flight_max:
            self.counts.refused_full += 1
            self._report(turn.index, Observation(Outcome.LATE, detail=f"{self._in_flight_max} probes under way"))
        else:
            self.counts.started += 1
            self._begin(turn.index)

    def _begin(self, index: int) -> None:
        call = self._calls[index]
        if call is None:
            target = self._targets[index]
            self.counts.done += 1
            self._report(index, self._mailbox.look(target.load_balancer, target.probe, self._loop.time()))
            return
        exchange = Exchange(self._loop, call, lambda _, seen: self._end(index, seen))
        absent_s = self._watch.absent_s(exchange.started_s)
        deadline = self._loop.call_at(exchange.started_s + call.timeout_s, self._deadline, index)
        self._under_way[index] = (exchange, deadline, absent_s)
        exchange.begin()

    def _deadline(self, index: int) -> None:
        exchange, _, absent_before_s = self._under_way[index]
        verdict = exchange.last_look()
        if verdict is None:
            return
        absent_s = self._watch.absent_s(self._loop.time()) - absent_before_s
        if absent_s > exchange.timeout_s * ABSENCE_SHARE_MAX:
            verdict = Observation(Outcome.LATE, detail=f"not looking for {absent_s:.2f} s of it")
        exchange.end(verdict)

    def _end(self, index: int, seen: Observation) -> None:
        _, deadline, _ = self._under_way.pop(index)
        deadline.cancel()
        self.counts.done += 1
        self._report(index, seen)

    def _report(self, index: int, seen: Observation) -> None:
        self.counts.outcomes[seen.outcome] += 1
        self._on_result(index, seen, self._loop.time())


def in_flight_limit() -> int:
    """How many probes may be under way, given what this process may open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return IN_FLIGHT_MAX
    return max(1, min(IN_FLIGHT_MAX, int(soft * DESCRIPTORS_SHARE)))


def _calls(targets: Sequence[Target]) -> list[Call | None]:
    contexts: dict[tuple[bool, str], ssl.SSLContext] = {}
    calls: list[Call | None] = []
    for target in targets:
        probe = target.probe
        if probe.kind is ProbeKind.REPORTED:
            calls.append(None)
            continue
        context = None
        if probe.kind is ProbeKind.HTTPS:
            trust = (probe.verify_tls, probe.authorities_file)
            context = contexts.get(trust) or contexts.setdefault(trust, tls_context(*trust))
        calls.append(call_for(target, context))
    return calls

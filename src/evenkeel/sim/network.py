"""Between processes and hosts: every exchange is a request and a reply, each after a latency of its own route.

A route is one direction between two parties. It may be slow, lose, double or hold up messages, or be cut. A request
that has left takes effect whatever becomes of its sender; a reply finds its sender only within the deadline. So a
caller that hears nothing does not know whether its request was served, which is what real clients live with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

from evenkeel.model.errors import EvenkeelError, Unreachable
from evenkeel.sim.chance import Latency, Streams
from evenkeel.sim.scheduler import SECOND_US, Pending, Simulator
from evenkeel.sim.trace import Trace

T = TypeVar("T")

DEADLINE_US = 3 * SECOND_US
MILLE = 1000


@dataclass(slots=True)
class Trouble:
    """What is wrong with a route. Shares are per mille of messages."""

    is_cut: bool = False
    lost: int = 0
    doubled: int = 0
    late: int = 0
    late_us: int = 0
    extra_us: int = 0


@dataclass(slots=True)
class Route:
    """One direction. Faults draw from a stream of their own, so that latencies stay as they are without them."""

    latency: Latency
    stream: Random
    fault_stream: Random
    troubles: list[Trouble] = field(default_factory=list)

    def transit_us(self, times: int) -> int | None:
        """How long this message takes; None where it is lost."""
        latency, stream = self.latency, self.stream
        transit_us = latency.draw_us(stream) if times == 1 else latency.draw_sum_us(stream, times)
        for trouble in self.troubles:
            if trouble.is_cut or self._strikes(trouble.lost):
                return None
            transit_us += trouble.extra_us * times
            if self._strikes(trouble.late):
                transit_us += trouble.late_us
        return transit_us

    def is_doubled(self) -> bool:
        return any(self._strikes(trouble.doubled) for trouble in self.troubles)

    def _strikes(self, per_mille: int) -> bool:
        return per_mille > 0 and self.fault_stream.randrange(MILLE) < per_mille


class Host:
    """Something that answers requests: a zone server, the plan store. It serves one at a time, at once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_up = True
        self.is_paused = False
        self.caller = ""  # whose request is being served
        self.backlog: list[Exchange[object]] = []  # arrived while it was paused

    def pause(self) -> None:
        """What is down cannot be paused: it would start again as if nobody ever let it go on."""
        self.is_paused = self.is_up

    def resume(self) -> None:
        """Serve what waited, in order of arrival; what was acknowledged to nobody may be served late."""
        self.is_paused = False
        waited, self.backlog = self.backlog, []
        for exchange in waited:
            exchange.deliver(None)

    def crash(self) -> None:
        """Everything acknowledged is on disk; what waited is gone."""
        self.is_up = self.is_paused = False
        self.backlog.clear()

    def restart(self) -> None:
        self.is_up, self.is_paused = True, False


class Exchange(Pending[T]):
    """One request on its way, and its reply."""

    __slots__ = ("act", "back", "caller", "deadline_at_us", "host", "label", "times", "trace")

    def __init__(
        self,
        simulator: Simulator,
        trace: Trace,
        caller: str,
        host: Host,
        back: Route,
        act: Callable[[], T],
        label: str,
        times: int,
        deadline_at_us: int,
    ) -> None:
        super().__init__(simulator)
        self.trace = trace
        self.caller = caller
        self.host = host
        self.back = back
        self.act = act
        self.label = label
        self.times = times
        self.deadline_at_us = deadline_at_us

    def deliver(self, _: object) -> None:
        """The request arrives."""
        if not self.host.is_up:
            self._answer(None, Unreachable(f"{self.host.name} refused the connection"))
        elif self.host.is_paused:
            self.host.backlog.append(self)  # type: ignore[arg-type]  # served the same whatever its reply's type
            self.expire_later()
        else:
            self._serve()

    def _serve(self) -> None:
        result: T | None = None
        error: Exception | None = None
        self.host.caller = self.caller
        try:
            result = self.act()
        except EvenkeelError as refusal:
            error = refusal
        reply = type(error).__name__ if error is not None else getattr(result, "name", "")
        self.trace.line(f"{self._simulator.now_us} {self.caller} > {self.host.name} {self.label} {reply}")
        self._answer(result, error)

    def _answer(self, result: T | None, error: Exception | None) -> None:
        transit_us = self.back.transit_us(self.times)
        if transit_us is None or self._simulator.now_us + transit_us > self.deadline_at_us:
            self.expire_later()
        elif error is not None:
            self.fail(error, transit_us)
        else:
            self.settle(result, transit_us)  # type: ignore[arg-type]  # no error, so there is a result

    def expire_later(self) -> None:
        """Nothing will come in time."""
        if not self.is_settled:
            self._simulator.call_at(self.deadline_at_us, self._expire)

    def _expire(self, _: object) -> None:
        self.fail(NoReply(f"{self.host.name} did not answer in time"))


class NoReply(Unreachable):
    """Nothing was heard within the deadline: the request may have been served, or may yet be."""


class Network:
    """All routes."""

    def __init__(self, simulator: Simulator, streams: Streams, trace: Trace, default: Latency) -> None:
        self.default = default
        self.simulator = simulator
        self._streams = streams
        self._trace = trace
        self._routes: dict[tuple[str, str], Route] = {}
        self._latencies: dict[tuple[str, str], Latency] = {}

    def set_latency(self, one: str, other: str, latency: Latency) -> None:
        """Between two parties, both ways; before the first message."""
        self._latencies[one, other] = self._latencies[other, one] = latency

    def route(self, source: str, target: str) -> Route:
        route = self._routes.get((source, target))
        if route is None:
            latency = self._latencies.get((source, target), self.default)
            name = f"{source}>{target}"
            streams = self._streams
            route = Route(latency, streams.stream("net/" + name), streams.stream("net-faults/" + name))
            self._routes[source, target] = route
        return route

    def ask(
        self,
        caller: str,
        host: Host,
        act: Callable[[], T],
        label: str,
        *,
        times: int = 1,
        extra_us: int = 0,
        deadline_us: int = DEADLINE_US,
    ) -> Exchange[T]:
        """Send a request; await what is returned for its reply. `act` is what the host does when it arrives.

        `times`: it stands for so many exchanges one after another. `extra_us`: the caller's own delay in sending.
        Raises, when awaited: `Unreachable` (refused), `NoReply` (nothing within the deadline), or what `act` raises.
        """
        simulator = self.simulator
        there = self.route(caller, host.name)
        deadline_at_us = simulator.now_us + deadline_us * times + extra_us
        back = self.route(host.name, caller)
        exchange = Exchange(simulator, self._trace, caller, host, back, act, label, times, deadline_at_us)
        transit_us = there.transit_us(times)
        if transit_us is None:
            exchange.expire_later()
        else:
            simulator.call_after(transit_us + extra_us, exchange.deliver)
            if there.troubles and there.is_doubled():
                again_us = there.transit_us(times)
                simulator.call_after(extra_us + (again_us or transit_us), exchange.deliver)
        return exchange

    def push(self, source: str, target: str, deliver: Callable[[object], None], retry_us: int) -> None:
        """Send until it is heard, as a connection that is opened anew does. `deliver` may be called more than once."""
        transit_us = self.route(source, target).transit_us(1)
        if transit_us is None:
            self.simulator.call_after(retry_us, lambda _: self.push(source, target, deliver, retry_us))
        else:
            self.simulator.call_after(transit_us, deliver)

"""The plan store in virtual time: the twin, with a push of every new plan to who follows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evenkeel.model.errors import Refusal, StoreUnwritable
from evenkeel.model.plan import Plan
from evenkeel.sim.network import Host, Network
from evenkeel.twins.plan_store import Append, Request, State, plan_store

RECONNECT_US = 5_000_000  # a follower that lost the link finds out, and opens another, within this


class PlanHost(Host):
    """One region's store. `is_full`: its disk takes no more writes."""

    def __init__(self, name: str, region: str, kept: int, network: Network) -> None:
        super().__init__(name)
        self.state = State(region, kept)
        self.is_full = False
        self.on_appended: Callable[[Plan], None] = lambda plan: None
        self._network = network
        self._followers: dict[str, Callable[[Plan], None]] = {}

    def serve(self, request: Request) -> Any:
        """The reply. Raises what the store refuses with."""
        if self.is_full and isinstance(request, Append):
            raise StoreUnwritable("the plan store's disk is full; make room, nothing acknowledged is lost")
        before = self.state.newest.generation
        self.state, reply = plan_store(self.state, request)
        if isinstance(reply, Refusal):
            raise reply
        if self.state.newest.generation != before:
            self.on_appended(self.state.newest)
            for follower in self._followers:
                self._push(follower)
        return reply

    def follow(self, follower: str, take: Callable[[Plan], None]) -> None:
        """From now on `take` gets the newest plan soon after each append, and now where there is one."""
        self._followers[follower] = take
        if self.state.generations:
            self._push(follower)

    def _push(self, follower: str) -> None:
        """Tell `follower` the newest plan, for as long as it takes to be heard."""
        self._network.push(self.name, follower, lambda _: self._deliver(follower), RECONNECT_US)

    def _deliver(self, follower: str) -> None:
        if self.is_up and not self.is_paused:
            self._followers[follower](self.state.newest)
        else:
            self._network.simulator.call_after(RECONNECT_US, lambda _: self._push(follower))

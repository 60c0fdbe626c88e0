"""What an operator does to a region by hand: levers, the kill switch, an audit, a look at how things stand.

Works on the zones' primaries directly, so that it works when everything else is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from evenkeel.adapters.clock import AsyncioClock, FreshNonces
from evenkeel.adapters.dns.resolve import ServerResolver
from evenkeel.adapters.dns.zone_client import ZoneClient
from evenkeel.endpoints import levers
from evenkeel.endpoints.audit import Audited, audit_endpoint
from evenkeel.endpoints.guarded_zone import GuardedZone
from evenkeel.endpoints.layout import Standing
from evenkeel.endpoints.levers import Pulled
from evenkeel.model.errors import CorruptFence, EvenkeelError, InputError, Problem, Refusal, Unfinished
from evenkeel.model.events import EventKind
from evenkeel.model.fence import Fence, only_fence
from evenkeel.model.names import absolute, is_at_or_under
from evenkeel.model.plan import Answer, Plan
from evenkeel.model.region import HostPort, Region
from evenkeel.ports.journal import Journal
from evenkeel.ports.zone import Write, ZoneServer
from evenkeel.region.keys import zone_key

OPERATOR = "operator"
LEVER_DEADLINE_S = 30.0
AUDITS_IN_FLIGHT_MAX = 200

Lever = Callable[[str, GuardedZone, ZoneServer], Awaitable[Pulled]]
LEVERS: dict[str, tuple[Lever, EventKind]] = {
    "pin": (lambda endpoint, zone, server: levers.pin(endpoint, zone), EventKind.PINNED),
    "unpin": (lambda endpoint, zone, server: levers.unpin(endpoint, zone), EventKind.UNPINNED),
    "rollback": (levers.rollback, EventKind.ROLLED_BACK),
    "repair": (levers.repair, EventKind.REPAIRED),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One endpoint's: what was done, or why not."""

    endpoint: str
    changed: bool
    detail: str
    error: EvenkeelError | None = None


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """How one endpoint stands in its zone, beside the newest plan (generation 0: no plan is known)."""

    endpoint: str
    zone: str
    addresses: tuple[str, ...]
    weights: str
    fence: Fence | None
    problem: str  # a corrupt fence, an empty answer; "" where sound
    planned_in: int
    is_behind: bool


class Operator:
    """Open zones, and what can be done with them. See `operating`."""

    def __init__(self, region: Region, journal: Journal, clients: dict[str, ZoneClient]) -> None:
        self._region = region
        self._journal = journal
        self._clients = clients
        self._guarded = {
            name: GuardedZone(name, client, region.policy, OPERATOR, FreshNonces(), AsyncioClock(), journal)
            for name, client in clients.items()
        }

    def zone_of(self, endpoint: str) -> str:
        """The zone that `endpoint` stands in: the longest that fits. Raises `InputError`."""
        fitting = [zone for zone in self._region.zones if is_at_or_under(endpoint, zone)]
        if not fitting:
            zones = ", ".join(self._region.zones)
            raise InputError.one(endpoint, "is in no zone of the region", f"zones are {zones}")
        return max(fitting, key=len)

    # --- levers ---------------------------------------------------------------------------------------

    async def pull(self, lever: str, endpoints: Sequence[str]) -> list[Outcome]:
        """Pull `lever` ("pin", "unpin", "rollback", "repair") on each; one refused does not keep the others."""
        names = self._checked(endpoints)
        return list(await asyncio.gather(*(self._pull_one(lever, name) for name in names)))

    def _checked(self, endpoints: Sequence[str]) -> list[str]:
        problems: list[Problem] = []
        names = []
        for text in endpoints:
            try:
                name = absolute(text, "endpoint")
                self.zone_of(name)
                names.append(name)
            except InputError as error:
                problems += error.problems
        if problems:
            raise InputError(problems)
        return names

    async def _pull_one(self, lever: str, endpoint: str) -> Outcome:
        act, kind = LEVERS[lever]
        zone = self.zone_of(endpoint)
        try:
            async with asyncio.timeout(LEVER_DEADLINE_S):
                await self._refuse_if_frozen(zone)
                pulled = await act(endpoint, self._guarded[zone], self._clients[zone])
        except TimeoutError:
            late = Unfinished(f"{endpoint}: {zone} did not answer within {LEVER_DEADLINE_S} s")
            return Outcome(endpoint, False, str(late), late)
        except EvenkeelError as error:
            if isinstance(error, Refusal):
                self._journal.record(EventKind.REFUSED, endpoint=endpoint, detail=f"{lever}: {error}")
            return Outcome(endpoint, False, str(error), error)
        if pulled.changed:
            self._journal.record(kind, endpoint=endpoint, detail=pulled.detail)
        return Outcome(endpoint, pulled.changed, pulled.detail)

    async def _refuse_if_frozen(self, zone: str) -> None:
        reason = await self._clients[zone].frozen()
        if reason:
            raise Refusal(f"{zone} is frozen ({reason}); `evenkeel thaw` first")

    async def set_frozen(self, zones: Sequence[str], reason: str) -> list[Outcome]:
        """Set the kill switch of each zone (all where none is named), or clear it with an empty reason."""
        outcomes = []
        for zone in zones or tuple(self._region.zones):
            name = absolute(zone, "zone")
            if name not in self._guarded:
                raise InputError.one(zone, "is no zone of the region", f"zones are {', '.join(self._region.zones)}")
            was = await self._clients[name].frozen()
            if bool(was) is bool(reason):
                outcomes.append(Outcome(name, False, f"frozen already: {was}" if was else "was not frozen"))
                continue
            write = await self._guarded[name].set_frozen(reason)
            if write is not Write.APPLIED:
                raise Unfinished(f"{name}: the server's reply was lost; look with `evenkeel status`, then try again")
            self._journal.record(EventKind.FROZEN if reason else EventKind.THAWED, detail=f"{name} {reason}".strip())
            outcomes.append(Outcome(name, True, f"frozen: {reason}" if reason else "thawed"))
        return outcomes

    # --- looking --------------------------------------------------------------------------------------

    async def standing(self, endpoint: str) -> Standing:
        return await self._guarded[self.zone_of(endpoint)].standing(endpoint)

    async def frozen(self, zone: str) -> str:
        """The text of the zone's kill switch, "" where it is not set. Raises `Unreachable`."""
        return await self._clients[zone].frozen()

    async def frozen_zones(self) -> dict[str, str]:
        """Zones whose kill switch is set, with the reason."""
        reasons = {name: await client.frozen() for name, client in self._clients.items()}
        return {name: reason for name, reason in reasons.items() if reason}

    async def published(self, zone: str) -> list[str]:
        """Endpoints that stand in `zone`, by their fences, whatever any plan says."""
        client = self._clients[zone]
        await client.refresh()
        return sorted([name for name in client.endpoints() if (await client.read(name)).fences])

    async def status(self, plan: Plan) -> list[EndpointStatus]:
        """Every endpoint of the region and every one that has a fence, by name."""
        names = set(self._region.endpoints)
        for zone in self._region.zones:
            names.update(await self.published(zone))
        return [await self._status_of(name, plan) for name in sorted(names)]

    async def _status_of(self, name: str, plan: Plan) -> EndpointStatus:
        standing = await self.standing(name)
        planned = plan.endpoints.get(name)
        fence, problem = None, ""
        try:
            fence = only_fence(standing.reading.fences, name)
        except CorruptFence as error:
            problem = str(error)
        if not problem and not standing.size:
            problem = "the answer is empty" if fence is not None else "not published yet"
        is_behind = planned is not None and (fence is None or fence.generation < planned.changed_in)
        addresses = standing.a + standing.aaaa
        planned_in = planned.changed_in if planned is not None else 0
        return EndpointStatus(
            name, self.zone_of(name), addresses, standing.weights, fence, problem, planned_in, is_behind
        )

    async def audit(self, expected: dict[str, Answer]) -> AsyncIterator[Audited]:
        """Ask every authoritative server for every endpoint of `expected`, many at a time; answers as they come."""
        places: list[tuple[str, Answer, HostPort]] = []
        for name, answer in sorted(expected.items()):
            zone = self._region.zones[self.zone_of(name)]
            places += [(name, answer, server) for server in (zone.primary, *zone.secondaries)]
        async with ServerResolver() as resolver:
            for start in range(0, len(places), AUDITS_IN_FLIGHT_MAX):
                part = places[start : start + AUDITS_IN_FLIGHT_MAX]
                for audited in await asyncio.gather(*(audit_endpoint(*place, resolver) for place in part)):
                    yield audited


@contextlib.asynccontextmanager
async def operating(region: Region, journal: Journal) -> AsyncIterator[Operator]:
    """The region's zones, opened for an operator. Raises `InputError` where a key is missing."""
    keys = {zone.name: zone_key(region, zone) for zone in region.zones.values()}
    async with contextlib.AsyncExitStack() as stack:
        clients = {
            zone.name: await stack.enter_async_context(ZoneClient(zone, keys[zone.name]))
            for zone in region.zones.values()
        }
        yield Operator(region, journal, clients)

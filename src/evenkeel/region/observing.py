"""Takes the picture of a running region: zones from their primaries, health from the Planners, the plan from its store.

Nothing here is needed for the region to run, and nothing missing keeps the rest from being seen: what could not be
read is named in the picture's notes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from evenkeel.adapters.droplet_manager.control import RoleView
from evenkeel.adapters.journal import FileJournal
from evenkeel.adapters.lines import now_ms
from evenkeel.adapters.plan_store.client import PlanFollower
from evenkeel.adapters.secrets import read_secret
from evenkeel.adapters.status_client import fetch_status
from evenkeel.model.errors import EvenkeelError, Unreachable
from evenkeel.model.events import Event, EventKind
from evenkeel.model.health import Standing as HealthStanding
from evenkeel.model.plan import Plan
from evenkeel.model.region import Endpoint, Region
from evenkeel.region.components import Component, Kind, components
from evenkeel.region.operating import OPERATOR, Operator, operating
from evenkeel.region.picture import (
    UNKNOWN,
    EndpointState,
    EndpointView,
    LeaseView,
    LoadBalancerView,
    Picture,
    endpoint_view,
)
from evenkeel.region.up_state import ComponentState, is_up, read_up_state

ZONE_DEADLINE_S = 3.0
STATUS_DEADLINE_S = 2.0
PLAN_DEADLINE_S = 1.0  # for the first plan; later ones come by themselves
GENERATIONS_MAX = 10_000  # whose age is remembered


class Ages:
    """When each endpoint's answer was published, as far as the journal tells."""

    def __init__(self) -> None:
        self._published: dict[str, tuple[int, int]] = {}  # endpoint -> generation, at_ms
        self._appended: dict[int, int] = {}  # generation -> at_ms

    def note(self, events: Iterable[Event]) -> None:
        """Take in events, in order of time."""
        for event in events:
            if event.kind is EventKind.PUBLISHED and event.endpoint:
                self._published[event.endpoint] = (event.generation, event.at_ms)
            elif event.kind in (EventKind.PLAN_APPENDED, EventKind.PUBLISHED) and event.generation:
                self._appended.setdefault(event.generation, event.at_ms)
        while len(self._appended) > GENERATIONS_MAX:
            del self._appended[next(iter(self._appended))]

    def age_ms(self, endpoint: str, generation: int, at_ms: int) -> int:
        """Since `generation` was published for `endpoint`, else since it was planned; -1 where neither is known."""
        published, moment = self._published.get(endpoint, (UNKNOWN, 0))
        if published != generation:
            moment = self._appended.get(generation, 0)
        return max(0, at_ms - moment) if moment else UNKNOWN


async def newest_plan(region: Region) -> Plan | None:
    """The newest plan, or None where the plan store has none or does not answer within `PLAN_DEADLINE_S`."""
    token = read_secret(region.state_dir, "plan-store")
    async with PlanFollower(region.name, region.plan_store, token) as plans:
        return await plans.wait_newer(0, PLAN_DEADLINE_S)


@contextlib.asynccontextmanager
async def observing(region: Region) -> AsyncIterator[Observer]:
    """Open what an observer needs. Raises `InputError` where a key is missing; a server that is away is no error."""
    token = read_secret(region.state_dir, "plan-store")
    journal = FileJournal(region.state_dir, OPERATOR)
    try:
        async with operating(region, journal) as operator, PlanFollower(region.name, region.plan_store, token) as plans:
            await plans.wait_newer(0, PLAN_DEADLINE_S)
            yield Observer(region, operator, plans)
    finally:
        journal.close()


class Observer:
    """Looks at one region again and again."""

    def __init__(self, region: Region, operator: Operator, plans: PlanFollower) -> None:
        self.ages = Ages()
        self._plans = plans
        self._region = region
        self._operator = operator
        self._components = components(region)

    async def picture(self, states: Mapping[str, ComponentState], names: Sequence[str] | None = None) -> Picture:
        """The region now; of `names` alone where they are given, which is much cheaper in a large one."""
        at_ms = now_ms()
        plan = self._plans.current
        load_balancers, notes = await self._load_balancers()
        healthy = {each.name for each in load_balancers if each.standing == HealthStanding.HEALTHY}
        unreachable, frozen = await self._zones()
        notes += [f"zone {zone}: {why}" for zone, why in unreachable.items()]
        views = []
        for name in self._region.endpoints if names is None else names:
            endpoint = self._region.endpoints[name]
            if endpoint.zone in unreachable:
                views.append(EndpointView(name, endpoint.layout.value, EndpointState.UNREACHABLE))
            else:
                views.append(await self._endpoint(endpoint, plan, at_ms, healthy if load_balancers else None))
        if not self._plans.is_up:
            seen = f"; the newest plan seen is {plan.generation}" if plan is not None else ""
            notes.append(f"the plan store does not answer: how far endpoints lag is not known{seen}")
        leases, without_manager = await self._leases()
        notes += without_manager
        return Picture(
            self._region.name,
            at_ms,
            plan.generation if plan is not None else UNKNOWN,
            plan.planner if plan is not None else "",
            tuple(views),
            tuple(load_balancers),
            dict(states),
            frozen,
            tuple(notes),
            leases,
        )

    async def _endpoint(
        self, endpoint: Endpoint, plan: Plan | None, at_ms: int, healthy: set[str] | None
    ) -> EndpointView:
        count = len(healthy & set(endpoint.load_balancers)) if healthy is not None else UNKNOWN
        planned = plan.endpoints.get(endpoint.name) if plan is not None else None
        try:
            standing = await self._operator.standing(endpoint.name)
        except Unreachable as error:
            return EndpointView(endpoint.name, endpoint.layout.value, EndpointState.UNREACHABLE, detail=str(error))
        view = endpoint_view(endpoint, standing, planned, age_ms=UNKNOWN, healthy=count)
        return _aged(view, self.ages, at_ms)

    async def _zones(self) -> tuple[dict[str, str], dict[str, str]]:
        """Zones that cannot be read with the reason, and zones under the kill switch with its text."""
        unreachable, frozen = {}, {}
        for zone in self._region.zones:
            try:
                async with asyncio.timeout(ZONE_DEADLINE_S):
                    text = await self._operator.frozen(zone)
            except TimeoutError:
                unreachable[zone] = f"its server did not answer within {ZONE_DEADLINE_S:g} s"
            except EvenkeelError as error:
                unreachable[zone] = str(error)
            else:
                if text:
                    frozen[zone] = text
        return unreachable, frozen

    # --- load balancers -------------------------------------------------------------------------------

    async def _load_balancers(self) -> tuple[list[LoadBalancerView], list[str]]:
        """By a Planner's verdict; where none tells, by what most vantage points say."""
        for kind in (Kind.PLANNER, Kind.VANTAGE):
            said = [each for each in await self._statuses(kind) if isinstance(each.get("load_balancers"), dict)]
            if said:
                said = said[:1] if kind is Kind.PLANNER else said  # Planners judge alike; one of them will do
                return [self._load_balancer(name, said) for name in self._region.load_balancers], []
        return [], ["no Planner and no vantage point answers: health is not known"]

    def _load_balancer(self, name: str, said: Sequence[dict[str, Any]]) -> LoadBalancerView:
        found = [each["load_balancers"].get(name) or {} for each in said]
        ((standing, _),) = Counter(str(each.get("standing", "unknown")) for each in found).most_common(1)
        first = next((each for each in found if each.get("standing") == standing), {})
        az = self._region.load_balancers[name].az
        return LoadBalancerView(name, az, standing, _number(first.get("capacity")), _number(first.get("load")))

    async def _leases(self) -> tuple[tuple[LeaseView, ...], list[str]]:
        """By az, as the manager that has it says; and the azs that none has while some wait for them."""
        views: dict[str, LeaseView] = {}
        waiting: dict[str, list[str]] = {}
        for reply in await self._statuses(Kind.DROPLET_MANAGER):
            with contextlib.suppress(msgspec.ValidationError, KeyError):  # not a manager's reply
                role = msgspec.convert(reply["role"], RoleView)
                if not role.is_holder:
                    waiting.setdefault(role.az, []).append(role.component)
                    continue
                told = {**reply["fleet"], "covered": reply["covered"], "instances": reply["instances"]}
                views[role.az] = replace(msgspec.convert(told, LeaseView), manager=role.component)
        found = tuple(replace(view, standbys=tuple(waiting.get(az, ()))) for az, view in sorted(views.items()))
        missing = [az for az in waiting if az not in views]
        return found, [f"no manager has az {az}: {', '.join(waiting[az])} waiting" for az in missing]

    async def _statuses(self, kind: Kind) -> list[dict[str, Any]]:
        asked = [each for each in self._components if each.kind is kind and each.metrics is not None]
        replies = await asyncio.gather(*map(_status, asked))
        return [reply for reply in replies if reply]


async def component_states(region: Region) -> dict[str, ComponentState]:
    """Every component as it answers for itself, with what `evenkeel up`, where it runs, knows of it besides."""
    supervised = read_up_state(region.state_dir) if is_up(region.state_dir) else None
    known = supervised.components if supervised is not None else {}
    everyone = components(region)
    replies = await asyncio.gather(*map(_status, everyone))
    states = {}
    for each, reply in zip(everyone, replies, strict=True):
        state = known.get(each.name) or ComponentState(0, "no answer", 0, 0, str(each.metrics or ""))
        is_own = reply.get("region") == region.name and reply.get("component") == each.name
        if is_own and state.pid in (0, reply.get("pid")):  # else another region's process is at that port
            state = msgspec.structs.replace(state, pid=reply.get("pid", 0), state="running")
        elif each.metrics is not None and state.state == "running":
            state = msgspec.structs.replace(state, state="no answer")
        states[each.name] = state
    return states


async def _status(component: Component) -> dict[str, Any]:
    if component.metrics is None:
        return {}
    try:
        return await fetch_status(component.metrics, STATUS_DEADLINE_S)
    except Unreachable:
        return {}


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else -1.0


def _aged(view: EndpointView, ages: Ages, at_ms: int) -> EndpointView:
    return replace(view, age_ms=ages.age_ms(view.name, view.generation, at_ms))

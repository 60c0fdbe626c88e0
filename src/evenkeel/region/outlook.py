"""What the next plan would be: asked of the plan store and the Planners, computed here from the region's file."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from evenkeel.adapters.plan_store.client import PlanStoreClient
from evenkeel.adapters.secrets import read_secret
from evenkeel.adapters.status_client import fetch_status
from evenkeel.endpoints.planner import foresee
from evenkeel.endpoints.preview import Preview
from evenkeel.model.errors import Unreachable
from evenkeel.model.health import Health, Standing
from evenkeel.model.plan import Plan
from evenkeel.model.region import Approval, Region
from evenkeel.ports.plan_store import Proposed
from evenkeel.region.components import Kind, components

PLAN_DEADLINE_S = 10.0
STATUS_DEADLINE_S = 3.0
PLANNER_WAIT_S = 8.0  # a Planner that is on its way up is as good as there
PLANNER_RETRY_S = 0.25


@dataclass(frozen=True, slots=True)
class Outlook:
    """`preview` is what the region's file as it is now would lead to, `proposals` what Planners want approved."""

    published: Plan
    preview: Preview
    proposals: tuple[Proposed, ...]


async def look_ahead(region: Region) -> Outlook:
    """The next plan beside the published one. Raises `Unreachable` where the plan store or every Planner is away."""
    async with _store(region) as store:
        head, proposals = await store.head(), await store.proposals()
        published = await store.wait_newer(head.generation - 1, PLAN_DEADLINE_S) if head.generation else None
        if head.generation and published is None:
            raise Unreachable(f"plan store {region.plan_store}: plan {head.generation} did not arrive in time")
    standing = tuple(each for each in proposals if each.base_generation == head.generation)
    verdicts = standing[0].verdicts if standing else await _verdicts(region)
    published = published or Plan.empty(region.name)
    return Outlook(published, foresee(region, published, verdicts), _awaiting(region, standing))


def _awaiting(region: Region, standing: Sequence[Proposed]) -> tuple[Proposed, ...]:
    """Those that wait for an operator. Planners that need no approval lay their next plan open all the same."""
    if region.planner.approval is not Approval.REQUIRED:
        return ()
    return tuple(each for each in standing if each.changed or each.removed)


async def approve(region: Region, checksum: str) -> None:
    """Approve the proposal of that checksum. Raises `Refusal` where no Planner proposes it, `Unreachable`."""
    async with _store(region) as store:
        await store.approve(checksum)


def _store(region: Region) -> PlanStoreClient:
    return PlanStoreClient(region.name, region.plan_store, read_secret(region.state_dir, "plan-store"))


class _Said(msgspec.Struct):
    """A load balancer in a Planner's status."""

    standing: Standing
    capacity: float
    load: float = -1.0


async def _verdicts(region: Region) -> tuple[Health, ...]:
    """The verdicts of the first Planner that answers, which may just be starting."""
    places = [each.metrics for each in components(region) if each.kind is Kind.PLANNER and each.metrics is not None]
    if not places:
        raise Unreachable(
            "Planners have no metrics address ([metrics] port-base is 0), so health is not known and the next plan "
            "cannot be told; give them one"
        )
    ends_s = time.monotonic() + PLANNER_WAIT_S
    while True:
        asked = (fetch_status(place, STATUS_DEADLINE_S) for place in places)
        replies = await asyncio.gather(*asked, return_exceptions=True)
        for reply in replies:
            if isinstance(reply, dict) and isinstance(reply.get("load_balancers"), dict):
                said = msgspec.convert(reply["load_balancers"], dict[str, _Said])
                return tuple(Health(name, each.standing, each.capacity, each.load) for name, each in said.items())
        if time.monotonic() > ends_s:
            raise Unreachable(
                f"no Planner told its verdicts within {PLANNER_WAIT_S:.0f} s, so health is not known and the next plan "
                "cannot be told; see `evenkeel status`"
            )
        await asyncio.sleep(PLANNER_RETRY_S)

"""What clients and an inspector see while faults go on: answers, empties, fences that go back."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from evenkeel.adapters.dns.resolve import ServerResolver
from evenkeel.endpoints.layout import fence_name
from evenkeel.model.errors import CorruptFence, Unreachable
from evenkeel.model.fence import only_fence
from evenkeel.model.records import Rcode
from evenkeel.model.region import HostPort

ASKS_PER_S = 100
INSPECT_EVERY_S = 0.5


@dataclass(slots=True)
class Seen:
    """Counts of one part of the run. `empty`, `regressed` and `corrupt` have to stay zero."""

    asked: int = 0
    answered: int = 0
    unanswered: int = 0  # the server was down or paused: an outage of the server, not an empty record
    empty: int = 0
    fences: int = 0
    regressed: int = 0
    corrupt: int = 0
    newest: dict[str, int] = field(default_factory=dict)  # endpoint -> greatest generation seen
    published: set[str] = field(default_factory=set)  # endpoints that have answered once
    faults: Counter[str] = field(default_factory=Counter)
    told: list[str] = field(default_factory=list)


async def ask(seen: Seen, server: HostPort, endpoints: Sequence[str], stopping: asyncio.Event) -> None:
    """A resolver: `ASKS_PER_S` questions a second about endpoints at random."""
    loop = asyncio.get_running_loop()
    async with ServerResolver(deadline_s=1.0) as resolver, asyncio.TaskGroup() as tasks:
        due = loop.time()
        while not stopping.is_set():
            tasks.create_task(_ask_one(seen, server, random.choice(endpoints), resolver))
            due = max(due + 1 / ASKS_PER_S, loop.time() - 1.0)
            await asyncio.sleep(max(0.0, due - loop.time()))


async def _ask_one(seen: Seen, server: HostPort, endpoint: str, resolver: ServerResolver) -> None:
    seen.asked += 1
    try:
        answer = await resolver.resolve(server, endpoint, "A")
    except Unreachable:
        seen.unanswered += 1
        return
    if answer.rcode not in (Rcode.NOERROR, Rcode.NXDOMAIN):
        seen.unanswered += 1
    elif answer.addresses:
        seen.answered += 1
        seen.published.add(endpoint)
    elif endpoint in seen.published:
        seen.empty += 1
        seen.told.append(f"EMPTY {endpoint}: rcode {answer.rcode}, by way of {answer.aliases}")


async def inspect(seen: Seen, server: HostPort, endpoints: Sequence[str], stopping: asyncio.Event) -> None:
    """Reads every fence at the primary, again and again: there is one, and it never goes back."""
    async with ServerResolver(deadline_s=1.0) as resolver:
        while not stopping.is_set():
            await asyncio.gather(*(_inspect_one(seen, server, endpoint, resolver) for endpoint in endpoints))
            await asyncio.sleep(INSPECT_EVERY_S)


async def _inspect_one(seen: Seen, server: HostPort, endpoint: str, resolver: ServerResolver) -> None:
    # What has been seen before the question is asked is what the reply must not fall behind.
    before = seen.newest.get(endpoint, 0)
    try:
        answer = await resolver.resolve(server, fence_name(endpoint), "TXT")
    except Unreachable:
        return
    if answer.rcode not in (Rcode.NOERROR, Rcode.NXDOMAIN):
        return
    try:
        fence = only_fence(answer.addresses, endpoint)
    except CorruptFence as error:
        seen.corrupt += 1
        seen.told.append(f"CORRUPT {error}")
        return
    generation = fence.generation if fence is not None else 0
    seen.fences += 1
    if generation < before:
        seen.regressed += 1
        seen.told.append(f"REGRESSED {endpoint}: {before} -> {generation}")
    seen.newest[endpoint] = max(seen.newest.get(endpoint, 0), generation)

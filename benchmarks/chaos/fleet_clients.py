"""Clients of the launch API, as SDKs are: idempotency tokens, and the same call again after every error.

The ledger holds what was acknowledged to them. An answer that contradicts it is a finding at once; what it holds is
also what the region is asked for at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from evenkeel.model.errors import Unreachable
from evenkeel.testing.fleets import LaunchClient, Reply, RunningFleet

ACCOUNTS = ("one", "two")
COUNT_MAX = 2  # instances of one launch
CALL_DEADLINE_S = 6.0  # less than the API may take: a client that gives up and asks again is part of the trouble
TRY_AGAIN_S = (0.1, 1.0)
PAUSE_S = (0.1, 0.8)
REPEAT_SHARE = 0.2  # of acknowledged launches are asked for once more, as after a reply that was lost
SETTLED = ("InsufficientCapacity", "IdempotentParameterMismatch", "InvalidParameter", "NotFound")
OVER = ("stopping", "terminated")


@dataclass(slots=True)
class Launch:
    """One token's story."""

    account: str
    token: str
    count: int
    is_unclear: bool = False  # an attempt had no answer: it may have been done
    is_refused: bool = False
    instances: tuple[str, ...] = ()  # as acknowledged


@dataclass(slots=True)
class Ledger:
    """What clients asked for and what they were told. `findings` has to stay empty."""

    launches: dict[str, Launch] = field(default_factory=dict)  # by token
    acknowledged: dict[str, str] = field(default_factory=dict)  # instance -> token
    asked_to_end: set[str] = field(default_factory=set)  # before the first attempt
    ended: set[str] = field(default_factory=set)  # acknowledged
    counts: Counter[str] = field(default_factory=Counter)
    findings: Counter[str] = field(default_factory=Counter)
    told: list[str] = field(default_factory=list)

    def finding(self, kind: str, detail: str) -> None:
        self.findings[kind] += 1
        if len(self.told) < 50:
            self.told.append(f"{kind}: {detail}")

    def running(self, account: str) -> list[str]:
        """Acknowledged instances of `account` whose end nobody has asked for."""
        return [
            instance
            for instance, token in self.acknowledged.items()
            if instance not in self.asked_to_end and self.launches[token].account == account
        ]

    def launched(self, launch: Launch, reply: Reply) -> None:
        """Take in an acknowledged launch."""
        got = tuple(sorted(each["instance"] for each in reply.instances))
        if len(got) != launch.count:
            self.finding("launched twice", f"{launch.token} asked for {launch.count} and got {got}")
        if launch.instances and launch.instances != got:
            self.finding("launched twice", f"{launch.token} got {launch.instances}, then {got}")
        if launch.is_refused:
            self.counts["refused, then found to be launched"] += 1
        launch.instances = got
        for instance in got:
            self.acknowledged.setdefault(instance, launch.token)

    def described(self, account: str, before: dict[str, bool], rows: tuple[dict[str, Any], ...]) -> None:
        """Compare one listing with what was acknowledged before it was asked for: instance -> whether its end was."""
        states = {row["instance"]: row["state"] for row in rows}
        for instance, is_ended in before.items():
            state = states.get(instance)
            if state is None:
                self.finding("launch lost", f"{instance} of {account} is not described")
            elif is_ended and state not in OVER:
                self.finding("terminate lost", f"{instance} of {account} is {state} after its end was acknowledged")
            elif state in OVER and instance not in self.asked_to_end:
                self.finding("ended unasked", f"{instance} of {account} is {state}")

    def expected(self, account: str) -> dict[str, bool]:
        """`before` of `described`, as of now."""
        return {
            instance: instance in self.ended
            for instance, token in self.acknowledged.items()
            if self.launches[token].account == account
        }


class Clients:
    """`count` of them, at work until told to stop; then each finishes what it has begun."""

    def __init__(self, fleet: RunningFleet, ledger: Ledger, seed: int, running_max: int) -> None:
        self._fleet, self._ledger, self._seed = fleet, ledger, seed
        self._running_max = running_max
        self._numbers = itertools.count(1)

    async def run(self, count: int, stopping: asyncio.Event, give_up: asyncio.Event) -> None:
        """After `stopping` nothing new is begun; after `give_up` what is begun is left as it is."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(count):
                account = ACCOUNTS[number % len(ACCOUNTS)]
                tasks.create_task(self._work(account, random.Random(self._seed + number), stopping, give_up))

    async def _work(self, account: str, chance: random.Random, stopping: asyncio.Event, give_up: asyncio.Event) -> None:
        with _closing(self._fleet.client(account)) as client:
            while not stopping.is_set():
                live = self._ledger.running(account)
                what = chance.random()
                if what < 0.25:
                    await self._describe(client, account)
                elif live and (what < 0.45 or len(live) >= self._running_max // len(ACCOUNTS)):
                    await self._terminate(client, chance.choice(live), chance, give_up)
                else:
                    await self._launch(client, account, chance, give_up)
                await asyncio.sleep(chance.uniform(*PAUSE_S))

    async def _launch(self, client: LaunchClient, account: str, chance: random.Random, give_up: asyncio.Event) -> None:
        launch = Launch(account, f"t-{next(self._numbers)}", chance.randint(1, COUNT_MAX))
        self._ledger.launches[launch.token] = launch
        self._ledger.counts["launches asked for"] += 1
        az = chance.choice(["", "", *self._fleet.region.azs])
        while not give_up.is_set():
            reply = await self._attempt(client.launch(launch.token, launch.count, az, CALL_DEADLINE_S))
            if reply is None:
                launch.is_unclear = True
            elif reply.status == 200:
                is_again = bool(launch.instances)
                self._ledger.launched(launch, reply)
                if is_again or chance.random() >= REPEAT_SHARE:
                    return
                self._ledger.counts["launches repeated"] += 1
                continue
            elif reply.code in SETTLED:
                self._refused(launch, reply)
                return
            await asyncio.sleep(chance.uniform(*TRY_AGAIN_S))

    def _refused(self, launch: Launch, reply: Reply) -> None:
        launch.is_refused = True
        self._ledger.counts[f"launches refused: {reply.code}"] += 1
        if reply.code != "InsufficientCapacity" or launch.instances:
            self._ledger.finding("launch lost", f"{launch.token} was answered {reply.status} {reply.code}")

    async def _terminate(
        self, client: LaunchClient, instance: str, chance: random.Random, give_up: asyncio.Event
    ) -> None:
        self._ledger.asked_to_end.add(instance)
        self._ledger.counts["terminates asked for"] += 1
        while not give_up.is_set():
            reply = await self._attempt(client.terminate(instance, CALL_DEADLINE_S))
            if reply is not None and reply.status == 200:
                self._ledger.ended.add(instance)
                return
            if reply is not None and reply.code in SETTLED:
                self._ledger.finding("launch lost", f"terminate of {instance}: {reply.status} {reply.code}")
                return
            await asyncio.sleep(chance.uniform(*TRY_AGAIN_S))

    async def _describe(self, client: LaunchClient, account: str) -> None:
        before = self._ledger.expected(account)
        reply = await self._attempt(client.described(CALL_DEADLINE_S))
        if reply is not None and reply.status == 200:
            self._ledger.counts["listings compared"] += 1
            self._ledger.described(account, before, reply.instances)

    async def _attempt(self, call: Any) -> Reply | None:
        """The reply; None where none came, so that it may have been done."""
        self._ledger.counts["calls"] += 1
        try:
            reply: Reply = await call
        except Unreachable:
            self._ledger.counts["calls without an answer"] += 1
            return None
        if reply.status >= 500:
            self._ledger.counts[f"calls answered {reply.status} {reply.code}"] += 1
        if reply.status == 500:
            self._ledger.finding("internal error", reply.code)
        return reply


@contextlib.contextmanager
def _closing(client: LaunchClient) -> Iterator[LaunchClient]:
    try:
        yield client
    finally:
        client.close()

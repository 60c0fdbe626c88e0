"""Random faults of a seed, from what a scenario allows. The same seed gives the same faults."""

from __future__ import annotations

from fnmatch import fnmatchcase
from random import Random

from evenkeel.model.policy import DnsPolicy, Lock
from evenkeel.sim.chance import Streams
from evenkeel.sim.run import Cast
from evenkeel.sim.script import Chaos, Step, StepKind

SECOND_US = 1_000_000
HOLD_NTH_MAX = 12
SHARE_MAX = 500  # per mille of messages
EXTRA_US_MAX = 5 * SECOND_US
SKEW_US_MAX = 3600 * SECOND_US

# Before which calls a workflow is held: those whose decision may have been overtaken when they come.
HELD_STEPS = ("build", "flip", "remove", "look", "is_referenced")
HELD_STEPS_OCTOBER = ("lock", "flip_locked", "remove_unfenced", "build", "spent_nodes", "look")


def drawn(chaos: Chaos, cast: Cast, policy: DnsPolicy, seed: int) -> tuple[Step, ...]:
    """The faults of `seed`, in order of time."""
    stream = Streams(seed).stream("chaos")
    everyone = [cast.nameserver, cast.plan_store, *cast.planners, *cast.enactors]
    targets = [name for name in everyone if any(fnmatchcase(name, pattern) for pattern in chaos.components)]
    count = stream.randint(chaos.least, chaos.most)
    steps = [_drawn(chaos, targets, cast, policy, stream) for _ in range(count)]
    return tuple(sorted(steps, key=lambda step: (step.at_us, step.kind, step.component)))


def _drawn(chaos: Chaos, targets: list[str], cast: Cast, policy: DnsPolicy, stream: Random) -> Step:
    kind = stream.choice(chaos.kinds)
    held = HELD_STEPS_OCTOBER if policy.lock is Lock.TXT_PER_ENDPOINT else HELD_STEPS
    workers = [name for name in targets if name in cast.enactors] or list(cast.enactors)
    at_us = stream.randrange(chaos.from_us, max(chaos.until_us, chaos.from_us + 1))
    for_us = min(stream.randrange(SECOND_US, max(chaos.for_us, 2 * SECOND_US)), max(SECOND_US, chaos.until_us - at_us))
    component = stream.choice(workers if kind in (StepKind.HOLD, StepKind.LOSE_LOCK, StepKind.SLOW) else targets)
    extra_us = stream.randrange(EXTRA_US_MAX)
    skew_us = stream.randrange(-SKEW_US_MAX, SKEW_US_MAX)
    return Step(
        at_us=at_us,
        kind=kind,
        component=cast.plan_store if kind is StepKind.STORE_FULL else component,
        step=stream.choice(held) if kind is StepKind.HOLD else "",
        nth=stream.randint(1, HOLD_NTH_MAX) if kind is StepKind.HOLD else 1,
        times=stream.randint(1, 8),
        for_us=for_us,
        extra_us=skew_us if kind is StepKind.SKEW else extra_us if kind in _EXTRA else 0,
        share=stream.randrange(50, SHARE_MAX) if kind in _SHARED else 0,
    )


_EXTRA = frozenset({StepKind.DELAY, StepKind.REORDER, StepKind.SLOW})
_SHARED = frozenset({StepKind.LOSS, StepKind.DUPLICATE, StepKind.REORDER})

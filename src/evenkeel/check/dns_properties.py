"""What must hold of every endpoint, whatever the automation does. Plain functions over the zone twin's state.

Each takes the endpoint's part of the zone as it stands, or before and after one step. More can be added in the same
way: a function of states, a name, and a sentence.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from evenkeel.check.exchange import ENDPOINT, answer_of
from evenkeel.check.model import Always, Properties, Recoverable, Sometimes
from evenkeel.check.zone_steps import NOTE
from evenkeel.endpoints.layout import node_generation
from evenkeel.model.errors import CorruptFence
from evenkeel.model.fence import Fence, only_fence
from evenkeel.model.policy import CleanUpBy, DnsPolicy
from evenkeel.ports.zone import NodeReading, Reading
from evenkeel.twins.zone import ZoneState, node_reading, reading, tree_nodes


@dataclass(frozen=True, slots=True)
class Seen:
    """One endpoint at one moment, as an onlooker with the whole zone before them sees it."""

    reading: Reading
    node: NodeReading | None
    fence: Fence | None
    is_corrupt: bool
    nodes: tuple[str, ...]
    rollback_size: int

    @property
    def addresses(self) -> tuple[str, ...]:
        """What a client gets."""
        shown = self.node if self.node is not None else self.reading
        return (*shown.a, *shown.aaaa)

    @property
    def is_published(self) -> bool:
        """Whether any plan has been published there."""
        return bool(self.reading.fences)

    @property
    def shown_generation(self) -> int:
        """The generation whose answer stands; 0 where there is none. Every plan's answer tells its generation."""
        if self.reading.target:
            return node_generation(self.reading.target)
        if not self.reading.a:
            return 0
        octets = self.reading.a[0].split(".")
        return (int(octets[2]) << 8) | int(octets[3])


@lru_cache(maxsize=1 << 16)
def seen(state: ZoneState, endpoint: str = ENDPOINT) -> Seen:
    """The endpoint in `state`, read as Enactors read it."""
    read = reading(state, endpoint)
    node = node_reading(state, read.target) if read.target else None
    try:
        fence, is_corrupt = only_fence(read.fences, endpoint), False
    except CorruptFence:
        fence, is_corrupt = None, True
    if read.rollback:
        behind = node_reading(state, read.rollback)
        rollback_size = len(behind.a) + len(behind.aaaa)
    else:
        rollback_size = len(read.rollback_a) + len(read.rollback_aaaa)
    return Seen(read, node, fence, is_corrupt, tree_nodes(state, endpoint), rollback_size)


def _never_empty(state: ZoneState) -> bool:
    now = seen(state)
    return not now.is_published or bool(now.addresses)


def _never_regress(before: ZoneState, after: ZoneState) -> bool:
    was, now = seen(before), seen(after)
    if was.fence is not None and now.fence is not None and now.fence.generation < was.fence.generation:
        return False
    return now.shown_generation >= was.shown_generation


def _active_never_deleted(before: ZoneState, after: ZoneState) -> bool:
    was, now = seen(before), seen(after)
    is_same_root = was.reading.target == now.reading.target
    return not (
        is_same_root and was.node is not None and was.node.exists and now.node is not None and not now.node.exists
    )


def _rollback_valid(state: ZoneState) -> bool:
    now = seen(state)
    return not now.reading.rollback or now.rollback_size > 0


def _rollback_is_the_answer_before(before: ZoneState, after: ZoneState) -> bool:
    """Where the root changes from one answer to another, the rollback pointer takes the one that was replaced."""
    was, now = seen(before), seen(after)
    if not was.reading.target or was.reading.target == now.reading.target or not was.addresses:
        return True
    return now.reading.rollback == was.reading.target


def _one_fence(state: ZoneState) -> bool:
    now = seen(state)
    return not now.is_corrupt and (now.fence is not None or not now.reading.target)


def _fence_tells_the_answer(state: ZoneState) -> bool:
    now = seen(state)
    return now.fence is None or now.fence.generation == now.shown_generation


def published_stays(answers: int, plans: int) -> Always:
    """Once an Enactor has found a plan published, nothing older is shown. Needs an onlooker's notes in the zone."""

    def holds(state: ZoneState) -> bool:
        notes = [int(text) for text in state.texts(NOTE, "TXT")]
        allowed = {answer_of(generation, answers) for note in notes for generation in range(note, plans + 1)}
        return not notes or answer_of(seen(state).shown_generation, answers) in allowed

    return Always("published-stays", "what an Enactor has called published is never followed by an older plan", holds)


NEVER_EMPTY = Always("never-empty", "an endpoint that has been published always has an address", _never_empty)
NEVER_REGRESS = Always("never-regress", "no write takes an endpoint to an older plan", of_step=_never_regress)
ACTIVE_PLAN = Always(
    "active-plan-never-deleted", "the tree that an endpoint points to is never deleted", of_step=_active_never_deleted
)
ROLLBACK_VALID = Always("rollback-target-valid", "the rollback pointer leads to an answer", _rollback_valid)
ROLLBACK_SET = Always(
    "rollback-set-with-the-flip",
    "the rollback pointer takes the answer that a flip replaces, in the same transaction",
    of_step=_rollback_is_the_answer_before,
)
ONE_FENCE = Always("one-fence", "a published endpoint has exactly one well-formed fence", _one_fence)
FENCE_TRUE = Always("fence-tells-the-answer", "the fence's generation is that of the answer", _fence_tells_the_answer)

# In the order in which they are told: what clients feel first.
ALWAYS = (NEVER_EMPTY, NEVER_REGRESS, ACTIVE_PLAN, ROLLBACK_VALID, ROLLBACK_SET, ONE_FENCE, FENCE_TRUE)


def _newest_everywhere(states: dict[str, Any]) -> bool:
    newest = states["plan-store"]
    return all(
        (shown := seen(state)).shown_generation == newest and (newest == 0 or bool(shown.addresses))
        for name, state in states.items()
        if name != "plan-store"
    )


RECOVERABLE = Recoverable(
    "recoverable", "from every reachable state the newest plan can still be published everywhere", _newest_everywhere
)


def sometimes_of(policy: DnsPolicy, plans: int, enactors: int) -> tuple[Sometimes, ...]:
    """What has to be seen to happen, or the check would prove nothing: writes land, rivals lose, clean-up deletes."""
    flip = "flip" if policy.fenced else "flip_locked"
    remove = "remove" if policy.clean_up is CleanUpBy.REACHABILITY else "remove_unfenced"
    wanted = [
        ("a plan is published", f"{flip}: applied"),
        ("an endpoint is found at the newest plan", "look: current"),
        ("a spent tree is deleted", f"{remove}: applied"),
    ]
    if policy.clean_up is not CleanUpBy.AGE:
        wanted.append(("a tree is found unreferenced", "is_referenced: false"))
    if policy.fenced and enactors > 1 and plans > 1:
        wanted.append(("a write is refused because a rival was first", "flip: superseded"))
    return tuple(Sometimes(says, says, label.__eq__) for says, label in wanted)


def dns_properties(policy: DnsPolicy, plans: int, enactors: int) -> Properties:
    """Everything that `evenkeel check` checks of the DNS automation."""
    return Properties(ALWAYS, (), sometimes_of(policy, plans, enactors), RECOVERABLE)

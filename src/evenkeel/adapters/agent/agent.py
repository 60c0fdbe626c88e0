"""One host's agent without its link: frames in, frames out, instances made to be what the manager wants.

What it believes and obeys is `fleet.hosts`, as a table of one; its clock is CLOCK_BOOTTIME, the keepers'. Order
matters in one place: a lease is written for the keepers before anything is started under it, and what is not covered is
fenced by the keepers themselves, whatever happens here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from evenkeel.adapters.agent.memory import AgentMemory
from evenkeel.adapters.fleet_messages import (
    AheadFrame,
    CallFrame,
    ContactFrame,
    Desired,
    FencedFrame,
    GrantFrame,
    RefusedFrame,
    Report,
    ToAgentFrame,
    ToManagerFrame,
    WaitFrame,
)
from evenkeel.adapters.instances.host import HostInstances
from evenkeel.fleet.arrays import ids_of
from evenkeel.fleet.hosts import HostTable
from evenkeel.model.fleet import InstanceSpec
from evenkeel.model.fleet_policy import FleetPolicy

LOOK_EVERY_S = 0.25  # at what runs
_ME = ids_of(0)


@dataclass(slots=True)
class Counts:
    """What came and went since the start."""

    contacts: int = 0
    grants: int = 0
    waits: int = 0
    calls: int = 0
    refused: int = 0
    stale: int = 0
    expired: int = 0


class Agent:
    """`tick` and `heard` return what to send. Times are `keeper.boot_s`, given by the caller."""

    def __init__(
        self,
        policy: FleetPolicy,
        instances: HostInstances,
        memory: AgentMemory,
        rng: np.random.Generator,
        now_s: float,
        on_trouble: Callable[[str], None] = lambda why: None,
    ) -> None:
        self.counts = Counts()
        self._table = HostTable(1, policy, rng)
        self._instances, self._memory = instances, memory
        self._on_trouble = on_trouble
        self._wanted: dict[str, InstanceSpec] | None = None  # None: the manager has not said yet
        self._revision = (0, 0)  # epoch, revision of what is wanted
        self._reported: Report | None = None
        self._look_at_s = now_s
        self._was_covered = False
        self.eta_s = 0.0  # as told when this host has to wait
        self._resume(now_s)

    def _resume(self, now_s: float) -> None:
        """Go on with the lease that an earlier agent of this host held, as far as it still lasts."""
        table, kept = self._table, self._memory.kept
        table.sequence[0], table.epoch[0], table.next_s[0] = kept.sequence, kept.epoch, now_s
        left_s = self._instances.covered_for_s() if kept.generation else 0.0
        if left_s > 0:
            table.generation[0], table.ends_s[0] = kept.generation, now_s + left_s
        else:
            self._instances.covered_until(0.0)

    # --- how it stands ----------------------------------------------------------------------------------

    def is_covered(self, now_s: float) -> bool:
        """Whether it holds a lease, by its own clock."""
        return bool(self._table.holds(_ME, now_s)[0])

    def lease_left_s(self, now_s: float) -> float:
        return max(0.0, float(self._table.ends_s[0]) - now_s)

    @property
    def generation(self) -> int:
        return int(self._table.generation[0])

    @property
    def sequence(self) -> int:
        """Number of the last contact."""
        return int(self._table.sequence[0])

    @property
    def epoch(self) -> int:
        return int(self._table.epoch[0])

    def next_in_s(self, now_s: float) -> float:
        """How long until `tick` has something to do."""
        return max(0.0, min(float(self._table.next_s[0]), self._look_at_s) - now_s)

    # --- what it does -----------------------------------------------------------------------------------

    def linked(self, now_s: float) -> None:
        """A new link is up: what was in flight on the old one may be lost, so say how things stand."""
        self._reported = None
        self._table.next_s[0] = min(float(self._table.next_s[0]), now_s)

    def tick(self, now_s: float, *, is_linked: bool) -> list[ToManagerFrame]:
        """What is due by itself: contacts, the end of the lease, a look at what runs."""
        frames: list[ToManagerFrame] = []
        if self._was_covered and not self.is_covered(now_s):
            self._was_covered = False
            self.counts.expired += 1
            self._table.lose(_ME, now_s)
        if is_linked and len(self._table.due(_ME, now_s)):
            self._table.contact(_ME, now_s)
            frames.append(self._contact(0))
        if now_s >= self._look_at_s:
            self._look_at_s = now_s + LOOK_EVERY_S
            self._make_be()
            report = self._report(now_s)
            if is_linked and report != self._reported:
                self._reported = report
                frames.append(report)
        return frames

    def heard(self, message: ToAgentFrame, now_s: float) -> list[ToManagerFrame]:
        """Take in what the manager says."""
        if message.epoch < self.epoch:
            self.counts.stale += 1
            return [AheadFrame(self.epoch)] if not isinstance(message, FencedFrame) else []
        if message.epoch > self._memory.kept.epoch:
            self._memory.lease(message.epoch, self._memory.kept.generation, self._memory.kept.ends_boot_s)
        match message:
            case GrantFrame():
                self._granted(message, now_s)
            case CallFrame():
                self.counts.calls += 1
                if len(self._table.called(_ME, message.epoch, now_s)):
                    return [self._contact(message.call)]
            case WaitFrame():
                self.counts.waits += 1
                self.eta_s = max(0.0, message.eta_s)
                after_s = np.array([max(0.0, message.after_s)], np.float32)
                self._table.told_to_wait(_ME, message.epoch, np.array([message.answers], np.int64), after_s, now_s)
            case RefusedFrame():
                self.counts.refused += 1
                self._table.refused(_ME, np.array([message.answers], np.int64), now_s)
            case Desired():
                self._desired(message)
            case FencedFrame():
                self._table.epoch[0] = message.epoch
        return []

    def _contact(self, answers: int) -> ContactFrame:
        self.counts.contacts += 1
        sequence = int(self._table.sequence[0])
        self._memory.reserve(sequence)
        return ContactFrame(sequence, self.generation, self.epoch, answers)

    def _granted(self, grant: GrantFrame, now_s: float) -> None:
        taken = self._table.granted(
            _ME,
            grant.epoch,
            np.array([grant.generation], np.int64),
            np.array([grant.answers], np.int64),
            np.array([grant.term_s], np.float32),
            np.array([grant.next_contact_s], np.float32),
            np.array([grant.poll_s], np.float32),
            np.array([grant.phase_s], np.float32),
            now_s,
        )
        if not len(taken):
            self.counts.stale += 1
            return
        self.counts.grants += 1
        self.eta_s = 0.0
        self._was_covered = True
        ends_s = float(self._table.ends_s[0])
        self._memory.lease(grant.epoch, grant.generation, ends_s)
        self._instances.covered_until(ends_s)

    def _desired(self, desired: Desired) -> None:
        if (desired.epoch, desired.revision) < self._revision:
            self.counts.stale += 1
            return
        self._revision = (desired.epoch, desired.revision)
        self._wanted = dict(desired.instances)
        self._reported = None  # the echo of its revision is what ends its repetition
        self._look_at_s = 0.0

    def _make_be(self) -> None:
        """Until the manager has said what it wants, what runs goes on, under the lease, and nothing new starts."""
        if self._wanted is None:
            return
        try:
            self._instances.make_be(self._wanted)
        except Exception as error:  # a host that cannot start one instance still keeps its lease and the others
            self._on_trouble(repr(error))

    def _report(self, now_s: float) -> Report:
        found = self._instances.found()
        running = tuple(sorted((name, each.address) for name, each in found.items() if each.is_up))
        others = tuple(sorted(name for name, each in found.items() if not each.is_up))
        return Report(*self._revision, running, others, self.is_covered(now_s))

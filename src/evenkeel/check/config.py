"""What is explored: the region's automation in small."""

from __future__ import annotations

from dataclasses import dataclass, field

from evenkeel.check.exchange import ZoneMaker, guarded_zone
from evenkeel.check.program import Workflows
from evenkeel.check.zone_steps import Fault, Step
from evenkeel.model.plan import Layout
from evenkeel.model.policy import SAFE, CleanUpBy, DnsPolicy


@dataclass(frozen=True, slots=True)
class Config:
    """What is explored: the region's automation in small. Every plan changes every endpoint."""

    policy: DnsPolicy = SAFE
    enactors: int = 3
    plans: int = 6
    endpoints: int = 3
    layout: Layout = Layout.TREE
    answers: int = 0  # different answers that plans take in turn; 0: no two are the same
    notes_published: bool = False  # an onlooker notes what an Enactor has called published
    step: Step = Step.CALL
    faults: int = 0
    fault_kinds: frozenset[Fault] = frozenset(Fault) - {Fault.FAILOVER}
    server_guard: bool = False  # the server's own never-empty guard, which only the embedded server has
    lock_expires: bool = True
    unbounded: bool = False  # plans go on for ever; states are told apart by the order of generations (generations.py)
    lazy_appends: bool = False  # reduction: the Planner appends just before somebody reads
    plans_read: frozenset[int] = frozenset()  # a part of the space: the only plans that are ever read; empty: all
    fold_hopeless: bool = True  # reduction: a write that is certain to be refused is refused at once
    workflows: Workflows = field(default_factory=Workflows)
    zone_maker: ZoneMaker = guarded_zone
    nonce: str = ""  # what a source of nonces that repeats would give; "" for a sound one

    @property
    def compares_fences(self) -> bool:
        """Whether any write of the policy is conditional on a fence: if not, nonces may all be alike."""
        return self.policy.fenced or self.policy.clean_up is CleanUpBy.REACHABILITY

"""The DNS policies: each switch is named for what it does; two presets stand at the ends (DESIGN.md).

Values between the ends exist so that it can be shown why each falls short.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class StalenessCheck(StrEnum):
    ONCE_A_RUN = "once-a-run"  # as in October 2025: newer than the applied plan, looked at before the walk
    BEFORE_EACH_WRITE = "before-each-write"  # still a gap between the look and the write
    IN_THE_TRANSACTION = "in-the-transaction"  # the write itself carries the compare


class Lock(StrEnum):
    TXT_PER_ENDPOINT = "txt-per-endpoint"  # "host epoch" beside the endpoint, unfair back-off
    NONE = "none"


class CleanUpBy(StrEnum):
    AGE = "age"  # delete plans much older than the one just applied
    AGE_IF_UNREFERENCED = "age-if-unreferenced"  # look at references first, then delete: still a gap
    REACHABILITY = "reachability"  # delete under the fence value at which it was seen unreferenced


class MissingPlan(StrEnum):
    WEDGE = "wedge"  # the rollback pointer cannot be set, so the update fails
    CONTINUE = "continue"  # a missing current plan is a reason to publish the newest one


class EmptyAnswer(StrEnum):
    ALLOWED = "allowed"
    REFUSED = "refused-in-the-commit"


@dataclass(frozen=True, slots=True)
class DnsPolicy:
    """How Enactors and clean-up behave. Units: seconds, counts, shares of 1."""

    staleness_check: StalenessCheck = StalenessCheck.IN_THE_TRANSACTION
    lock: Lock = Lock.NONE
    clean_up: CleanUpBy = CleanUpBy.REACHABILITY
    missing_plan: MissingPlan = MissingPlan.CONTINUE
    empty_answer: EmptyAnswer = EmptyAnswer.REFUSED
    keep_generations: int = 3  # nodes per endpoint that clean-up leaves besides current and rollback
    removed_share_max: float = 0.5  # of an endpoint's addresses, in one transaction
    addresses_min: int = 1  # the floor below which no transaction takes an endpoint
    attempts_max: int = 8  # compare-and-set rounds an endpoint and cycle

    @property
    def fenced(self) -> bool:
        return self.staleness_check is StalenessCheck.IN_THE_TRANSACTION


SAFE = DnsPolicy()
OCTOBER_2025 = DnsPolicy(
    staleness_check=StalenessCheck.ONCE_A_RUN,
    lock=Lock.TXT_PER_ENDPOINT,
    clean_up=CleanUpBy.AGE,
    missing_plan=MissingPlan.WEDGE,
    empty_answer=EmptyAnswer.ALLOWED,
)


class DnsPreset(StrEnum):
    SAFE = "safe"
    OCTOBER_2025 = "october-2025"


DNS_PRESETS = {DnsPreset.SAFE: SAFE, DnsPreset.OCTOBER_2025: OCTOBER_2025}

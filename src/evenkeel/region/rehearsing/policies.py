"""DNS policies by name: the presets, and the ones weakened on purpose, by which a search proves that it would see.

A search that finds nothing says little unless the same search finds what is known to be wrong.
"""

from __future__ import annotations

from dataclasses import replace

from evenkeel.model.errors import InputError
from evenkeel.model.policy import (
    DNS_PRESETS,
    OCTOBER_2025,
    CleanUpBy,
    DnsPolicy,
    Lock,
    MissingPlan,
    StalenessCheck,
)

# October 2025 with the mends that suggest themselves first, and without what little it had.
WEAKENED: dict[str, DnsPolicy] = {
    "recheck-before-write": replace(OCTOBER_2025, staleness_check=StalenessCheck.BEFORE_EACH_WRITE),
    "check-references": replace(OCTOBER_2025, clean_up=CleanUpBy.AGE_IF_UNREFERENCED),
    "recheck-and-references": replace(
        OCTOBER_2025,
        staleness_check=StalenessCheck.BEFORE_EACH_WRITE,
        clean_up=CleanUpBy.AGE_IF_UNREFERENCED,
    ),
    "no-wedge": replace(OCTOBER_2025, missing_plan=MissingPlan.CONTINUE),
    "no-lock": replace(OCTOBER_2025, lock=Lock.NONE),
}

POLICIES: dict[str, DnsPolicy] = {**{preset.value: policy for preset, policy in DNS_PRESETS.items()}, **WEAKENED}

_SWITCHES = ("staleness_check", "lock", "clean_up", "missing_plan", "empty_answer")


def policy_named(name: str, sizes: DnsPolicy) -> DnsPolicy:
    """The switches of policy `name`; counts and shares stay those of `sizes`. Raises `InputError`."""
    found = POLICIES.get(name)
    if found is None:
        raise InputError.one("--policy", f"there is no policy {name!r}", "use one of " + ", ".join(POLICIES))
    return replace(sizes, **{switch: getattr(found, switch) for switch in _SWITCHES})


def name_of(policy: DnsPolicy) -> str:
    """By its switches: a preset's name, a weakened one's, or `own`."""
    for name, known in POLICIES.items():
        if all(getattr(known, switch) is getattr(policy, switch) for switch in _SWITCHES):
            return name
    return "own"

"""The policies between October 2025 and today's, side by side: why each of the near fixes falls short."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from evenkeel.check.config import Config
from evenkeel.check.search import Progress
from evenkeel.check.verify import Verdict, Wanted, check
from evenkeel.model.policy import OCTOBER_2025, SAFE, CleanUpBy, DnsPolicy, StalenessCheck

BETWEEN: tuple[tuple[str, DnsPolicy], ...] = (
    ("october-2025", OCTOBER_2025),
    ("re-check before each write", replace(OCTOBER_2025, staleness_check=StalenessCheck.BEFORE_EACH_WRITE)),
    ("look at references before each delete", replace(OCTOBER_2025, clean_up=CleanUpBy.AGE_IF_UNREFERENCED)),
    (
        "both",
        replace(
            OCTOBER_2025,
            staleness_check=StalenessCheck.BEFORE_EACH_WRITE,
            clean_up=CleanUpBy.AGE_IF_UNREFERENCED,
        ),
    ),
    ("safe: compare and set", SAFE),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One policy's outcome. `steps` of the shortest trace, 0 where nothing is violated."""

    policy: str
    verdict: Verdict
    property: str
    steps: int
    states: int
    wall_s: float
    is_safe: bool = False


def compare(config: Config, wanted: Wanted, on_progress: Callable[[Progress], None] | None = None) -> tuple[Row, ...]:
    """Every policy under the same bounds; keep, attempts and the rest as in `config`."""
    rows = []
    for name, policy in BETWEEN:
        tried = replace(
            policy, keep_generations=config.policy.keep_generations, attempts_max=config.policy.attempts_max
        )
        report = check(replace(config, policy=tried), wanted, on_progress)
        rows.append(
            Row(
                name,
                report.verdict,
                report.property,
                len(report.trace),
                report.states,
                report.wall_s,
                policy is SAFE,
            )
        )
    return tuple(rows)


def as_text(rows: Sequence[Row]) -> str:
    """A table for people."""
    width = max(len(row.policy) for row in rows)
    head = f"{'policy':<{width}}  {'verdict':<10}  {'property':<26}  {'steps':>5}  {'states':>12}  {'seconds':>8}"
    lines = [head, "-" * len(head)]
    for row in rows:
        lines.append(
            f"{row.policy:<{width}}  {row.verdict.value:<10}  {row.property or '-':<26}  "
            f"{row.steps or '-':>5}  {row.states:>12,}  {row.wall_s:>8.2f}"
        )
    return "\n".join(lines)

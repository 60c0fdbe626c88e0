"""A trace as a Mermaid sequence diagram, which code hosts and editors draw."""

from __future__ import annotations

from collections.abc import Sequence

from evenkeel.check.beats import Beat


def as_mermaid(beats: Sequence[Beat]) -> str:
    """One participant a process and service, one arrow a step, a note where a property breaks."""
    processes = sorted({beat.process for beat in beats}, key=lambda name: (name != "planner", name))
    services = sorted({beat.service for beat in beats}, key=lambda name: (name != "plan-store", name))
    lines = ["sequenceDiagram"]
    lines += [f"    participant {_id(name)} as {name}" for name in (*processes, *services)]
    for beat in beats:
        target = _id(beat.service)
        lines.append(f"    {_id(beat.process)}->>{target}: {beat.number}. {_short(beat.action)}")
        if beat.breaks:
            lines.append(f"    Note over {_id(beat.process)},{target}: {', '.join(beat.breaks)} BROKEN")
    return "\n".join(lines) + "\n"


def _id(name: str) -> str:
    return name.replace("-", "_")


def _short(action: str) -> str:
    # Mermaid ends a statement at a semicolon or a hash.
    return action.replace(";", ",").replace("#", "no. ").replace("_", " ")

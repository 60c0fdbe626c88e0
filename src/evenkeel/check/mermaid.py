"""A trace as a Mermaid sequence diagram, which code hosts and editors draw."""

from __future__ import annotations

from collections.abc import Sequence

from evenkeel.check.story import StoryStep


def as_mermaid(story: Sequence[StoryStep]) -> str:
    """One participant a process and service, one arrow a step, a note where a property breaks."""
    processes = sorted({step.process for step in story}, key=lambda name: (name != "planner", name))
    services = sorted({step.endpoint or "plan-store" for step in story}, key=lambda name: (name != "plan-store", name))
    lines = ["sequenceDiagram"]
    lines += [f"    participant {_id(name)} as {name}" for name in (*processes, *services)]
    for step in story:
        target = _id(step.endpoint or "plan-store")
        lines.append(f"    {_id(step.process)}->>{target}: {step.number}. {_short(step.action)}")
        if step.breaks:
            lines.append(f"    Note over {_id(step.process)},{target}: {', '.join(step.breaks)} BROKEN")
    return "\n".join(lines) + "\n"


def _id(name: str) -> str:
    return name.replace("-", "_")


def _short(action: str) -> str:
    # Mermaid ends a statement at a semicolon or a hash.
    return action.replace(";", ",").replace("#", "no. ").replace("_", " ")

"""A trace as people read it: numbered sentences in the words of the incident, each with the zone as it then stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evenkeel.check.automation import PLANNER, STORE, Automation
from evenkeel.check.beats import Beat, Card
from evenkeel.check.dns_properties import ALWAYS, Seen, seen
from evenkeel.check.local_states import Enacting, StandingBy, Travelling
from evenkeel.check.program import endpoint_name
from evenkeel.check.trace import Global, Taken
from evenkeel.endpoints.layout import node_generation
from evenkeel.twins.zone import ZoneState


@dataclass(frozen=True, slots=True)
class EndpointShown:
    """An endpoint after a step: what the zone holds of it."""

    endpoint: str
    answer: tuple[str, ...]
    points_to: int  # generation; 0: to none
    fence: str
    rollback_to: int
    trees: tuple[int, ...]
    lock: str


@dataclass(frozen=True, slots=True)
class StoryStep:
    """One step, told. `breaks` names the properties that do not hold from here on."""

    number: int
    process: str
    endpoint: str  # "" for the plan store
    action: str
    text: str
    newest_plan: int
    zone: tuple[EndpointShown, ...]
    breaks: tuple[str, ...]


def tell(model: Automation, steps: Sequence[Taken]) -> tuple[StoryStep, ...]:
    """The trace as a story."""
    return tuple(_step(model, number, step) for number, step in enumerate(steps, start=1))


def _step(model: Automation, number: int, step: Taken) -> StoryStep:
    endpoint = "" if step.service == STORE else model.shape.services[step.service]
    label = model.labels[step.outcome.label]
    process = model.process_name(step.process)
    breaks = tuple(each.name for bit, each in enumerate(model.properties.always) if step.outcome.breaks >> bit & 1)
    text = _sentence(model, step, label)
    if breaks:
        text += " " + _alarm(model, step, breaks, endpoint)
    zone = tuple(_shown(model, step.after, index) for index in range(model.config.endpoints))
    return StoryStep(number, process, endpoint, label, text, step.after.services[STORE], zone, breaks)


def _shown(model: Automation, state: Global, index: int) -> EndpointShown:
    zone: ZoneState = model.service_state(1 + index, state.services[1 + index])
    now = seen(zone)
    return EndpointShown(
        endpoint_name(index),
        now.addresses,
        now.shown_generation,
        f"g={now.fence.generation}" if now.fence is not None else "",
        max(0, node_generation(now.reading.rollback)),
        tuple(node_generation(node) for node in now.nodes),
        " ".join(_holder(model, lock) for lock in now.reading.locks),
    )


def _holder(model: Automation, lock: str) -> str:
    name = lock.partition(" ")[0]
    digits = name.removeprefix("pid")
    return model.process_name(int(digits)) if digits.isdigit() else name


def _who(process: str) -> str:
    if process.startswith("enactor-"):
        return f"Enactor {process[-1].upper()}"
    return "The Planner" if process == "planner" else "The network"


def _sentence(model: Automation, step: Taken, label: str) -> str:
    who = _who(model.process_name(step.process))
    if step.process == PLANNER:
        return f"{who} appends plan {step.after.services[STORE]}."
    method, _, reply = label.partition(": ")
    local = model.local_state(step.before.locals[step.process])
    endpoint = model.shape.services[step.service]
    if isinstance(local, Travelling):
        landed = "lands now" if reply == "applied" else "arrives, and is refused"
        return f"{who} delivers a write that nobody waits for any more: the {local.what} of {endpoint} {landed}."
    if isinstance(local, StandingBy):
        if label == "transfer":
            return f"The secondary of {endpoint} catches up with its primary."
        return f"The secondary of {endpoint} becomes the primary, with what it has."
    assert isinstance(local, Enacting), "whoever acts is a Planner, a write or an Enactor"  # noqa: S101 - ours
    if method.startswith("crash"):
        late = " Its write is still under way." if "during" in method else ""
        return f"{who} crashes and starts anew, with nothing in hand.{late}"
    before = seen(model.service_state(step.service, step.before.services[step.service])) if step.service else None
    return f"{who} " + _deed(method, reply, local, endpoint, step, before)


def _deed(method: str, reply: str, local: Enacting, endpoint: str, step: Taken, before: Seen | None) -> str:
    if method == "newest":
        newest = step.before.services[STORE]
        return f"takes plan {newest}, the newest, in hand." if newest else "finds no plan yet."
    plan, node = local.plan, node_generation(local.nodes[0]) if local.nodes else 0
    told = _DEEDS.get((method, reply)) or _DEEDS.get((method, "")) or "does {method} at {endpoint}: {reply}."
    shown = before.shown_generation if before is not None else 0
    stands = f"plan {shown}" if shown else "nothing"
    text = told.format(plan=plan, node=node, endpoint=endpoint, reply=reply, method=method, shown=stands)
    if reply == "reply lost":
        return f"sends its {method} of {endpoint}, and the reply is lost: it may land at any time, or never."
    if reply == "sent twice":
        return text + " The request was sent twice: a second copy is still under way."
    return text


_DEEDS = {
    ("is_newer", "true"): "checks, this once, whether plan {plan} is newer than what {endpoint} shows: it is.",
    ("is_newer", "false"): "checks whether plan {plan} is newer than what {endpoint} shows: it is not.",
    ("build", ""): "builds plan {plan}'s tree for {endpoint}.",
    ("look", "behind"): "looks at {endpoint}: it shows {shown}, and plan {plan} is to be published.",
    ("look", "current"): "looks at {endpoint}: nothing to do for plan {plan}.",
    ("look", "busy"): "looks at {endpoint}: another Enactor holds its lock. It backs off.",
    (
        "look",
        "wedged",
    ): "is stuck at {endpoint}: its current plan is missing, so the rollback record cannot be set.",
    ("look", "read"): "reads {endpoint}.",
    ("lock", "applied"): "takes the lock of {endpoint}.",
    ("lock", "superseded"): "is too late for the lock of {endpoint}. It backs off.",
    ("flip", ""): "points {endpoint} from {shown} to plan {plan}: answer, rollback pointer and fence in one.",
    ("flip", "superseded"): "would point {endpoint} to plan {plan}, but is refused: what it read no longer holds.",
    ("flip_locked", ""): "points {endpoint}, which shows {shown}, to plan {plan}, and releases the lock.",
    ("flip_locked", "superseded"): "would point {endpoint} to plan {plan}, but has lost the lock.",
    ("spent_nodes", "0"): "starts clean-up of {endpoint}: nothing is old enough.",
    (
        "spent_nodes",
        "",
    ): "starts clean-up of {endpoint}: {reply} of its trees are old enough to go.",
    ("is_referenced", "true"): "finds plan {node}'s tree still referenced by {endpoint}, and leaves it.",
    ("is_referenced", "false"): "finds plan {node}'s tree unreferenced by {endpoint}.",
    ("remove", ""): "deletes plan {node}'s tree of {endpoint}.",
    ("remove", "superseded"): "would delete plan {node}'s tree of {endpoint}, but is refused: the fence has moved.",
    ("remove_unfenced", ""): "deletes plan {node}'s tree of {endpoint}, for its age.",
}

_ALARMS = {
    "never-empty": "{endpoint} is empty: clients get NOERROR without a single address.",
    "never-regress": "{endpoint} has gone back from plan {was} to plan {now}.",
    "active-plan-never-deleted": "That was the tree that {endpoint} points to.",
    "rollback-target-valid": "The rollback pointer of {endpoint} leads to nothing.",
    "rollback-set-with-the-flip": "The rollback pointer does not hold the answer that was replaced.",
    "one-fence": "{endpoint} no longer has exactly one fence.",
    "fence-tells-the-answer": "The fence of {endpoint} does not tell the answer that stands.",
}


def _alarm(model: Automation, step: Taken, breaks: Sequence[str], endpoint: str) -> str:
    was = seen(model.service_state(step.service, step.before.services[step.service])).shown_generation
    now = seen(model.service_state(step.service, step.after.services[step.service])).shown_generation
    says = {each.name: each.says for each in (*ALWAYS, *model.properties.always)}
    told = [_ALARMS.get(name, f"Broken: {says.get(name, name)}.") for name in breaks]
    return " ".join(each.format(endpoint=endpoint, was=was, now=now) for each in told)


def as_text(story: Sequence[StoryStep]) -> str:
    """Numbered lines, the zone beside the steps that change it."""
    lines = []
    for previous, step in zip((None, *story), story, strict=False):
        mark = "!" if step.breaks else " "
        lines.append(f"{step.number:>4}.{mark} {step.text}")
        changed = [now for k, now in enumerate(step.zone) if previous is None or previous.zone[k] != now]
        lines += [f"        {_zone_line(each)}" for each in changed if each.trees or each.fence]
    return "\n".join(lines)


def _zone_line(shown: EndpointShown) -> str:
    root = f"plan {shown.points_to}" if shown.points_to else "nothing"
    parts = [f"{shown.endpoint} -> {root}", f"answers {', '.join(shown.answer) or 'NOTHING'}"]
    parts.append(f"trees {' '.join(map(str, shown.trees)) or 'none'}")
    if shown.rollback_to:
        parts.append(f"rollback to {shown.rollback_to}")
    if shown.fence:
        parts.append(f"fence {shown.fence}")
    if shown.lock:
        parts.append(f"locked by {shown.lock}")
    return " | ".join(parts)


def as_beats(story: Sequence[StoryStep]) -> tuple[Beat, ...]:
    """The story for diagrams and pages."""
    return tuple(
        Beat(
            step.number,
            step.process,
            step.endpoint or "plan-store",
            step.action,
            step.text,
            tuple(_card(each) for each in step.zone),
            step.breaks,
        )
        for step in story
    )


def _card(shown: EndpointShown) -> Card:
    rows = (
        ("points to", f"plan {shown.points_to}" if shown.points_to else "nothing"),
        ("trees", ", ".join(map(str, shown.trees)) or "none"),
        ("rollback", str(shown.rollback_to or "none")),
        ("fence", shown.fence or "none"),
        ("lock", shown.lock or "free"),
    )
    answer = ", ".join(shown.answer) or "NOTHING"
    return Card(f"{shown.endpoint} answers", answer, rows, is_bad=bool(shown.fence and not shown.answer))

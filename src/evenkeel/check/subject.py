"""Checks one of the region's own protocols: one search, every property judged, the trace of the worst found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from evenkeel.check.beats import Beat, Card
from evenkeel.check.model import Properties
from evenkeel.check.protocol import Protocol, events
from evenkeel.check.recovery import unrecoverable
from evenkeel.check.said import Event
from evenkeel.check.search import Bounds, Progress, Search, Space
from evenkeel.check.trace import Taken, way_that_breaks, way_to
from evenkeel.check.verify import Judged, Verdict
from evenkeel.model.errors import InputError

PATIENCE_FACTOR = 20  # once something is broken, how much further to look for something worse


@dataclass(frozen=True, slots=True)
class Subject:
    """A protocol and how to tell of it. `worst`: property names, those first whose trace is to be shown first."""

    name: str
    protocol: Protocol
    bounds: Mapping[str, int]  # what was explored of it: "managers", "faults"
    weakened: str
    worst: tuple[str, ...]
    action: Callable[[Event], str]
    sentence: Callable[[Event], str]
    cards: Callable[[Event], tuple[Card, ...]]
    alarms: Mapping[str, str]

    @property
    def extent(self) -> str:
        """The bounds in words."""
        return ", ".join(f"{count} {what}" for what, count in self.bounds.items())


@dataclass(frozen=True, slots=True)
class ProtocolReport:
    """Everything that is to be said, in the words of its JSON."""

    explored: str
    verdict: Verdict
    property: str  # the worst that is violated, "" where none is
    weakened: str  # the safeguard that was taken out, "" for none
    bounds: Mapping[str, int]
    states: int
    transitions: int
    depth: int
    states_per_s: float
    wall_s: float
    memory_octets: int
    component_runs: int
    stopped: str
    properties: tuple[Judged, ...]
    trace: tuple[Beat, ...]


def check_protocol(
    subject: Subject,
    names: Sequence[str] = (),
    bounds: Bounds | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    symmetric: bool = True,
) -> ProtocolReport:
    """Explore the protocol and judge it. `names`: only these properties. Raises `InputError` for one that is none."""
    protocol = subject.protocol
    protocol.properties = _chosen(protocol.properties, names)
    stop_when = _Enough(subject.worst[0])
    search = Search(protocol, symmetric=symmetric, bounds=bounds, stop_when=stop_when, on_progress=on_progress)
    space = search.run()
    ways = _ways(protocol, space)
    judged = tuple(_judged(protocol, space, ways))
    verdicts = {each.verdict for each in judged}
    worst = next((each for each in (Verdict.VIOLATED, Verdict.INCOMPLETE) if each in verdicts), Verdict.HOLDS)
    broken = min(ways, key=subject.worst.index) if ways else ""
    return ProtocolReport(
        explored=subject.name,
        verdict=worst,
        property=broken or next((each.name for each in judged if each.verdict is Verdict.VIOLATED), ""),
        weakened=subject.weakened,
        bounds=subject.bounds,
        states=space.count,
        transitions=space.steps,
        depth=space.depth,
        states_per_s=round(space.count / max(space.seconds, 1e-9)),
        wall_s=round(space.seconds, 3),
        memory_octets=space.memory,
        component_runs=protocol.runs,
        stopped=space.stopped,
        properties=judged,
        trace=_told(subject, ways[broken], broken) if broken else (),
    )


def _chosen(properties: Properties, names: Sequence[str]) -> Properties:
    if not names:
        return properties
    goal = properties.recoverable
    every = (*properties.always, *properties.together, *properties.sometimes, *((goal,) if goal else ()))
    known = sorted(each.name for each in every)
    if unknown := sorted(set(names) - set(known)):
        raise InputError.one("--property", f"there is no property {unknown[0]!r}", f"one of {', '.join(known)}")
    return Properties(
        tuple(each for each in properties.always if each.name in names),
        tuple(each for each in properties.together if each.name in names),
        tuple(each for each in properties.sometimes if each.name in names),
        goal if goal is not None and goal.name in names else None,
    )


class _Enough:
    """Stops once the worst property is broken, or one is and nothing worse comes for long."""

    def __init__(self, worst: str) -> None:
        self._worst = worst
        self._give_up_at = 0

    def __call__(self, space: Space) -> str:
        properties = space.model.properties
        broken = {properties.always[bit].name for bit in space.broken}
        broken |= {properties.together[number].name for number in space.together}
        if not broken:
            return ""
        self._give_up_at = self._give_up_at or PATIENCE_FACTOR * space.count
        return "a violation was found" if self._worst in broken or space.count > self._give_up_at else ""


def _ways(protocol: Protocol, space: Space) -> dict[str, list[Taken]]:
    """By broken property, a shortest way to where it breaks, or from where the goal is out of reach."""
    properties = protocol.properties
    ways = {properties.always[bit].name: way_that_breaks(space, found) for bit, found in space.broken.items()}
    ways |= {properties.together[number].name: way_to(space, state) for number, state in space.together.items()}
    goal = properties.recoverable
    if goal is not None and space.complete:
        stuck = unrecoverable(space, goal).tolist()
        ways |= {goal.name: way_to(space, stuck[0])} if stuck else {}
    return ways


def _judged(protocol: Protocol, space: Space, ways: Mapping[str, Sequence[Taken]]) -> list[Judged]:
    properties, undecided = protocol.properties, Verdict.HOLDS if space.complete else Verdict.INCOMPLETE
    told = [(each.name, "always", each.says) for each in properties.always]
    told += [(each.name, "always", each.says) for each in properties.together]
    goal = properties.recoverable
    told += [(goal.name, "recoverable", goal.says)] if goal is not None else []
    judged = [
        Judged(name, kind, says, Verdict.VIOLATED if name in ways else undecided, len(ways.get(name, ())))
        for name, kind, says in told
    ]
    labels = space.labels()
    for sometimes in properties.sometimes:
        is_seen = any(sometimes.seen(label) for label in labels)
        verdict = Verdict.HOLDS if is_seen else Verdict.VIOLATED if space.complete else Verdict.INCOMPLETE
        judged.append(Judged(sometimes.name, "sometimes", sometimes.says, verdict))
    return judged


def _told(subject: Subject, way: Sequence[Taken], broken: str) -> tuple[Beat, ...]:
    told = events(subject.protocol, way)
    if any(each.name == broken for each in subject.protocol.properties.together):
        told[-1] = replace(told[-1], breaks=(*told[-1].breaks, broken))
    return tuple(_beat(subject, number, event) for number, event in enumerate(told, start=1))


def _beat(subject: Subject, number: int, event: Event) -> Beat:
    alarms = "".join(f" {subject.alarms[name]}" for name in event.breaks if name in subject.alarms)
    text = subject.sentence(event) + alarms
    action = subject.action(event)
    return Beat(number, event.process, event.service, action, text, subject.cards(event), event.breaks)


def as_text(trace: Sequence[Beat]) -> str:
    """Numbered lines, with what each step changes."""
    lines = []
    for previous, beat in zip((None, *trace), trace, strict=False):
        lines.append(f"{beat.number:>4}.{'!' if beat.breaks else ' '} {beat.text}")
        before = previous.cards if previous is not None else ()
        lines += [f"        {_line(card)}" for card in beat.cards if card not in before]
    return "\n".join(lines)


def _line(card: Card) -> str:
    return " | ".join((f"{card.title} {card.shows}", *(f"{what} {value}" for what, value in card.rows)))

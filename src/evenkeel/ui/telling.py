"""Tells in words what happened to an endpoint, from what its zone showed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evenkeel.region.rehearsing.rehearse import Outcome
from evenkeel.sim.script import clock_text, seconds_text
from evenkeel.sim.watching import Moment

STALE_BY = 2  # generations back that are worth a sentence
SENTENCES_MAX = 40
TOLD_KINDS = frozenset(
    {
        "fault",
        "operator",
        "done",
        "refused",
        "violated",
        "wedged",
        "empty",
        "recovered",
        "drift",
        "fence-corrupt",
        "stopped",
        "unreachable",
        "plan-withheld",
        "health",
        "frozen",
        "plan-contended",
    }
)


@dataclass(frozen=True, slots=True)
class Sentence:
    """One thing that happened, at its moment; `is_bad` where clients may suffer from it."""

    at_us: int
    text: str
    is_bad: bool = False


def account(endpoint: str, moments: Sequence[Moment], until_us: int) -> list[Sentence]:
    """What became of the endpoint's answer: stale writes, lost addresses, their return."""
    name = endpoint.rstrip(".")
    told: list[Sentence] = []
    newest, empty_since = 0, -1
    for before, now in zip([None, *moments], moments, strict=False):
        if before is not None and now.is_empty and not before.is_empty:
            empty_since = now.at_us
            told.append(_emptied(name, before, now))
        elif before is not None and before.is_empty and not now.is_empty:
            lasted = seconds_text(now.at_us - empty_since) if empty_since >= 0 else ""
            told.append(Sentence(now.at_us, f"{now.by} gives {name} an address again, after {lasted} without one."))
        elif newest - now.generation >= STALE_BY:
            back = f"generation {now.generation} over {newest}"
            told.append(Sentence(now.at_us, f"{now.by} writes an old plan to {name}: {back}.", is_bad=True))
        newest = max(newest, now.generation)
    if moments and moments[-1].is_empty:
        told.append(Sentence(until_us, f"{name} is still without an address at the end.", is_bad=True))
    return told[:SENTENCES_MAX]


def _emptied(name: str, before: Moment, now: Moment) -> Sentence:
    if now.generation == before.generation:
        why = f"{now.by}'s clean-up takes away the records of generation {now.generation}, which {name} points to"
    else:
        why = f"{now.by} points {name} to generation {now.generation}, whose records are gone already"
    return Sentence(now.at_us, f"{why}: no address is left.", is_bad=True)


def why_it_broke(outcome: Outcome, endpoint: str) -> list[Sentence]:
    """The account of an endpoint, with the first wedge."""
    run = outcome.run
    sentences = account(endpoint, run.moments.get(endpoint, []), run.virtual_us)
    wedge = next((noted for noted in run.noted if noted.kind == "wedged" and noted.endpoint == endpoint), None)
    if wedge is not None:
        text = f"{wedge.process} finds {endpoint.rstrip('.')} wedged: {wedge.detail}."
        sentences.append(Sentence(wedge.at_us, text, is_bad=True))
    return sorted(sentences, key=lambda each: each.at_us)


def main_endpoint(outcome: Outcome) -> str:
    """The endpoint that the report is about: what most clients ask for, else the one longest without an address."""
    script = outcome.run.script
    if script.clients:
        return max(script.clients, key=lambda each: each.clients).endpoint
    empty = outcome.run.empty_us
    return max(sorted(empty), key=lambda name: empty[name], default="")


def at_text(outcome: Outcome, at_us: int) -> str:
    return clock_text(outcome.run.script, at_us)

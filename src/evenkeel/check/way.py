"""Traces as they are told, and the steps of a model that they stand for.

A search under reductions takes steps that stand for several, or for others that are like them. What is told is a
trace of the automation without any reduction: it is found by taking every told step on the whole model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from evenkeel.check.automation import STORE, Automation
from evenkeel.check.trace import Global, Taken, apply
from evenkeel.model.errors import InputError


@dataclass(frozen=True, slots=True)
class Asked:
    """A step of a trace as a file tells it: who did what where."""

    process: str
    endpoint: str
    action: str


def as_asked(model: Automation, way: Sequence[Taken]) -> list[Asked]:
    """The steps as a file tells them; appends that a reading of the newest plan stands for are told on their own."""
    asked = []
    for step in way:
        if step.service == STORE and step.process != 0:
            appends = step.after.services[STORE] - step.before.services[STORE]
            asked += [Asked(model.process_name(0), "", "append: applied")] * appends
        endpoint = "" if step.service == STORE else model.shape.services[step.service]
        asked.append(Asked(model.process_name(step.process), endpoint, model.labels[step.outcome.label]))
    return asked


def unreduced(model: Automation) -> Automation:
    """The same automation without the reductions that change what a step is."""
    return Automation(replace(model.config, lazy_appends=False, plans_read=frozenset()), model.properties)


def find_way(model: Automation, asked: Sequence[Asked]) -> list[Taken]:
    """The steps of the model that a file's trace stands for. Raises `InputError` where there are none."""
    local, service = model.start()
    best: list[Taken] = []

    def search(here: Global, steps: list[Taken]) -> bool:
        nonlocal best
        best = max(best, steps, key=len)
        if len(steps) == len(asked):
            return True
        return any(search(step.after, [*steps, step]) for step in _matching(model, here, asked[len(steps)]))

    if not search(Global(tuple(local), tuple(service)), []):
        step = asked[len(best)]
        raise InputError.one(
            f"trace, step {len(best) + 1}", f"{step.process} cannot do {step.action!r} there", "use the options it had"
        )
    return best


def _matching(model: Automation, here: Global, asked: Asked) -> list[Taken]:
    found = []
    for process, local in enumerate(here.locals):
        service = model.service_of(local) if model.local_state(local) is not None else -1
        if service < 0 or model.process_name(process) != asked.process:
            continue
        if (model.shape.services[service] if service != STORE else "") != asked.endpoint:
            continue
        for outcome in model.step(process, local, here.services[service]):
            after = apply(model, here, process, service, outcome)
            if after is not None and model.labels[outcome.label] == asked.action:
                found.append(Taken(process, service, outcome, here, after))
    return found

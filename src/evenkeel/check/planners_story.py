"""Planners over one store as they are told to people."""

from __future__ import annotations

from dataclasses import asdict

from evenkeel.check.beats import Card
from evenkeel.check.planners import ENDPOINT, Kept, Planners, Seen, protocol
from evenkeel.check.replay import Raised
from evenkeel.check.said import Event, How, action_text, who_text
from evenkeel.check.subject import Subject
from evenkeel.model.plan import PlanDelta

WORST = ("seen-is-appended", "one-plan-a-generation", "no-generation-skipped", "never-empty", "plannable")

_ALARMS = {
    "seen-is-appended": "The Enactor has a plan in hand that the store does not have.",
    "one-plan-a-generation": "One generation has two plans.",
    "no-generation-skipped": "Generations no longer follow one another.",
    "never-empty": f"The plan leaves {ENDPOINT} without an answer.",
}


def subject(config: Planners) -> Subject:
    """`config`, ready to be checked."""
    bounds = {name: value for name, value in asdict(config).items() if isinstance(value, int)}
    return Subject(
        "planners", protocol(config), bounds, config.weakened or "", WORST, _action, _sentence, _cards, _ALARMS
    )


def _action(event: Event) -> str:
    return action_text(event, _word)


def _word(event: Event) -> str:
    match event.said.reply:
        case bool() as is_appended:
            return "appended" if is_appended else "another was first"
        case Seen() as seen:
            return str(seen)
        case PlanDelta(_, generation):
            return f"plan {generation}"
        case Raised():
            return "no reply"
        case (_, plans):
            return f"{len(plans)} plans"
        case _:
            return "done"


def _sentence(event: Event) -> str:
    who, said = who_text(event.process, "Planner"), event.said
    if said.how is How.CRASHED:
        late = f" Its append of {_planned(event)} is still under way." if said.is_under_way else ""
        return f"{who} crashes between two calls and starts anew, with nothing in hand.{late}"
    if said.how is How.LOST:
        what = f"its append of {_planned(event)}" if said.is_under_way else f"its call ({said.call.method})"
        later = ": it may take effect at any time, or never" if said.is_under_way else ""
        return f"{who} sends {what}, and the reply is lost{later}."
    if said.how is How.LATE:
        outcome = "takes effect now" if said.reply is True else "is refused"
        return f"An append of {_planned(event)} that nobody waits for any more {outcome}."
    return f"{who} {_deed(event)}"


def _planned(event: Event) -> str:
    delta = event.said.call.args[0]
    return f"plan {delta.generation} on top of {delta.previous or 'nothing'}"


def _deed(event: Event) -> str:
    said = event.said
    match said.call.method:
        case "look":
            seen: Seen = said.reply
            known = f"plan {seen.plan.generation}" if seen.plan else "no plan"
            return f"knows of head {seen.head} and of {known}, and sees lb-1 at capacity {seen.capacity:g}."
        case "history":
            return "starts, and recalls what was planned before."
        case "append" if said.reply is True:
            return f"appends {_planned(event)}."
        case "append" if isinstance(said.reply, Raised):
            return f"sends {_planned(event)}: the store shows it to those who follow, and restarts before writing it."
        case "append":
            return f"would append {_planned(event)}, and is refused: another was first."
        case _:
            return f"asks for what follows, and has plan {said.reply.generation} in hand."


def _cards(event: Event) -> tuple[Card, ...]:
    store, held = event.state["store"], event.state.get("enactor")
    return (_store_card(store), Card("The Enactor has in hand", _plan_text(held) if held else "no plan"))


def _store_card(store: Kept) -> Card:
    rows = tuple((f"plan {plan.generation}", _plan_text(plan)) for plan in store.plans)
    return Card("The store's newest is", f"plan {store.newest}" if store.plans else "no plan", rows)


def _plan_text(plan: PlanDelta) -> str:
    answers = [
        " ".join(f"{address}*{weight}" for address, weight in zip(each.answer.a, each.answer.a_weights, strict=True))
        for each in plan.changed
    ]
    return f"{plan.generation} by {plan.planner}: {', '.join(answers) or 'NOTHING'}"

"""The takeover as it is told to people."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from evenkeel.check.beats import Card
from evenkeel.check.replay import Raised
from evenkeel.check.said import Event, How, action_text, who_text
from evenkeel.check.subject import Subject
from evenkeel.check.takeover import AZ, HOST, NUMBER, Droplet, Heard, Office, Takeover, protocol
from evenkeel.model.fleet import Tenure, epoch_of, first_generation
from evenkeel.twins.lease_store import State

WORST = ("one-believer", "recorded-first", "recorded-in-office", "epochs-only-rise", "obeys-the-newest", "manageable")

_ALARMS = {
    "one-believer": f"Who is in office does not know of the lease that {HOST} holds: two managers believe in one each.",
    "recorded-first": f"{HOST} holds a lease that is recorded nowhere.",
    "recorded-in-office": "That manager is out of office, and its lease is recorded all the same.",
    "epochs-only-rise": "One epoch has had two managers: each believes that it is in office.",
    "obeys-the-newest": f"{HOST} has gone back to an older word.",
}


def subject(config: Takeover) -> Subject:
    """`config`, ready to be checked."""
    bounds = {name: value for name, value in asdict(config).items() if isinstance(value, int)}
    return Subject(
        "takeover", protocol(config), bounds, config.weakened or "", WORST, _action, _sentence, _cards, _ALARMS
    )


def lease_text(generation: int) -> str:
    """`2.1`: the first lease of epoch 2."""
    epoch = epoch_of(generation)
    return f"{epoch}.{generation - first_generation(epoch)}" if generation else "none"


def _action(event: Event) -> str:
    return action_text(event, lambda each: _word(each.said.reply))


def _word(reply: Any) -> str:
    match reply:
        case bool():
            return "taken over" if reply else "too late"
        case Raised():
            return "refused"
        case Tenure(epoch, manager):
            return f"{manager}, epoch {epoch}" if manager else "nobody"
        case Heard(_, is_obeyed):
            return "obeyed" if is_obeyed else "ignored"
        case _:
            return "done"


def _sentence(event: Event) -> str:
    who, said = who_text(event.process, "Manager"), event.said
    if said.how is How.CRASHED:
        late = f" Its {_wish(event)} is still under way." if said.is_under_way else ""
        return f"{who} crashes and starts anew, with nothing in hand.{late}"
    if said.how is How.LOST:
        later = ": it may take effect at any time, or never" if said.is_under_way else ""
        return f"{who} sends its {_wish(event)}, and the reply is lost{later}."
    if said.how is How.LATE:
        outcome = "has no effect" if said.reply is False or isinstance(said.reply, Raised) else "takes effect now"
        return f"A {_wish(event)} that nobody waits for any more {outcome}."
    return f"{who} {_deed(event)}"


def _wish(event: Event) -> str:
    call = event.said.call
    match call.method:
        case "take":
            return f"takeover as {call.args[1]}, from epoch {call.args[2]}"
        case "record_grants":
            return f"record of lease {lease_text(call.args[2][0].generation)}"
        case "beat":
            return "beat"
        case _:
            return f"look at who manages az {AZ}"


def _deed(event: Event) -> str:
    call, reply = event.said.call, event.said.reply
    match call.method:
        case "tenure":
            found = f"{reply.manager}, in epoch {reply.epoch}" if reply.manager else "nobody yet"
            return f"looks who manages az {AZ}: {found}."
        case "take" if reply is True:
            return f"takes az {AZ} over, in epoch {call.args[2] + 1}."
        case "take":
            return f"would take az {AZ} over from epoch {call.args[2]}, and is too late."
        case "record_grants":
            lease = lease_text(call.args[2][0].generation)
            if isinstance(reply, Raised):
                return f"would record lease {lease}, and is refused: its epoch is over. It stands by again."
            return f"records lease {lease} for {HOST}."
        case "beat" if isinstance(reply, Raised):
            return "hears that its epoch is over, and stands by again."
        case "beat":
            return "beats: it is alive, and in office."
        case "grant":
            return f"tells {HOST} of lease {lease_text(call.args[2])}: that is under way."
        case _:
            return _heard(reply)


def _heard(heard: Heard) -> str:
    lease = lease_text(heard.told.generation)
    obeyed = "it obeys" if heard.is_obeyed else "it has heard newer word, and does not obey"
    return f"bring {HOST} the word of lease {lease}: {obeyed}."


def _cards(event: Event) -> tuple[Card, ...]:
    store, host = event.state["store"], event.state["host"]
    offices = [(name, held) for name, held in sorted(event.state.items()) if isinstance(held, Office)]
    believers = tuple(
        Card(f"{name} believes that it is in office,", f"epoch {held.epoch}", (("leases granted", str(held.leases)),))
        for name, held in offices
    )
    return (_store_card(store), _host_card(host), *believers)


def _store_card(store: State) -> Card:
    tenure = store.tenure(AZ)
    covered = tenure.amnesty.generation if tenure.amnesty is not None else 0
    rows = (
        ("epoch", str(tenure.epoch)),
        (f"recorded for {HOST}", lease_text(store.hosts[NUMBER].generation)),
        ("amnesty up to", lease_text(covered)),
    )
    return Card(f"store: az {AZ} is managed by", tenure.manager or "nobody", rows)


def _host_card(host: Droplet) -> Card:
    under_way = ", ".join(lease_text(told.generation) for told in sorted(host.under_way)) or "nothing"
    rows = (("heard of epoch", str(host.epoch)), ("under way", under_way))
    return Card(f"{HOST} holds lease", lease_text(host.generation), rows)

"""One update on its way into a zone: the rules, then the guards, on top of what is staged before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from evenkeel.model.records import Rcode
from evenkeel.nameserver.history import Change, changes_between
from evenkeel.nameserver.never_empty import emptied
from evenkeel.nameserver.store import Staged
from evenkeel.nameserver.update_rules import Outcome, Update, evaluate
from evenkeel.nameserver.zone_view import Node
from evenkeel.wire.octets import name_text

RRSET_OCTETS_MAX = 32_768  # a larger set could not be answered, not even over TCP with its company
RECORD_OCTETS = 16  # of one record without its rdata and with its name compressed


@dataclass(frozen=True, slots=True)
class Staging:
    """How an update ended. `nodes` and `changes` are empty where nothing changed; `reason`: why a guard refused."""

    rcode: Rcode
    nodes: Mapping[bytes, Node[bytes]] = field(default_factory=dict)
    changes: Sequence[Change] = ()
    old_serial: int = 0
    new_serial: int = 0
    reason: str = ""


def stage(staged: Staged, update: Update[bytes, bytes], is_guarded: bool) -> Staging:
    """What the update does; on NOERROR `staged` has taken it."""
    outcome: Outcome[bytes, bytes] = evaluate(staged, update)
    if outcome.rcode or not outcome.nodes:
        return Staging(outcome.rcode)
    reason = _why_refused(staged, outcome, update, is_guarded)
    if reason:
        return Staging(Rcode.REFUSED, reason=reason)
    changes = changes_between(staged, outcome.nodes)
    old_serial = staged.serial
    staged.take(outcome.nodes)
    return Staging(Rcode.NOERROR, outcome.nodes, changes, old_serial, staged.serial)


def _why_refused(staged: Staged, outcome: Outcome[bytes, bytes], update: Update[bytes, bytes], is_guarded: bool) -> str:
    for name, node in outcome.nodes.items():
        for type_, records in node.items():
            count = len(records.rdatas)
            if sum(map(len, records.rdatas)) + count * RECORD_OCTETS > RRSET_OCTETS_MAX:
                return f"{name_text(name)} {type_} would have {count} records, more than a reply holds"
    if is_guarded:
        endpoint = emptied(staged, outcome.nodes, update.needs)
        if endpoint is not None:
            return f"it would leave {name_text(endpoint)} without an address while its fence stands"
    return ""

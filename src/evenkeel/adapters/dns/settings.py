"""How hard a server is driven, and how long it is waited for."""

from __future__ import annotations

import gc
from dataclasses import dataclass, replace

from evenkeel.model.region import ServerKind
from evenkeel.wire.update import MESSAGE_OCTETS_MAX


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """Bounds of one zone's client. Times in seconds."""

    transactions_max: int = 100  # in one message
    messages_in_flight_max: int = 8
    message_octets_max: int = MESSAGE_OCTETS_MAX
    waiting_max: int = 200_000  # commits that wait for their turn; more are refused at once
    connect_deadline_s: float = 2.0
    commit_deadline_s: float = 5.0  # from the call until it is sent
    exchange_deadline_s: float = 5.0  # from sending to the reply
    poll_s: float = 1.0  # how often the zone's serial is asked for
    transfer_deadline_s: float = 120.0
    transfer_silence_s: float = 5.0  # between two messages of a transfer
    stale_after_s: float = 10.0  # a view not confirmed for longer is not read from
    retry_s_max: float = 2.0  # between two attempts at a server that is away


# Where each server takes the most (benchmarks/first_publish.py): BIND and Knot write to disk once or twice a message,
# so few large ones are the fastest, and in a slow moment of the disk by far.
_BY_KIND = {
    ServerKind.BIND: (200, 8),
    ServerKind.KNOT: (200, 8),
    ServerKind.EMBEDDED: (200, 8),
    ServerKind.RFC2136: (50, 8),
}


def settings_for(kind: ServerKind) -> ClientSettings:
    transactions_max, in_flight_max = _BY_KIND[kind]
    return replace(ClientSettings(), transactions_max=transactions_max, messages_in_flight_max=in_flight_max)


def collect_rarely() -> None:
    """Spare a process that publishes thousands of endpoints at a time a third of its time.

    Python looks for reference cycles after every 700 new objects. Transactions, futures and views have none, and are
    freed without it; here it looks after 20,000. For the whole process, so for its `main` to call.
    """
    gc.set_threshold(20_000, 20, 50)

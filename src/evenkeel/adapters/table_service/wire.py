"""The calls of the table service: `POST /v1/tables/<call>` with msgpack bodies.

A request's body is the call's arguments as an array, a reply's the result. What `ports.fleet.LeaseStore` raises comes
back as a status and `{"kind", "text"}`; anything else is a caller's or a carrier's mistake.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from evenkeel.model.errors import EvenkeelError, Refusal, StoreCorrupt, StoreUnwritable, Unreachable
from evenkeel.model.fleet import Amnesty, Granted, Host, HostState, Instance, InstanceState, Tenure
from evenkeel.ports.fleet import LeaseStore, Superseded

MEDIA_TYPE = "application/msgpack"
PREFIX = "/v1/tables/"
REQUEST_OCTETS_MAX = 32 * 1024 * 1024
REPLY_OCTETS_MAX = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Call:
    """One call: its method of the store, the types of its arguments and of its result.

    One that is `repeatable` may be sent again where the first sending had no reply.
    """

    method: Callable[..., Awaitable[Any]]
    arguments: Any
    result: Any
    repeatable: bool = True


CALLS: dict[str, Call] = {
    "tenure": Call(LeaseStore.tenure, tuple[str], Tenure),
    # Repeated, a take that was done looks like one that came too late.
    "take": Call(LeaseStore.take, tuple[str, str, int, float], bool, repeatable=False),
    # Repeated, the beat only grows by more.
    "beat": Call(LeaseStore.beat, tuple[str, int], None),
    "hosts": Call(LeaseStore.hosts, tuple[str], tuple[Host, ...]),
    "join": Call(LeaseStore.join, tuple[Host], Host),
    "set_state": Call(LeaseStore.set_state, tuple[str, str, HostState], Host),
    "record_grants": Call(LeaseStore.record_grants, tuple[str, int, tuple[Granted, ...]], None),
    "record_amnesty": Call(LeaseStore.record_amnesty, tuple[str, Amnesty], None),
    "record_capacity": Call(LeaseStore.record_capacity, tuple[str, int, float], None),
    "place": Call(LeaseStore.place, tuple[str, int, tuple[Instance, ...]], tuple[Instance, ...]),
    "launch_of": Call(LeaseStore.launch_of, tuple[str, str], tuple[Instance, ...]),
    "set_instance": Call(LeaseStore.set_instance, tuple[str, int, str, InstanceState, str], Instance | None),
    "ask_to_stop": Call(LeaseStore.ask_to_stop, tuple[str, str], Instance | None),
    "instances": Call(LeaseStore.instances, tuple[str, str], tuple[Instance, ...]),
}


class Trouble(msgspec.Struct, frozen=True):
    """What was raised."""

    kind: str
    text: str


# The first that fits; a store's own trouble is worth another try at another front end, a refusal is not.
_STATUSES: tuple[tuple[type[EvenkeelError], int], ...] = (
    (Superseded, 409),
    (StoreUnwritable, 507),
    (Unreachable, 503),
    (StoreCorrupt, 500),
    (Refusal, 422),
)
_KINDS = {kind.__name__: kind for kind, _ in _STATUSES}


def status_of(error: EvenkeelError) -> int:
    """The HTTP status under which `error` travels."""
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)


def trouble_of(error: EvenkeelError) -> bytes:
    """The body under which `error` travels."""
    kind = next((kind.__name__ for kind, _ in _STATUSES if isinstance(error, kind)), EvenkeelError.__name__)
    return msgspec.msgpack.encode(Trouble(kind, str(error)))


def error_in(status: int, body: bytes, where: str) -> EvenkeelError:
    """What a reply other than 200 raises."""
    try:
        trouble = msgspec.msgpack.decode(body, type=Trouble)
    except msgspec.MsgspecError:
        return Unreachable(f"{where}: HTTP status {status}")
    kind = _KINDS.get(trouble.kind)
    return kind(trouble.text) if kind is not None else Unreachable(f"{where}: {trouble.kind}: {trouble.text}")

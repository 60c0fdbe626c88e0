"""What travels between an agent and its manager, as msgpack: `[tag, fields...]`.

No frame names a host: whose it is, the link knows (`adapters.links`), so there is no claim to check and none to forge.
What a link may lose is told again: contacts and grants by the lease protocol, `Desired` until a `Report` echoes its
revision, `Report` at every change and with every contact.
"""

from __future__ import annotations

import msgspec

from evenkeel.model.errors import Refusal
from evenkeel.model.fleet import InstanceSpec


class ContactFrame(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """`model.fleet.Contact`."""

    sequence: int
    generation: int = 0
    epoch: int = 0
    answers: int = 0


class AheadFrame(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """`model.fleet.Fenced`, agent to manager: I have seen this epoch, which is above yours."""

    epoch: int


class Report(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """What runs on a host: instances that answer with their addresses, and others that are here (starting, ending).

    `revision` is of the last `Desired` taken in, in `epoch`. `is_covered`: whether the host holds a lease, by its own
    clock; a manager that grants too late believes more than that.
    """

    epoch: int
    revision: int
    running: tuple[tuple[str, str], ...] = ()
    others: tuple[str, ...] = ()
    is_covered: bool = False


class GrantFrame(msgspec.Struct, frozen=True, array_like=True, tag=11, gc=False):
    """`model.fleet.Grant`."""

    epoch: int
    generation: int
    answers: int
    term_s: float
    next_contact_s: float
    poll_s: float
    phase_s: float


class WaitFrame(msgspec.Struct, frozen=True, array_like=True, tag=12, gc=False):
    """`model.fleet.Wait`."""

    epoch: int
    answers: int
    after_s: float
    eta_s: float


class CallFrame(msgspec.Struct, frozen=True, array_like=True, tag=13, gc=False):
    """`model.fleet.Call`."""

    epoch: int
    call: int
    within_s: float


class FencedFrame(msgspec.Struct, frozen=True, array_like=True, tag=14, gc=False):
    """`model.fleet.Fenced`, manager to agent: this manager is not the one that you should listen to."""

    epoch: int


class RefusedFrame(msgspec.Struct, frozen=True, array_like=True, tag=15, gc=False):
    """There was no place for the contact; when to come again is for the host's own policy to say."""

    epoch: int
    answers: int


class Desired(msgspec.Struct, frozen=True, array_like=True, tag=16):
    """All instances that a host is to run: what is not among them is to end. Revisions of an epoch only grow."""

    epoch: int
    revision: int
    instances: tuple[tuple[str, InstanceSpec], ...] = ()


ToManagerFrame = ContactFrame | AheadFrame | Report
ToAgentFrame = GrantFrame | WaitFrame | CallFrame | FencedFrame | RefusedFrame | Desired

encoder = msgspec.msgpack.Encoder()
_to_manager: msgspec.msgpack.Decoder[ToManagerFrame] = msgspec.msgpack.Decoder(ToManagerFrame)
_to_agent: msgspec.msgpack.Decoder[ToAgentFrame] = msgspec.msgpack.Decoder(ToAgentFrame)
_NUMBER_MAX = 2**63 - 1
_EPOCH_MAX = 2**31 - 1
_DURATION_MAX_S = 1e9  # and neither infinite nor NaN


def read_at_manager(frame: bytes) -> ToManagerFrame:
    """Raises `Refusal` for what is no frame of an agent's, or has numbers that no agent has."""
    try:
        message = _to_manager.decode(frame)
    except msgspec.MsgspecError as error:
        raise Refusal(f"no frame of an agent's: {error}") from error
    if isinstance(message, ContactFrame):
        numbers = (message.sequence, message.generation, message.epoch, message.answers)
        if min(numbers) < 0 or max(numbers) > _NUMBER_MAX or message.epoch > _EPOCH_MAX:
            raise Refusal("a contact with numbers that no agent has")
    return message


def read_at_agent(frame: bytes) -> ToAgentFrame:
    """Raises `Refusal` for what is no frame of a manager's, or has numbers that no manager has."""
    try:
        message = _to_agent.decode(frame)
    except msgspec.MsgspecError as error:
        raise Refusal(f"no frame of a manager's: {error}") from error
    numbers: tuple[int, ...] = ()
    durations: tuple[float, ...] = ()
    match message:
        case GrantFrame():
            numbers = (message.generation, message.answers)
            durations = (message.term_s, message.next_contact_s, message.poll_s, message.phase_s)
        case WaitFrame():
            numbers, durations = (
                (message.answers,),
                (max(message.after_s, 0.0),),
            )  # its ETA is for people, and may be -1
        case CallFrame():
            numbers = (message.call,)
        case RefusedFrame():
            numbers = (message.answers,)
    is_sane = 0 <= message.epoch <= _EPOCH_MAX and all(0 <= number <= _NUMBER_MAX for number in numbers)
    if not is_sane or not all(0 <= duration_s <= _DURATION_MAX_S for duration_s in durations):
        raise Refusal("a frame with numbers that no manager has")
    return message


# --- joining ----------------------------------------------------------------------------------------


class JoinRequest(msgspec.Struct, frozen=True):
    """A host that has no certificate asks for one. `request` is a signing request, PEM."""

    token: str
    host: str
    cpus: int
    memory_mib: int
    request: bytes


class JoinReply(msgspec.Struct, frozen=True):
    """The certificate, PEM; or why not."""

    certificate: bytes = b""
    refused: str = ""

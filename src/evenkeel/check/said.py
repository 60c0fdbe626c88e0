"""What a step of a protocol was: who called what, and how it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from evenkeel.check.replay import Call


class How(Enum):
    """How a call ended for its caller."""

    REPLIED = auto()
    LOST = auto()  # its reply was lost
    CRASHED = auto()  # its caller crashed, before or after sending it
    LATE = auto()  # it took effect when nobody waited for it any more


@dataclass(frozen=True, slots=True)
class Said:
    """What a label stands for. `reply` is None where there was none."""

    how: How
    call: Call
    reply: Any = None
    is_under_way: bool = False  # lost or crashed, and may still take effect

    def __str__(self) -> str:
        match self.how:
            case How.LOST:
                return f"{self.call} -> reply lost"
            case How.CRASHED:
                return f"crash during {self.call}" if self.is_under_way else "crash"
            case How.LATE:
                return f"late: {self.call} -> {self.reply}"
            case How.REPLIED:
                return f"{self.call} -> {self.reply}"


@dataclass(frozen=True, slots=True)
class Event:
    """One step of a trace, for people. `state` is what properties of everything see once it is taken: services'
    states, and what processes have returned. `breaks` names the properties that it breaks."""

    process: str
    service: str
    said: Said
    state: dict[str, Any]
    breaks: tuple[str, ...] = ()

    @property
    def call(self) -> str:
        return str(self.said.call)

    def __str__(self) -> str:
        return f"{self.process}: {self.said}"


def action_text(event: Event, word: Callable[[Event], str]) -> str:
    """The step in a few words; `word` says what the reply was."""
    said = event.said
    match said.how:
        case How.CRASHED:
            return f"crash during {said.call.method}" if said.is_under_way else "crash"
        case How.LOST:
            return f"{said.call.method}: reply lost"
        case How.LATE:
            return f"late {said.call.method}: {word(event)}"
        case How.REPLIED:
            return f"{said.call.method}: {word(event)}"


def who_text(process: str, role: str) -> str:
    """`Manager 1` for `manager-1`, where `role` is "Manager"; `The host` for whoever else."""
    prefix = f"{role.lower()}-"
    return process.replace(prefix, f"{role} ") if process.startswith(prefix) else f"The {process}"

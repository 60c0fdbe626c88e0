"""Every error has one root, and says what is wrong, where it stands and how to mend it.

Exit codes of the command line hang on the class: `InputError` 2, `Refusal` 1, `Unfinished` 3. An
`InternalError` is a broken invariant of evenkeel's own, never the user's fault.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class EvenkeelError(Exception):
    """The root. `exit_code` is what a command ends with when the error reaches it."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in an input: the offending value, where it stands, and the mend."""

    where: str
    what: str
    mend: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f"\n    mend: {self.mend}" if self.mend else "")


class InputError(EvenkeelError):
    """Wrong input: every problem of a file at once."""

    exit_code = 2

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    @classmethod
    def one(cls, where: str, what: str, mend: str = "") -> InputError:
        return cls([Problem(where, what, mend)])


class Refusal(EvenkeelError):
    """A lever or a write that a safeguard refused; the message carries the reason."""


class Unfinished(EvenkeelError):
    """Work that did not finish within its bounds (deadline, size, attempts)."""

    exit_code = 3


class Unreachable(EvenkeelError):
    """A peer (server, store, process) did not answer within its deadline, or refused the connection."""

    exit_code = 3


class WriteRejected(EvenkeelError):
    """A server, or the form that a write would have to take, does not accept this one write; nothing has changed.

    Others may go on: one bad record must not hold up a zone.
    """


class StoreUnwritable(EvenkeelError):
    """A store could not write (disk full, say); nothing has changed, and what was acknowledged is still there."""


class StoreCorrupt(EvenkeelError):
    """A store's file is not what was written; the message says how to go on."""


class CorruptFence(EvenkeelError):
    """An endpoint's fence is not exactly one well-formed TXT record; automation stops and says so."""


class InternalError(EvenkeelError):
    """A broken invariant of evenkeel itself. Please report it."""

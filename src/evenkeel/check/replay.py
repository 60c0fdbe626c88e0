"""Runs a workflow over stub ports: given the replies that it got so far, what does it call next?

A workflow is an `async def` whose every await is one call of a port. It is deterministic, so what it does next is a
function of its reply history. Every history is run twice, and the calls are compared: where they differ, the workflow
reads something (a clock, chance, the order of a set) that it should ask a port for, and the error names the line.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evenkeel.model.errors import EvenkeelError

CALLS_MAX = 10_000  # of one cycle: a workflow that calls on for ever within one cycle has no finite history


class NotDeterministic(EvenkeelError):
    """A workflow that did two different things after the same replies."""


class NotFinite(EvenkeelError):
    """A workflow whose cycle does not end: it has to return, and is then run anew."""


class WorkflowFailed(EvenkeelError):
    """A reachable reply at which a workflow raised what is no error of its ports."""


@dataclass(frozen=True, slots=True)
class Call:
    """What a workflow waits for: a method of a port, with its arguments."""

    port: str
    method: str
    args: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return f"{self.port}.{self.method}({', '.join(map(str, self.args))})"


@dataclass(frozen=True, slots=True)
class Returned:
    """The workflow's cycle is over."""

    result: Any


@dataclass(frozen=True, slots=True)
class Raised:
    """A reply that the port raises; also a cycle that ended by an error the workflow let pass."""

    error: Exception

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Raised) and repr(other.error) == repr(self.error)

    def __hash__(self) -> int:
        return hash(repr(self.error))


Workflow = Callable[["Ports"], Coroutine[Any, Any, Any]]
Pending = Call | Returned | Raised


@types.coroutine
def _suspend(call: Call) -> Generator[Call, Any, Any]:
    reply = yield call
    return reply


class StubPort:
    """Stands in for any port: every method of it suspends the workflow with its `Call`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, method: str) -> Any:
        if method.startswith("_"):
            raise AttributeError(method)

        async def call(*args: Any) -> Any:
            return await _suspend(Call(self._name, method, args))

        return call


class Ports:
    """Stub ports by name, made when first asked for: `ports.zone`, `ports.plans`."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return StubPort(name)


def after(workflow: Workflow, history: Sequence[Any]) -> tuple[Pending, str]:
    """What the workflow does after `history`, and the source line where it waits; run twice and compared."""
    first, second = _run(workflow, history), _run(workflow, history)
    for (one, where), (other, _) in zip(first, second, strict=False):
        if one != other:
            raise NotDeterministic(
                f"{where}: the workflow did {one} in one run and {other} in the next after the same replies; "
                "let it ask a port for whatever differs (time, chance), and iterate in a fixed order"
            )
    return first[-1]


def _run(workflow: Workflow, history: Sequence[Any]) -> list[tuple[Pending, str]]:
    """Every call in turn with its line, the one that waits for its reply last."""
    if len(history) > CALLS_MAX:
        raise NotFinite(f"a cycle of more than {CALLS_MAX} calls; return at the end of a cycle, it is run again")
    run = workflow(Ports())
    steps: list[tuple[Pending, str]] = []
    try:
        steps.append((run.send(None), _line_of(run)))
        for reply in history:
            call = run.throw(reply.error) if isinstance(reply, Raised) else run.send(reply)
            steps.append((call, _line_of(run)))
    except StopIteration as end:
        steps.append((Returned(end.value), "the end"))
    except Exception as error:  # a reply that cannot come may well end badly; who reaches this state judges it
        steps.append((Raised(error), "the end"))
    finally:
        run.close()
    return steps


def _line_of(run: Any) -> str:
    """Where in the workflow's own code the innermost await stands."""
    line = "?"
    while getattr(run, "cr_frame", None) is not None:
        if run.cr_code.co_filename != __file__:
            line = f"{Path(run.cr_code.co_filename).name}:{run.cr_frame.f_lineno}"
        run = run.cr_await
    return line

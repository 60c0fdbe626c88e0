"""A workflow as a finite automaton: its local states are its reply histories within one cycle.

Histories after which the workflow behaves alike, whatever it is replied, are one state. Where every call's replies
are known beforehand (an enum, a flag) the whole tree of histories is run and merged from its leaves; where they are
not, or the tree is too large, histories stay apart. Both are sound: merging only ever joins states that have the same
calls and, reply by reply, the same successors (a bisimulation).
"""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any

from evenkeel.check.replay import Call, Pending, Returned, Workflow, after

TREE_MAX = 3000  # histories that are run to merge a workflow's states; beyond it they are told apart as they come

Replies = Callable[[Call], "Sequence[Any] | None"]


def no_replies_known(call: Call) -> None:
    """For workflows whose replies are not known beforehand."""


class TreeTooLargeError(Exception):
    """More histories than `TREE_MAX`, or replies that are not known beforehand."""


class Automaton:
    """Local states of one workflow by number; 0 is the start. Runs workflow code only for what is not yet known."""

    def __init__(
        self,
        workflow: Workflow,
        replies: Replies = no_replies_known,
        result: Callable[[Any], Any] = lambda result: result,
    ) -> None:
        self._workflow = workflow
        self._result = result  # what of a cycle's result matters to whoever runs the workflow
        self._history: list[tuple[Any, ...]] = []  # one that leads there, by state
        self._pending: list[Pending] = []
        self._lines: list[str] = []
        self._next: list[dict[Any, int]] = []
        self._known: dict[Any, int] = {}
        self.runs = 0
        try:
            self._merge(replies)
        except TreeTooLargeError:
            self._history, self._pending, self._lines, self._next, self._known = [], [], [], [], {}
            self._state_of(())

    def __len__(self) -> int:
        return len(self._pending)

    def pending(self, state: int) -> Pending:
        """What the workflow waits for there, or how its cycle ended."""
        return self._pending[state]

    def history(self, state: int) -> tuple[Any, ...]:
        """Replies that lead there."""
        return self._history[state]

    def line(self, state: int) -> str:
        """Where in the source it waits."""
        return self._lines[state]

    def after(self, state: int, reply: Any) -> int:
        """The state once `reply` has come."""
        follows = self._next[state].get(reply)
        if follows is None:
            follows = self._next[state][reply] = self._state_of((*self._history[state], reply))
        return follows

    # --- histories as they come -----------------------------------------------------------------------

    def _run(self, history: tuple[Any, ...]) -> tuple[Pending, str]:
        self.runs += 1
        pending, line = after(self._workflow, history)
        if isinstance(pending, Returned):
            pending = Returned(self._result(pending.result))
        return pending, line

    def _state_of(self, history: tuple[Any, ...]) -> int:
        pending, line = self._run(history)
        # Ends are told apart by their result alone: nothing of the workflow is left.
        key = history if isinstance(pending, Call) else pending
        return self._intern(key, history, pending, line, {})

    def _intern(self, key: Any, history: tuple[Any, ...], pending: Pending, line: str, follow: dict[Any, int]) -> int:
        state = self._known.get(key)
        if state is None:
            state = self._known[key] = len(self._pending)
            self._history.append(history)
            self._pending.append(pending)
            self._lines.append(line)
            self._next.append(follow)
        return state

    # --- the whole tree, merged from its leaves ---------------------------------------------------------

    def _merge(self, replies: Replies) -> None:
        tree: dict[tuple[Any, ...], tuple[Pending, str, Sequence[Any]]] = {}
        waiting: list[tuple[Any, ...]] = [()]
        while waiting:
            history = waiting.pop()
            pending, line = self._run(history)
            known = replies(pending) if isinstance(pending, Call) else ()
            if known is None or len(tree) + len(waiting) > TREE_MAX:
                raise TreeTooLargeError
            tree[history] = (pending, line, known)
            waiting.extend((*history, reply) for reply in known)
        self._number(tree)

    def _number(self, tree: dict[tuple[Any, ...], tuple[Pending, str, Sequence[Any]]]) -> None:
        classes: dict[tuple[Any, ...], Any] = {}
        members: dict[Any, tuple[Any, ...]] = {}
        for history in sorted(tree, key=len, reverse=True):
            pending, _, known = tree[history]
            key = (pending, tuple((reply, classes[*history, reply]) for reply in known))
            classes[history] = members.setdefault(key, history)  # the class is named by a history in it
        named = dict.fromkeys(classes.values())
        for history in sorted(named, key=lambda each: (each != classes[()], len(each))):
            pending, line, _ = tree[history]
            self._intern(history, history, pending, line, {})
        for history in named:
            state = self._known[history]
            for reply in tree[history][2]:
                self._next[state][reply] = self._known[classes[*history, reply]]


def replies_of(port: type) -> Callable[[str], Sequence[Any] | None]:
    """By method of a port's protocol: every reply that its return annotation allows; None for no end of them."""

    def of(method: str) -> Sequence[Any] | None:
        hint = typing.get_type_hints(getattr(port, method)).get("return")
        return values_of(hint)

    return of


def values_of(hint: Any) -> Sequence[Any] | None:
    """The members of an enum, a flag, None, or a union of such; None for any other type."""
    if hint is bool:
        return (False, True)
    if hint is None or hint is type(None):
        return (None,)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return tuple(hint)
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        parts = [values_of(part) for part in typing.get_args(hint)]
        return None if any(part is None for part in parts) else tuple(v for part in parts for v in part or ())
    return None

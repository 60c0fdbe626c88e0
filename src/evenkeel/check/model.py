"""What the search asks of a system: processes and services by number, their states by number, one table of steps.

A process is always at one call, and a call goes to one service; so a step depends on that process's local state and
that service's state alone, and is tabulated once. A global state is one local state a process and one state a
service. A request that is still under way, when the process that sent it has gone on or died, is a process of its own:
a *slot*, empty at first, that takes one step (the request arrives) and is empty again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")

NO_SERVICE = -1  # a process that waits for nothing: finished, or an empty slot
STALE_WAYS = 4  # numbered from 1
RANKS_MAX = 40  # of an `Ordered` model, in one state
EMPTY_SLOT = 0  # the local state of a slot with nothing in it


@dataclass(frozen=True, slots=True)
class Outcome:
    """One way in which a step can end. All numbers are ids of the model's.

    `stales`: a write that makes what others have read of the service out of date; their local states then go
    through `Model.stale`, with that number of how; 0: it does not. `breaks`: the properties that this step or the
    state it leads to breaks, as bits.
    """

    local: int
    service: int
    label: int
    stales: int = 0
    sends: int = EMPTY_SLOT  # what is left under way, in a free slot
    faults: int = 0
    breaks: int = 0


@dataclass(frozen=True, slots=True)
class Shape:
    """How many of what a global state holds.

    States of services below `nameless` are left as they are when processes are exchanged.
    Processes `alike[0] .. alike[1] - 1` may be exchanged for one another, and so may slots, which come last.
    """

    processes: tuple[str, ...]
    services: tuple[str, ...]
    slots: int = 0
    alike: tuple[int, int] = (0, 0)
    faults_max: int = 0
    nameless: int = 1  # services, from the first on, whose states hold no process's name

    @property
    def locals(self) -> int:
        """Processes and slots together."""
        return len(self.processes) + self.slots


@dataclass(frozen=True, slots=True)
class Always:
    """A property of every reachable state.

    `of_state` judges one service's state, `of_step` one step of it (before, after); either may be None. `services`
    are the ones meant, by name; empty means all for which the model evaluates properties.
    """

    name: str
    says: str
    of_state: Callable[[Any], bool] | None = None
    of_step: Callable[[Any, Any], bool] | None = None
    services: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AlwaysTogether:
    """A property of everything at once: services' states by the service's name, and what processes have returned.

    A process that is still on its way is not among them.
    """

    name: str
    says: str
    holds: Callable[[dict[str, Any]], bool]


@dataclass(frozen=True, slots=True)
class Sometimes:
    """Something that must be seen to happen, or the check would be vacuous: a label, by its exact text or a test."""

    name: str
    says: str
    seen: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Recoverable:
    """From every reachable state one must be reachable in which, of all services' states, `goal` holds."""

    name: str
    says: str
    goal: Callable[[dict[str, Any]], bool]


@dataclass(frozen=True, slots=True)
class Properties:
    """What is to be checked. At most 60 `always` of states and steps."""

    always: tuple[Always, ...] = ()
    together: tuple[AlwaysTogether, ...] = ()
    sometimes: tuple[Sometimes, ...] = ()
    recoverable: Recoverable | None = None


class Ordered(Protocol):
    """Numbers in states that are compared by order and identity alone: only their rank matters, and ranks close up.

    The first service's state is the greatest of them. `keep`: of those in `service`'s second set, as many are counted.
    """

    @property
    def keep(self) -> int: ...

    def local(self, local: int) -> tuple[int, int]:
        """The ranks that matter to a local state, and those that matter only while a service holds them; as bits."""
        ...

    def service(self, state: int) -> tuple[int, int]:
        """The ranks that matter in a service's state, and those of which only the greatest do; as bits."""
        ...

    def drop_local(self, local: int, rank: int) -> int:
        """The local state without a rank that does not matter to it: greater ones are one less."""
        ...

    def drop_service(self, state: int, rank: int) -> int: ...


class Model(Protocol):
    """A system under search. Ids of local states are shared by all processes; 0 is the empty slot."""

    @property
    def shape(self) -> Shape: ...

    @property
    def properties(self) -> Properties: ...

    @property
    def labels(self) -> list[str]:
        """What steps are called, by their outcome's `label`."""
        ...

    def start(self) -> tuple[list[int], list[int]]:
        """Local states of all processes and slots, and states of all services."""
        ...

    def kind(self, process: int) -> int:
        """Processes of one kind take the same steps from the same states."""
        ...

    def service_of(self, local: int) -> int:
        """Where the pending call goes, or `NO_SERVICE`."""
        ...

    def reads(self, local: int) -> int:
        """The service of which the local state may hold something read, or `NO_SERVICE`."""
        ...

    def stale(self, local: int, how: int) -> int:
        """The local state once what it has read of its service is out of date, in one of `STALE_WAYS` ways."""
        ...

    def step(self, process: int, local: int, service: int) -> Sequence[Outcome]:
        """Every way in which the pending call can end; none where it has to wait."""
        ...

    def exchange(self, order: Sequence[int], local: int) -> int:
        """The local state with processes' names exchanged: who was `order[k]` is `k`."""
        ...

    def exchange_service(self, order: Sequence[int], service: int) -> int:
        """A service's state with processes' names exchanged."""
        ...

    def has_names(self) -> bool:
        """Whether any state may hold a process's name, so that an exchange changes it."""
        ...

    def ordered(self) -> Ordered | None:
        """How numbers in states close up, where their number is to have no bound."""
        ...

    def service_state(self, service: int, state: int) -> Any:
        """What the id stands for, for properties and people."""
        ...

    def result(self, process: int, local: int) -> tuple[bool, Any]:
        """Whether the process has returned, and what."""
        ...

    def local_text(self, process: int, local: int) -> str:
        """What the process is about to do, for people."""
        ...


@dataclass(slots=True)
class Interner(Generic[T]):
    """Numbers values in the order in which they come."""

    values: list[T] = field(default_factory=list)
    ids: dict[T, int] = field(default_factory=dict)

    def id(self, value: T) -> int:
        known = self.ids.get(value)
        if known is None:
            known = self.ids[value] = len(self.values)
            self.values.append(value)
        return known

    def __getitem__(self, number: int) -> T:
        return self.values[number]

    def __len__(self) -> int:
        return len(self.values)

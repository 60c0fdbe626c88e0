"""What a lease manager asks of the world: a durable store, and links to its agents.

The store is the only arbiter between managers. Who manages an az is a `Tenure` in it, taken by compare-and-set; every
write of a manager names its epoch, and is refused when that is not the tenure's (any more). A write is either
acknowledged and durable, refused and without effect, or `Unreachable`: then it may have happened, and repeating it
does no harm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from evenkeel.model.errors import Refusal
from evenkeel.model.fleet import Amnesty, Granted, Host, HostState, Instance, InstanceState, Tenure, ToAgent


class Superseded(Refusal):
    """Another manager has taken over: this one's epoch is over. It stops granting at once, and steps down."""


class TenureStore(Protocol):
    """What the takeover needs (`evenkeel.fleet.takeover`). Raises `Unreachable`."""

    async def tenure(self, az: str) -> Tenure: ...

    async def take(self, az: str, manager: str, seen_epoch: int, extend_s: float) -> bool:
        """If the tenure's epoch is still `seen_epoch`: make it `manager`'s with the next one, and write the amnesty
        that lets every lease recorded so far stand for `extend_s`, all in one. Whether it was so."""
        ...

    async def beat(self, az: str, epoch: int) -> None:
        """The manager of `epoch` lives: advance the tenure's beat, which standbys watch. Raises `Superseded`."""
        ...


class LeaseStore(TenureStore, Protocol):
    """The durable inventory and leases of a region. Every call may raise `Unreachable`, and one that cannot write
    `StoreUnwritable`; nothing has changed then."""

    async def hosts(self, az: str) -> Sequence[Host]:
        """The inventory, by number; retired hosts too."""
        ...

    async def join(self, host: Host) -> Host:
        """Add a host (its `number` is ignored), or take it as known: same name, same az, and the number it had, with
        its new size. Raises `Refusal` for a name that stands in another az, or that was retired."""
        ...

    async def set_state(self, az: str, name: str, state: HostState) -> Host:
        """Drain, retire, take back from draining. Raises `Refusal` for a host that is unknown or retired."""
        ...

    async def record_grants(self, az: str, epoch: int, grants: Sequence[Granted]) -> None:
        """Record new leases, all or none. Raises `Superseded`. A generation that is not above the one recorded for a
        host leaves that host as it is, so a repetition is harmless."""
        ...

    async def record_amnesty(self, az: str, amnesty: Amnesty) -> None:
        """One record that lets every lease up to its generation stand. Raises `Superseded`."""
        ...

    async def record_capacity(self, az: str, epoch: int, capacity_per_s: float) -> None:
        """What the next manager starts from. Raises `Superseded`."""
        ...

    # --- instances ------------------------------------------------------------------------------------------

    async def place(self, az: str, epoch: int, instances: Sequence[Instance]) -> tuple[Instance, ...]:
        """Record a launch, all of it or nothing, and give back what is recorded for its account and token: another's
        instances where the token was used before (in any az). Raises `Superseded`."""
        ...

    async def launch_of(self, account: str, token: str) -> tuple[Instance, ...]:
        """What a token got, empty where it was never used."""
        ...

    async def set_instance(
        self, az: str, epoch: int, instance: str, state: InstanceState, address: str = ""
    ) -> Instance | None:
        """Move an instance on, and give it back; None where it is unknown. A terminated one stays terminated, and one
        that is stopping only gets there. Raises `Superseded`."""
        ...

    async def ask_to_stop(self, account: str, instance: str) -> Instance | None:
        """A user's terminate, under no manager's epoch. None where the account has no such instance."""
        ...

    async def instances(self, az: str = "", account: str = "") -> Sequence[Instance]:
        """Those not terminated, and those terminated within the last hour; "" asks for all."""
        ...


class AgentLinks(Protocol):
    """The manager's side of the links to its agents. `send` never waits: a link that is full or gone drops the message,
    as the protocol allows for any message."""

    def send(self, host: str, message: ToAgent) -> bool:
        """Whether it was handed to a link that is up."""
        ...

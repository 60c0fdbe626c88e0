"""What every lease store holds to, wherever it keeps its rows: pure, of what was read and what is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from evenkeel.model.errors import Refusal
from evenkeel.model.fleet import EPOCH_MAX, Host, HostState, Instance, InstanceState
from evenkeel.ports.fleet import Superseded

TERMINATED_KEPT_S = 3600


def check_epoch(az: str, epoch: int, now: int) -> None:
    """Raises `Superseded` where `epoch` is not the one that stands, `now`."""
    if now != epoch:
        raise Superseded(f"epoch {epoch} of az {az} is over: it is {now}")


def epoch_after(az: str, epoch: int) -> int:
    """The next manager's. Raises `Refusal` where there is none."""
    if epoch >= EPOCH_MAX:
        raise Refusal(f"az {az} has had {EPOCH_MAX} managers: there are no epochs left")
    return epoch + 1


def joined_anew(known: Host, host: Host) -> Host:
    """A host that is known by name joins again, with what it has now. Raises `Refusal`."""
    if known.az != host.az:
        raise Refusal(f"host {host.name} stands in az {known.az}, not in {host.az}")
    if known.state is HostState.RETIRED:
        raise Refusal(f"host {host.name} was retired; its name is not used again")
    return replace(known, cpus=host.cpus, memory_mib=host.memory_mib)


def in_state(az: str, name: str, known: Host | None, wanted: HostState) -> Host:
    """The host as an operator wants it. Raises `Refusal`."""
    if known is None:
        raise Refusal(f"az {az} has no host {name}")
    if known.state is HostState.RETIRED and wanted is not HostState.RETIRED:
        raise Refusal(f"host {name} was retired, which is for good")
    return replace(known, state=wanted)


def check_launch(instances: Sequence[Instance]) -> None:
    """Raises `Refusal` where they are not of one launch."""
    if len({(each.account, each.token) for each in instances}) != 1:
        raise Refusal("a launch is of one account, under one token")


def may_become(known: Instance, wanted: InstanceState) -> bool:
    """By its manager's word: what is terminated stays so, and what is stopping can only be terminated."""
    is_ending = known.state is InstanceState.STOPPING and wanted is not InstanceState.TERMINATED
    return known.state is not InstanceState.TERMINATED and not is_ending


def may_be_asked_to_stop(known: Instance) -> bool:
    """Once is enough."""
    return known.state not in (InstanceState.TERMINATED, InstanceState.STOPPING)

"""`ports.fleet.LeaseStore` over the table service: found by name at every call, spoken to over HTTP.

Each front end whose address the name gives is tried, in random order, until one takes the call. A call whose reply was
lost is tried at another only where repeating it does no harm (`wire.Call.repeatable`).
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Protocol, Self, cast

import msgspec

from evenkeel.adapters.table_service.http import HttpCaller, NotSent
from evenkeel.adapters.table_service.wire import CALLS, MEDIA_TYPE, PREFIX, REPLY_OCTETS_MAX, error_in
from evenkeel.model.errors import Unreachable
from evenkeel.model.fleet import Amnesty, Granted, Host, HostState, Instance, InstanceState, Tenure
from evenkeel.model.region import HostPort

CALL_DEADLINE_S = 3.0
BULK_DEADLINE_S = 15.0  # calls that carry a whole inventory
ADDRESSES_TRIED_MAX = 3
_BULK = frozenset({"hosts", "instances"})
_WORTH_ANOTHER = frozenset({500, 502, 503, 504, 507})  # statuses of one front end's own trouble


class Finder(Protocol):
    """What gives the front ends' addresses."""

    async def addresses(self) -> tuple[str, ...]:
        """One or more, in the order to try. Raises `Unreachable`."""
        ...


class TableServiceStore:
    """An `async with` block. Every method raises `Unreachable` where no front end takes the call."""

    def __init__(self, found: Finder, port: int, token: str, deadline_s: float = CALL_DEADLINE_S) -> None:
        self._found = found
        self._port = port
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": MEDIA_TYPE}
        self._deadline_s = deadline_s
        self._http = HttpCaller(REPLY_OCTETS_MAX)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    async def tenure(self, az: str) -> Tenure:
        return cast("Tenure", await self._call("tenure", az))

    async def take(self, az: str, manager: str, seen_epoch: int, extend_s: float) -> bool:
        return cast("bool", await self._call("take", az, manager, seen_epoch, extend_s))

    async def beat(self, az: str, epoch: int) -> None:
        await self._call("beat", az, epoch)

    async def hosts(self, az: str) -> Sequence[Host]:
        return cast("tuple[Host, ...]", await self._call("hosts", az))

    async def join(self, host: Host) -> Host:
        return cast("Host", await self._call("join", host))

    async def set_state(self, az: str, name: str, state: HostState) -> Host:
        return cast("Host", await self._call("set_state", az, name, state))

    async def record_grants(self, az: str, epoch: int, grants: Sequence[Granted]) -> None:
        await self._call("record_grants", az, epoch, grants)

    async def record_amnesty(self, az: str, amnesty: Amnesty) -> None:
        await self._call("record_amnesty", az, amnesty)

    async def record_capacity(self, az: str, epoch: int, capacity_per_s: float) -> None:
        await self._call("record_capacity", az, epoch, capacity_per_s)

    async def place(self, az: str, epoch: int, instances: Sequence[Instance]) -> tuple[Instance, ...]:
        return cast("tuple[Instance, ...]", await self._call("place", az, epoch, instances))

    async def launch_of(self, account: str, token: str) -> tuple[Instance, ...]:
        return cast("tuple[Instance, ...]", await self._call("launch_of", account, token))

    async def set_instance(
        self, az: str, epoch: int, instance: str, state: InstanceState, address: str = ""
    ) -> Instance | None:
        return cast("Instance | None", await self._call("set_instance", az, epoch, instance, state, address))

    async def ask_to_stop(self, account: str, instance: str) -> Instance | None:
        return cast("Instance | None", await self._call("ask_to_stop", account, instance))

    async def instances(self, az: str = "", account: str = "") -> Sequence[Instance]:
        return cast("tuple[Instance, ...]", await self._call("instances", az, account))

    async def _call(self, name: str, *arguments: object) -> Any:
        call, body = CALLS[name], msgspec.msgpack.encode(arguments)
        trouble: Unreachable | None = None
        for host in (await self._found.addresses())[:ADDRESSES_TRIED_MAX]:
            address = HostPort(host, self._port)
            deadline_s = BULK_DEADLINE_S if name in _BULK else self._deadline_s
            try:
                reply = await self._http.request(address, "POST", PREFIX + name, self._headers, body, deadline_s)
            except Unreachable as error:
                self._http.forget(address)
                if not call.repeatable and not isinstance(error, NotSent):
                    raise
                trouble = error
                continue
            if reply.status == 200:
                return _decoded(reply.body, call.result, name)
            said = error_in(reply.status, reply.body, f"table service at {address}, {name}")
            if reply.status not in _WORTH_ANOTHER or not call.repeatable or not isinstance(said, Unreachable):
                raise said
            trouble = said
        raise trouble or Unreachable("the table service has no front end")


def _decoded(body: bytes, result: Any, name: str) -> Any:
    try:
        return msgspec.msgpack.decode(body, type=result)
    except msgspec.MsgspecError as error:
        raise Unreachable(f"table service, {name}: garbage instead of a reply: {error}") from error

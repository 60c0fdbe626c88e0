"""The hosts of an az by name and by number, as the inventory has them."""

from __future__ import annotations

from collections.abc import Iterable

from evenkeel.model.errors import InternalError
from evenkeel.model.fleet import Host, HostState


class Roster:
    """Numbers are places in the manager's tables: 0 and on, without gaps."""

    def __init__(self, hosts: Iterable[Host] = ()) -> None:
        self._by_number: list[Host] = []
        self._numbers: dict[str, int] = {}
        for host in hosts:
            self.put(host)

    def __len__(self) -> int:
        return len(self._by_number)

    def put(self, host: Host) -> bool:
        """Take in a host, new or changed; whether it is new. Raises `InternalError` where numbers have a gap."""
        if host.number < len(self._by_number):
            self._by_number[host.number] = host
            self._numbers[host.name] = host.number
            return False
        if host.number > len(self._by_number):
            raise InternalError(f"host {host.name} has number {host.number}, after {len(self._by_number)} others")
        self._by_number.append(host)
        self._numbers[host.name] = host.number
        return True

    def number(self, name: str) -> int | None:
        """None for a host that is not in the inventory."""
        return self._numbers.get(name)

    def name(self, number: int) -> str:
        return self._by_number[number].name

    def host(self, number: int) -> Host:
        return self._by_number[number]

    def all(self) -> list[Host]:
        return list(self._by_number)

    def count(self, state: HostState) -> int:
        return sum(host.state is state for host in self._by_number)

"""A region's authority and the credentials of hosts and managers, without sockets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from evenkeel.adapters.pki import Authority, Credentials, Identity, Role

REGION = "small"


@dataclass(frozen=True)
class Pki:
    folder: Path
    region: str = REGION

    @property
    def authority(self) -> Authority:
        return Authority.at(self.folder / "ca", self.region)

    def issued(self, role: Role, name: str) -> Credentials:
        """Credentials of that identity, made at the first asking."""
        authority = self.authority
        found = Credentials.at(self.folder / role.value / name, self.folder / "ca" / "ca.pem")
        if found.is_due():
            found.accept(authority.issue(found.request(), Identity(self.region, role, name)))
        return found

    def issued_joined(self, name: str, folder: Path) -> None:
        """As if host `name` had joined with the key in `folder`."""
        found = Credentials.at(folder, self.folder / "ca" / "ca.pem")
        found.accept(self.authority.issue(found.request(), Identity(self.region, Role.HOST, name)))

    def host(self, name: str) -> Credentials:
        return self.issued(Role.HOST, name)

    def manager(self, az: str = "a") -> Credentials:
        return self.issued(Role.MANAGER, az)

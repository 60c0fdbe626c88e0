"""What the fleet's processes have in common: where things stand, and how the table service is found."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from evenkeel.adapters import pki
from evenkeel.adapters.dns.resolve import ServerResolver
from evenkeel.adapters.secrets import read_secret
from evenkeel.adapters.table_service.client import TableServiceStore
from evenkeel.adapters.table_service.found import FoundByName
from evenkeel.model.errors import InputError
from evenkeel.model.region import FleetSettings, HostPort, Region
from evenkeel.region.components import front_ends


def fleet_of(region: Region) -> FleetSettings:
    """The region's fleet. Raises `InputError` where it has none."""
    if region.fleet is None:
        raise InputError.one(
            "[fleet]", f"region {region.name!r} has no fleet", "add the table; docs/how-to/run-a-fleet.md shows one"
        )
    return region.fleet


def authority_folder(region: Region) -> Path:
    """Where the region's certificate authority stands."""
    return Path(region.state_dir) / "keys" / "authority"


def host_folder(region: Region, host: str) -> Path:
    """Where a host's agent keeps its key, its memory and its instances."""
    return Path(region.state_dir) / "fleet" / host


def register_folder(region: Region) -> Path:
    """Where it is written down which key speaks for which host."""
    return Path(region.state_dir) / "keys" / "hosts"


def host_credentials(region: Region, host: str) -> pki.Credentials:
    return pki.Credentials.at(host_folder(region, host), authority_folder(region) / "ca.pem")


def manager_credentials(region: Region, az: str) -> pki.Credentials:
    """The manager's certificate, issued by its own process where there is none that lasts. Raises `InputError`."""
    folder = authority_folder(region)
    authority = pki.Authority.at(folder, region.name)
    credentials = pki.Credentials.at(Path(region.state_dir) / "keys" / f"manager-{az}", folder / "ca.pem")
    if credentials.is_due():
        request = credentials.request()
        credentials.accept(authority.issue(request, pki.Identity(region.name, pki.Role.MANAGER, az)))
    return credentials


def links_of(region: Region, az: str) -> tuple[HostPort, ...]:
    """Where managers of `az` take links; only the one that has it listens there."""
    return fleet_of(region).managers[region.azs.index(az) :: len(region.azs)]


def controls_of(region: Region, az: str) -> tuple[HostPort, ...]:
    """Where managers of `az` take calls, in the same order."""
    return fleet_of(region).controls[region.azs.index(az) :: len(region.azs)]


def front_end_port(region: Region) -> int:
    """The one port of all front ends, which is where they are probed."""
    return region.load_balancers[front_ends(region)[0]].probe.port


@contextlib.asynccontextmanager
async def table_service(region: Region) -> AsyncIterator[TableServiceStore]:
    """The table service, found by the region's own endpoint at every call."""
    fleet = fleet_of(region)
    zone = region.zones[region.endpoints[fleet.endpoint].zone]
    token = read_secret(region.state_dir, "tables")
    async with ServerResolver() as resolver:
        found = FoundByName(fleet.endpoint, (zone.primary, *zone.secondaries), resolver)
        async with TableServiceStore(found, front_end_port(region), token) as store:
            yield store

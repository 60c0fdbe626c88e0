"""Takes an explored trace again: in virtual time, or on the server of one of the region's zones."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from evenkeel.check.automation import Automation
from evenkeel.check.dns_properties import dns_properties
from evenkeel.check.drive import Diverged, Driven, Driver
from evenkeel.check.verify import Report, config_of
from evenkeel.check.way import Asked, find_way
from evenkeel.model.errors import InputError, WriteRejected
from evenkeel.model.names import absolute
from evenkeel.model.region import Region, ServerKind
from evenkeel.region.keys import zone_key
from evenkeel.twins.zone import TwinZoneServer, ZoneState

if TYPE_CHECKING:
    from evenkeel.check.trace import Taken

VIRTUAL_ZONE = "virtual.example."


async def replayed(trace: Path, region: Region | None, zone: str) -> list[Driven]:
    """Every step with what the server showed. Raises `InputError`, `Diverged`, `Unreachable`.

    On a real server the endpoints get names of their own under a random label, which are taken away at the end: no
    record that was there before is touched.
    """
    model, way = _read(trace)
    if region is None:
        return await Driver(model, TwinZoneServer(ZoneState.of(VIRTUAL_ZONE, guarded=False)), VIRTUAL_ZONE).run(way)
    found = region.zones.get(absolute(zone, "--zone")) if zone else None
    if found is None:
        raise InputError.one("--zone", f"the region has no zone {zone!r}", f"one of {', '.join(sorted(region.zones))}")
    from evenkeel.adapters.dns.zone_client import ZoneClient

    async with ZoneClient(found, zone_key(region, found)) as client:
        driver = Driver(model, client, found.name, label=f"check-{secrets.token_hex(4)}")
        try:
            return await driver.run(way)
        except WriteRejected as error:
            if found.server is not ServerKind.EMBEDDED or model.config.server_guard:
                raise
            raise Diverged(
                f"{found.name}: the embedded server's own guard refused a write that was explored without it; "
                "explore with --server-guard, or take the trace on a zone of BIND or Knot"
            ) from error
        finally:
            await driver.forget()


def _read(trace: Path) -> tuple[Automation, list[Taken]]:
    try:
        report = msgspec.json.decode(trace.read_bytes(), type=Report)
    except (OSError, msgspec.MsgspecError) as error:
        raise InputError.one(str(trace), f"no trace: {error}", "write one with `evenkeel check --json`") from error
    config = config_of(report)
    model = Automation(config, dns_properties(config.policy, config.plans, config.enactors))
    return model, find_way(model, [Asked(step.process, step.endpoint, step.action) for step in report.trace])

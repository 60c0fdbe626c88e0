"""The keys that sign a region's updates, from its keys folder."""

from __future__ import annotations

from evenkeel.adapters.dns.keys import tsig_key
from evenkeel.adapters.secrets import read_secret
from evenkeel.model.region import Region, Zone
from evenkeel.wire.tsig import TsigKey


def zone_key(region: Region, zone: Zone) -> TsigKey:
    """The key of this zone's updates. Raises `InputError` where it is missing, readable by others, or no key."""
    name = f"tsig-{zone.tsig_key}"
    return tsig_key(zone.tsig_key, read_secret(region.state_dir, name), where=f"key {name}")

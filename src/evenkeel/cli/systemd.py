"""A systemd unit for one component."""

from __future__ import annotations

from pathlib import Path

from evenkeel.model.region import Region, ServerKind
from evenkeel.region.components import Kind, component

PRIVILEGED_PORTS = 1024


def unit(region: Region, name: str, region_file: Path, program: str) -> str:
    """The unit's text. It restarts for ever, and may write nothing but the state folder."""
    place = component(region, name)
    ports = [zone.primary.port for zone in region.zones.values() if zone.server is ServerKind.EMBEDDED]
    needs_port = place.kind is Kind.NAMESERVER and any(port < PRIVILEGED_PORTS for port in ports)
    capability = "CAP_NET_BIND_SERVICE" if needs_port else ""
    return f"""\
# /etc/systemd/system/evenkeel-{name}.service
# Once, as root: adduser --system --group evenkeel; evenkeel keys {region_file}; chown -R evenkeel: {region.state_dir}
[Unit]
Description=evenkeel {name} of region {region.name}
Wants=network-online.target
After=network-online.target
# A component that cannot work yet tries again: giving up would be the outage.
StartLimitIntervalSec=0

[Service]
Type=exec
User=evenkeel
ExecStart={program} run {name} {region_file}
Restart=always
RestartSec=1
TimeoutStopSec=10
LimitNOFILE=65536
ReadWritePaths={region.state_dir}
ProtectSystem=strict
ProtectHome=read-only
ProtectKernelTunables=yes
ProtectControlGroups=yes
PrivateDevices=yes
NoNewPrivileges=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
CapabilityBoundingSet={capability}
AmbientCapabilities={capability}
UMask=0027

[Install]
WantedBy=multi-user.target"""

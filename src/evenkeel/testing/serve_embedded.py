"""The embedded nameserver in a process of its own, as `servers.embedded_server` starts it.

python -m evenkeel.testing.serve_embedded CONF.json

CONF.json: host, port, key, secret (base64), zones, state_dir; where wanted is_guarded (true), weighted_answers (1) and
secondaries ([[host, port], ...]).
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

from evenkeel.adapters.dns.keys import tsig_key
from evenkeel.adapters.nameserver import quiet_collector
from evenkeel.adapters.nameserver.server import EmbeddedNameserver, Settings
from evenkeel.model.region import HostPort, ServerKind, Zone


async def serve(conf: dict[str, object]) -> None:
    """Until SIGTERM."""
    place = HostPort(str(conf["host"]), int(str(conf["port"])))
    key = tsig_key(str(conf["key"]), str(conf["secret"]))
    names, secondaries = conf["zones"], conf.get("secondaries", [])
    assert isinstance(names, list)
    assert isinstance(secondaries, list)
    behind = tuple(HostPort(host, port) for host, port in secondaries)
    dealt = int(str(conf.get("weighted_answers", 1)))
    zones = [Zone(name, ServerKind.EMBEDDED, place, behind, weighted_answers=dealt) for name in names]
    settings = Settings(is_guarded=bool(conf.get("is_guarded", True)))
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    keys = {zone.name: key for zone in zones}
    async with EmbeddedNameserver(zones, keys, Path(str(conf["state_dir"])), [place], settings) as server:
        quiet_collector.settle()
        await server.serve_until(stopping)


def main() -> None:
    conf = json.loads(Path(sys.argv[1]).read_text())
    try:
        import uvloop
    except ImportError:
        asyncio.run(serve(conf))
    else:
        uvloop.run(serve(conf))


if __name__ == "__main__":
    main()

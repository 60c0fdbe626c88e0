"""The embedded nameserver alone, as a process: `python -m evenkeel.testing.serve_embedded CONF.json`.

For tests and benchmarks that want a server beside them which they can kill. CONF.json: host, port, key, secret
(base64), zones, state_dir; optional: guarded, weighted_answers, secondaries ([[host, port], ...]).
"""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import signal
import sys
from pathlib import Path

from evenkeel.adapters.nameserver.server import EmbeddedNameserver, Settings
from evenkeel.model.region import HostPort, ServerKind, Zone
from evenkeel.wire.tsig import TsigKey


async def serve(conf: dict[str, object]) -> None:
    """Until SIGTERM."""
    place = HostPort(str(conf["host"]), int(str(conf["port"])))
    key = TsigKey(str(conf["key"]), base64.b64decode(str(conf["secret"])))
    secondaries = conf.get("secondaries", [])
    assert isinstance(conf["zones"], list)
    assert isinstance(secondaries, list)
    zones = [
        Zone(
            name,
            ServerKind.EMBEDDED,
            place,
            secondaries=tuple(HostPort(host, port) for host, port in secondaries),
            weighted_answers=int(str(conf.get("weighted_answers", 1))),
        )
        for name in conf["zones"]
    ]
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    settings = Settings(is_guarded=bool(conf.get("guarded", True)))
    keys = dict.fromkeys((zone.name for zone in zones), key)
    async with EmbeddedNameserver(zones, keys, Path(str(conf["state_dir"])), (place,), settings):
        gc.collect()
        gc.freeze()
        await stopping.wait()


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

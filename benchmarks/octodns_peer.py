"""octodns-sync as the other side of a comparison: in a virtual environment of its own, on the same server.

The environment is made from requirements/bench.txt into `build/octodns` (not under version control) at the first run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from evenkeel.testing.servers import Server

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / "build" / "octodns"
# octodns-bind's default of 1000 raises TooBig with four addresses a record; this is about what fits.
RECORDS_A_MESSAGE = 500
DEADLINE_S = 600.0


def make_environment() -> None:
    """Install octoDNS, unless it is there already."""
    if (ENVIRONMENT / "bin" / "octodns-sync").exists():
        return
    print("making build/octodns from requirements/bench.txt ...", flush=True)
    subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
    pip = [str(ENVIRONMENT / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    requirements = str(ROOT / "requirements" / "bench.txt")
    subprocess.run([*pip, "--require-hashes", "--no-deps", "-r", requirements], check=True)


class Octodns:
    """One zone on one server, described in YAML as octoDNS has it."""

    def __init__(self, folder: Path, server: Server, zone: str) -> None:
        self._folder = folder
        self._zone = zone
        (folder / "zones").mkdir(parents=True, exist_ok=True)
        self._config = folder / "config.yaml"
        self._config.write_text(f"""manager:
  max_workers: 4
providers:
  config:
    class: octodns.provider.yaml.YamlProvider
    directory: {folder}/zones
    default_ttl: 60
    enforce_order: false
  server:
    class: octodns_bind.Rfc2136Provider
    host: {server.host}
    port: {server.port}
    timeout: 120
    key_name: {server.key.name}
    key_secret: {server.secret}
    key_algorithm: hmac-sha256
    update_batch_size: {RECORDS_A_MESSAGE}
zones:
  {zone}:
    sources: [config]
    targets: [server]
""")
        self._config.chmod(0o600)

    def describe(self, answers: Iterable[tuple[str, tuple[str, ...]]]) -> None:
        """Write the zone's file: endpoints by name with their addresses, and what the server brought along."""
        lines = [f"'':\n  type: NS\n  value: ns1.{self._zone}\n  ttl: 60\nns1:\n  type: A\n  value: 127.0.0.1\n"]
        for name, addresses in answers:
            values = "".join(f"    - {address}\n" for address in addresses)
            lines.append(f"{name.removesuffix('.' + self._zone)}:\n  type: A\n  ttl: 60\n  values:\n{values}")
        (self._folder / "zones" / f"{self._zone}yaml").write_text("---\n" + "".join(lines))

    def sync(self) -> float:
        """Run octodns-sync to its end; seconds from its start. The description is in the page cache already."""
        command = [str(ENVIRONMENT / "bin" / "octodns-sync"), "--config-file", str(self._config), "--doit", "--force"]
        began = time.perf_counter()
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=DEADLINE_S, env={**os.environ, "PYTHONWARNINGS": "ignore"}
        )
        took_s = time.perf_counter() - began
        if done.returncode:
            raise RuntimeError(f"octodns-sync ended with {done.returncode}:\n{done.stderr[-3000:]}")
        return took_s

"""The examples for BIND and Knot, set up as their READMEs say, with the real servers."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import dns.tsigkeyring
import dns.update
import pytest

from evenkeel.model.region import HostPort
from evenkeel.region.config import load
from evenkeel.testing.servers import REQUIRE_SERVERS, ServerMissing, find_program, free_address, serves

EXAMPLES = Path(__file__).parents[2] / "examples"
START_DEADLINE_S = 20.0
COMMANDS = {"bind": ("named", "-g", "-c", "named.conf"), "knot": ("knotd", "-c", "knot.conf")}


def set_up(example: str, folder: Path) -> HostPort:
    """Follow the example's README, all but its last line, in a copy of it with a free port instead of its own."""
    shutil.copytree(EXAMPLES / example, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("state"))
    primary = load(folder / "region.toml").zones["demo.example."].primary
    host, port = free_address()
    conf = next(folder.glob("*.conf"))
    conf.write_text(conf.read_text(encoding="utf-8").replace(str(primary.port), str(port)), encoding="utf-8")
    script = re.search(r"```sh\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert script
    steps = script[1].rstrip("\n").rpartition("\n")[0]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(["sh", "-euc", steps], cwd=folder, env={**os.environ, "PATH": path}, check=True, capture_output=True)
    return HostPort(host, port)


@pytest.fixture(
    name="served", params=[pytest.param("bind", marks=pytest.mark.bind), pytest.param("knot", marks=pytest.mark.knot)]
)
def _served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[HostPort, str]]:
    """The example's server, running; where it is, and the key's secret."""
    program, *arguments = COMMANDS[request.param]
    try:
        program = find_program(program, request.param)
    except ServerMissing as error:
        if os.environ.get(REQUIRE_SERVERS) == "1":
            raise
        pytest.skip(str(error))
    address = set_up(request.param, tmp_path)
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([program, *arguments], cwd=tmp_path, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + START_DEADLINE_S
        while not serves(address, "demo.example."):
            has_ended = process.poll() is not None or time.monotonic() > deadline
            assert not has_ended, (tmp_path / "log").read_text(encoding="utf-8")
            time.sleep(0.05)
        yield address, (tmp_path / "state/keys/tsig-evenkeel").read_text(encoding="ascii").strip()
    finally:
        process.terminate()
        process.wait(20)


def test_a_server_set_up_by_its_readme_takes_evenkeel_s_transactions_and_nobody_else_s(
    served: tuple[HostPort, str],
) -> None:
    address, secret = served
    keyring = dns.tsigkeyring.from_text({"evenkeel.": secret})
    signed = dns.update.UpdateMessage("demo.example.", keyring=keyring, keyalgorithm="hmac-sha256")
    signed.absent("_fence.db", "TXT")
    signed.add("g1._tree.db", 5, "A", "192.0.2.1")  # an address at a name with an underscore
    signed.add("_weights.g1._tree.db", 5, "TXT", "a=1")
    signed.add("db", 5, "CNAME", "g1._tree.db.demo.example.")
    signed.add("_fence.db", 1, "TXT", "g=1;w=enactor-a;n=1")
    assert ask(signed, address).rcode() == dns.rcode.NOERROR
    answer = ask(dns.message.make_query("db.demo.example.", "A"), address).answer
    assert [str(record) for record in answer[-1]] == ["192.0.2.1"]
    unsigned = dns.update.UpdateMessage("demo.example.")
    unsigned.delete("db")
    assert ask(unsigned, address).rcode() in (dns.rcode.REFUSED, dns.rcode.NOTAUTH)


def ask(message: dns.message.Message, address: HostPort) -> dns.message.Message:
    return dns.query.tcp(message, address.host, timeout=10, port=address.port)

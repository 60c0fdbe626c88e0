"""Each way in which a real target can answer, fail, or misbehave."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from evenkeel.adapters.probes.exchange import Exchange, call_for
from evenkeel.adapters.probes.prober import Prober
from evenkeel.endpoints.vantage_view import Target
from evenkeel.endpoints.verdicts import Observation, Outcome
from evenkeel.model.errors import InputError
from evenkeel.model.health import Probe, ProbeKind
from tests.health.targets import (
    first_result,
    free_port,
    hanging,
    listener,
    probe_of,
    probe_once,
    replying,
    resetting,
    until,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def test_tcp_is_ready_when_the_connection_stands() -> None:
    assert probe_once(hanging, ProbeKind.TCP).outcome is Outcome.READY


def test_http_reads_status_capacity_load_and_drain() -> None:
    head = b"HTTP/1.1 200 OK\r\nEvenkeel-Capacity: 80\r\nEvenkeel-Load: 12.5\r\nEvenkeel-Drain: 1\r\n\r\n"
    assert probe_once(replying(head), ProbeKind.HTTP) == Observation(Outcome.READY, 80.0, 12.5, draining=True)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, Outcome.READY), (302, Outcome.READY), (399, Outcome.READY), (404, Outcome.STATUS), (503, Outcome.STATUS)],
)
def test_http_is_ready_at_200_to_399(status: int, outcome: Outcome) -> None:
    seen = probe_once(replying(b"HTTP/1.1 %d Any\r\n\r\n" % status), ProbeKind.HTTP)
    assert seen.outcome is outcome


def test_the_request_names_path_host_and_port() -> None:
    asked: list[bytes] = []

    async def remember(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(OK)

    assert probe_once(remember, ProbeKind.HTTP, host="db.example", path="/ready?full=1").outcome is Outcome.READY
    lines = asked[0].decode().split("\r\n")
    assert lines[0] == "GET /ready?full=1 HTTP/1.1"
    assert lines[1].startswith("Host: db.example:")
    assert "Connection: close" in lines


def test_refused() -> None:
    target = Target("lb", "127.0.0.1", probe_of(ProbeKind.TCP, free_port()))
    assert asyncio.run(first_result(target)).outcome is Outcome.REFUSED


@pytest.mark.parametrize("kind", [ProbeKind.HTTP, ProbeKind.HTTPS])
def test_one_that_accepts_and_says_nothing_times_out(kind: ProbeKind) -> None:
    assert probe_once(hanging, kind).outcome is Outcome.TIMEOUT


def test_one_that_does_not_even_accept_times_out() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        seen = asyncio.run(first_result(Target("lb", "127.0.0.1", probe_of(ProbeKind.TCP, port))))
        for filler in fillers:
            filler.close()
    assert seen.outcome is Outcome.TIMEOUT


def test_a_trickle_that_is_too_slow_times_out() -> None:
    assert probe_once(replying(OK, pause_s=0.1, piece=1), ProbeKind.HTTP).outcome is Outcome.TIMEOUT


def test_a_reply_in_small_pieces_within_the_deadline_is_ready() -> None:
    assert probe_once(replying(OK, pause_s=0.001, piece=5), ProbeKind.HTTP).outcome is Outcome.READY


@pytest.mark.parametrize("octets", [b"SSH-2.0-OpenSSH\r\n", os.urandom(3000), b"\x00" * 100_000])
def test_garbage_is_malformed(octets: bytes) -> None:
    assert probe_once(replying(octets), ProbeKind.HTTP).outcome is Outcome.MALFORMED


def test_a_head_without_end_is_cut_off() -> None:
    endless = b"HTTP/1.1 200 OK\r\n" + b"X-Filler: " + b"x" * 5_000_000
    assert probe_once(replying(endless), ProbeKind.HTTP).outcome is Outcome.MALFORMED


def test_a_reset_is_a_reset() -> None:
    assert probe_once(resetting, ProbeKind.HTTP).outcome is Outcome.RESET


def test_one_that_closes_without_a_reply() -> None:
    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200")
        await writer.drain()

    seen = probe_once(close, ProbeKind.HTTP)
    assert (seen.outcome, seen.detail) == (Outcome.CLOSED, "after 12 octets")


def test_ipv6_is_probed_alike() -> None:
    async def run() -> Observation:
        async with listener(replying(OK), "::1") as port:
            return await first_result(Target("lb", "::1", probe_of(ProbeKind.HTTP, port)))

    assert asyncio.run(run()).outcome is Outcome.READY


# --- TLS ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Self-signed, for db.example and 127.0.0.1; key and certificate in one file."""
    folder = tmp_path_factory.mktemp("tls")
    key, made = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-keyout", str(key), "-out", str(made), "-subj", "/CN=db.example",
         "-addext", "subjectAltName=DNS:db.example,IP:127.0.0.1"],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    made.write_text(made.read_text() + key.read_text())
    return made


def probe_tls(certificate: Path, **options: object) -> Observation:
    async def run() -> Observation:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        async with listener(replying(OK), ssl=context) as port:
            return await first_result(Target("lb", "127.0.0.1", probe_of(ProbeKind.HTTPS, port, **options)))

    return asyncio.run(run())


def test_https_with_a_trusted_certificate_is_ready(certificate: Path) -> None:
    trusted = str(certificate)
    assert probe_tls(certificate, host="db.example", authorities_file=trusted).outcome is Outcome.READY
    assert probe_tls(certificate, authorities_file=trusted).outcome is Outcome.READY  # by its address


def test_https_with_an_untrusted_certificate_fails_and_says_why(certificate: Path) -> None:
    seen = probe_tls(certificate, host="db.example")
    assert seen.outcome is Outcome.TLS
    assert "self" in seen.detail


def test_https_for_another_name_fails(certificate: Path) -> None:
    seen = probe_tls(certificate, host="other.example", authorities_file=str(certificate))
    assert seen.outcome is Outcome.TLS
    assert "other.example" in seen.detail


def test_https_without_verification_is_ready_with_any_certificate(certificate: Path) -> None:
    assert probe_tls(certificate, host="other.example", verify_tls=False).outcome is Outcome.READY


def test_https_to_a_plain_server_is_a_tls_failure() -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(OK)
        await reader.read()

    assert probe_once(plain, ProbeKind.HTTPS).outcome is Outcome.TLS


def test_authorities_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    probe = probe_of(ProbeKind.HTTPS, 443, authorities_file=str(tmp_path / "none.pem"))
    with pytest.raises(InputError, match=r"none\.pem"):
        Prober("vantage-test", [Target("lb", "127.0.0.1", probe)], lambda index, seen, now_s: None)


# --- our own trouble ------------------------------------------------------------------------------


def test_a_stalled_loop_blames_no_target() -> None:
    """The deadline passes while this process is not looking, before the connection is even seen to stand."""

    async def run() -> list[Outcome]:
        seen: list[Outcome] = []
        async with listener(hanging) as port:
            target = Target("lb", "127.0.0.1", probe_of(ProbeKind.HTTP, port))
            prober = Prober("vantage-test", [target], lambda index, result, now_s: seen.append(result.outcome))
            prober.start()
            await until(lambda: prober.in_flight)
            time.sleep(0.6)  # noqa: ASYNC251 - stalling the loop is the point
            await until(lambda: seen)
            prober.stop()
        return seen

    assert asyncio.run(run())[0] is Outcome.LATE


def test_a_reply_that_came_while_we_stalled_still_counts() -> None:
    """At the deadline the socket is looked at once more: what lies there was sent in time."""

    async def run() -> Observation:
        done: list[Observation] = []
        async with listener(replying(OK)) as port:
            call = call_for(Target("lb", "127.0.0.1", probe_of(ProbeKind.HTTP, port)))
            exchange = Exchange(asyncio.get_running_loop(), call, lambda _, seen: done.append(seen))
            exchange.begin()
            await asyncio.sleep(0)
            for _ in range(1000):
                if done:
                    break
                verdict = exchange.last_look()
                if verdict is not None:
                    assert verdict.outcome is Outcome.TIMEOUT
                await asyncio.sleep(0.001)
        return done[0]

    assert asyncio.run(run()).outcome is Outcome.READY


def test_a_full_checker_gives_turns_up_as_late_and_queues_nothing() -> None:
    async def run() -> Prober:
        async with listener(hanging) as port:
            targets = [Target(f"lb-{k}", "127.0.0.1", probe_of(ProbeKind.HTTP, port)) for k in range(20)]
            prober = Prober("vantage-test", targets, lambda index, seen, now_s: None, in_flight_max=5)
            prober.start()
            for _ in range(100):
                assert prober.in_flight <= 5
                await asyncio.sleep(0.01)
            prober.stop()
        return prober

    counts = asyncio.run(run()).counts
    assert counts.refused_full > 0
    assert counts.outcomes[Outcome.LATE] == counts.refused_full
    assert counts.turns == counts.started + counts.skipped + counts.overlapping + counts.refused_full


def test_no_descriptors_left_is_our_trouble() -> None:
    async def run() -> Observation:
        async with listener(hanging) as port:
            target = Target("lb", "127.0.0.1", probe_of(ProbeKind.TCP, port))
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            used = len(os.listdir("/proc/self/fd"))
            results: asyncio.Queue[Observation] = asyncio.Queue()
            prober = Prober("vantage-test", [target], lambda index, seen, now_s: results.put_nowait(seen))
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(used, 3), hard))
            try:
                prober.start()
                return await asyncio.wait_for(results.get(), 20.0)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                prober.stop()

    seen = asyncio.run(run())
    assert (seen.outcome, seen.detail) == (Outcome.LOCAL, errno.errorcode[errno.EMFILE])


def test_no_descriptor_is_left_open_whatever_the_outcome() -> None:
    async def run() -> tuple[int, int]:
        async with listener(hanging) as slow, listener(replying(OK)) as good, listener(resetting) as bad:
            kinds = (ProbeKind.HTTP, ProbeKind.HTTPS, ProbeKind.TCP)
            targets = [
                Target(f"{kind}-{port}", "127.0.0.1", probe_of(kind, port, interval_s=0.2, timeout_s=0.1))
                for kind in kinds
                for port in (slow, good, bad, free_port())
            ]
            before = len(os.listdir("/proc/self/fd"))
            prober = Prober("vantage-test", targets, lambda index, seen, now_s: None)
            prober.start()
            await until(lambda: prober.counts.done >= 60)
            prober.stop()
            for _ in range(100):  # the listeners' own ends close a moment later
                after = len(os.listdir("/proc/self/fd"))
                if after <= before:
                    break
                await asyncio.sleep(0.02)
        return before, after

    before, after = asyncio.run(run())
    assert after <= before


@pytest.mark.parametrize(
    ("address", "options"),
    [
        ("lb.example", {}),
        ("127.0.0.1", {"path": "/a b"}),
        ("127.0.0.1", {"path": "/\r\nX: y"}),
        ("127.0.0.1", {"path": ""}),
        ("127.0.0.1", {"host": "a\nb"}),
        ("127.0.0.1", {"host": ".example"}),
    ],
)
def test_what_could_break_out_of_a_request_is_refused(address: str, options: dict[str, str]) -> None:
    probe = Probe(ProbeKind.HTTP, 80, **options)  # type: ignore[arg-type]  # fields by name
    with pytest.raises(InputError, match="load balancer lb"):
        call_for(Target("lb", address, probe))

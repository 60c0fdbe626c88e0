"""The server restarts, hangs, lies or loses replies: what the client then says, and that it finds its way back."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import struct
import time
from collections.abc import Callable

import pytest

from evenkeel.adapters.dns.failures import NotSent, ServerRefused
from evenkeel.adapters.dns.settings import ClientSettings
from evenkeel.adapters.dns.zone_client import ZoneClient
from evenkeel.model.errors import Unreachable
from evenkeel.model.records import Rcode
from evenkeel.model.region import HostPort, ServerKind, Zone
from evenkeel.model.transactions import Commit, Transaction
from evenkeel.ports.zone import Reading
from evenkeel.testing.servers import Server, free_address
from evenkeel.wire.tsig import sign, split
from tests.conformance.arms import transferred
from tests.dns.hostile import KEY, answering, framed
from tests.dns.transactions import endpoint, flip
from tests.servers import ZONE

IMPATIENT = ClientSettings(
    connect_deadline_s=0.5,
    commit_deadline_s=1.0,
    exchange_deadline_s=0.5,
    transfer_silence_s=0.5,
    poll_s=0.1,
    retry_s_max=0.2,
)


async def ends(client: ZoneClient, transactions: list[Transaction]) -> list[Commit | BaseException]:
    return await asyncio.gather(*(client.commit(one) for one in transactions), return_exceptions=True)


async def until_readable(client: ZoneClient, name: str) -> Reading:
    async with asyncio.timeout(20):
        while True:
            try:
                await client.refresh()
                return await client.read(name)
            except Unreachable:
                await asyncio.sleep(0.05)


def test_a_server_killed_in_the_middle_leaves_no_commit_misjudged(server: Server) -> None:
    """APPLIED has landed, REFUSED and errors have not; UNKNOWN may have, and the fence tells."""

    async def run() -> None:
        async with ZoneClient(server.zone(ZONE), server.key, IMPATIENT) as client:
            await client.read(endpoint(0))
            committing = [asyncio.create_task(client.commit(flip(number, 1))) for number in range(4000)]
            while client.counts.applied < 500:  # noqa: ASYNC110 - the kill has to come between two replies
                await asyncio.sleep(0)
            await asyncio.to_thread(server.kill)
            verdicts = await asyncio.gather(*committing, return_exceptions=True)
            await asyncio.to_thread(server.restart)
            await until_readable(client, endpoint(0))
            stood = {name for name, _, text in transferred(server) if text.startswith("g=1;")}
            for number, verdict in enumerate(verdicts):
                landed = f"_fence.{endpoint(number)}" in stood
                if verdict is Commit.APPLIED:
                    assert landed, number
                elif verdict is not Commit.UNKNOWN:
                    assert isinstance(verdict, Unreachable), verdict
                    assert not landed, number
            assert bool((await client.read(endpoint(0))).fences) == (f"_fence.{endpoint(0)}" in stood)

    asyncio.run(run())


def test_commits_wait_for_a_server_that_restarts_in_time(server: Server) -> None:
    settings = ClientSettings(commit_deadline_s=15.0, retry_s_max=0.2, poll_s=0.1)

    async def run() -> None:
        async with ZoneClient(server.zone(ZONE), server.key, settings) as client:
            assert await client.commit(flip(1, 1)) is Commit.APPLIED
            await asyncio.to_thread(server.kill)
            await asyncio.sleep(0.1)  # the loss of the connection has been noticed
            committing = asyncio.create_task(client.commit(flip(2, 1)))
            await asyncio.sleep(0.2)
            assert not committing.done()
            await asyncio.to_thread(server.restart)
            assert await committing is Commit.APPLIED

    asyncio.run(run())


def test_a_server_that_is_away_is_named_within_the_deadline() -> None:
    async def run() -> None:
        zone = Zone(ZONE, ServerKind.RFC2136, HostPort(*free_address()))
        async with ZoneClient(zone, KEY, IMPATIENT) as client:
            for end in await ends(client, [flip(number, 1) for number in range(300)]):
                assert isinstance(end, NotSent)
                assert str(zone.primary) in str(end)
            with pytest.raises(Unreachable):
                await client.read(endpoint(1))

    asyncio.run(run())


def test_a_hanging_server_leaves_the_outcome_unknown_and_the_fence_tells_it_later(server: Server) -> None:
    async def run() -> None:
        async with ZoneClient(server.zone(ZONE), server.key, IMPATIENT) as client:
            assert await client.commit(flip(1, 1)) is Commit.APPLIED
            standing = await client.read(endpoint(1))
            server.pause()
            assert await client.commit(flip(1, 2, standing)) is Commit.UNKNOWN
            with pytest.raises(Unreachable):
                await client.read(endpoint(1))  # the doubt is not answered from memory
            server.resume()
            fence = (await until_readable(client, endpoint(1))).fences[0]
            if fence.startswith("g=1;"):  # the server may take the message up after all, behind our read
                await asyncio.sleep(0.5)
                await client.refresh()
                fence = (await client.read(endpoint(1))).fences[0]
            again = await client.commit(flip(1, 2, standing))
            assert (again is Commit.REFUSED) == fence.startswith("g=2;")

    asyncio.run(run())


def test_a_hung_up_batch_is_unknown_as_a_whole_and_the_queue_ends_in_time(bind: Server) -> None:
    async def run() -> None:
        async with ZoneClient(bind.zone(ZONE), bind.key, IMPATIENT) as client:
            await client.read(endpoint(0))
            bind.pause()
            verdicts = await ends(client, [flip(number, 1) for number in range(3000)])
            bind.resume()
            assert all(verdict is Commit.UNKNOWN or isinstance(verdict, Unreachable) for verdict in verdicts)
            assert verdicts[0] is Commit.UNKNOWN

    asyncio.run(run())


def test_closing_ends_every_commit_under_way(bind: Server) -> None:
    async def run() -> None:
        client = ZoneClient(bind.zone(ZONE), bind.key)
        client.start()
        await client.read(endpoint(0))
        committing = [asyncio.create_task(client.commit(flip(number, 1))) for number in range(3000)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await client.aclose()
        for verdict in await asyncio.gather(*committing, return_exceptions=True):
            assert verdict is Commit.UNKNOWN or isinstance(verdict, NotSent)
        with pytest.raises(NotSent):
            await client.commit(flip(1, 1))
        with pytest.raises(Unreachable):
            await client.refresh()

    asyncio.run(run())


def test_a_reader_that_gives_up_disturbs_nobody(bind: Server) -> None:
    async def run() -> None:
        async with ZoneClient(bind.zone(ZONE), bind.key) as client:
            await client.read(endpoint(0))
            committing = [asyncio.create_task(client.commit(flip(number, 1))) for number in range(500)]
            await asyncio.sleep(0)
            for task in committing[::2]:
                task.cancel()
            kept = await asyncio.gather(*committing[1::2])
            assert kept == [Commit.APPLIED] * 250

    asyncio.run(run())


# --- lies -------------------------------------------------------------------------------------------------


def reply_to(request: bytes, rcode: Rcode = Rcode.NOERROR, *, signed: bool = True) -> bytes:
    """What an honest server would answer to an update."""
    bare, tsig = split(request)
    assert tsig is not None
    reply = bare[:2] + struct.pack("!H", 0xA800 | rcode) + bytes(8)
    return sign(reply, KEY, int(time.time()), request_mac=tsig.mac)[0] if signed else reply


def honest(request: bytes) -> bytes:
    return framed(reply_to(request))


def wrong_id(request: bytes) -> bytes:
    reply = bytearray(reply_to(request))
    reply[0] ^= 0xFF
    return bytes(reply)


LIES: dict[str, Callable[[bytes], bytes | None]] = {
    "noise": lambda _: secrets.token_bytes(200),
    "framed noise": lambda _: framed(secrets.token_bytes(200)),
    "nothing": lambda _: framed(b""),
    "a header alone": lambda request: framed(request[:2] + b"\xa8\x00" + bytes(8)),
    "half a reply": lambda request: framed(reply_to(request))[:-10],
    "the request itself": framed,
    "another id": lambda request: framed(wrong_id(request)),
    "unsigned success": lambda request: framed(reply_to(request, signed=False)),
    "unsigned refusal by a prerequisite": lambda request: framed(reply_to(request, Rcode.NXRRSET, signed=False)),
    "altered verdict": lambda request: framed(reply_to(request).replace(b"\xa8\x00", b"\xa8\x08", 1)),
    "an end": lambda _: None,
    "silence": lambda _: b"",
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_what_is_no_sound_reply_leaves_the_outcome_unknown(lie: Callable[[bytes], bytes | None]) -> None:
    async def run() -> None:
        async with answering(lie) as zone, ZoneClient(zone, KEY, IMPATIENT) as client:
            assert await client.commit(flip(1, 1)) is Commit.UNKNOWN
            with pytest.raises(Unreachable):
                await client.read(endpoint(1))

    asyncio.run(run())


def test_an_honest_reply_of_the_same_server_counts() -> None:
    async def run() -> None:
        async with answering(honest) as zone, ZoneClient(zone, KEY, IMPATIENT) as client:
            assert await client.commit(flip(1, 1)) is Commit.APPLIED

    asyncio.run(run())


@pytest.mark.parametrize("rcode", [Rcode.SERVFAIL, Rcode.REFUSED, Rcode.NOTIMP, Rcode.FORMERR, Rcode.NOTAUTH])
@pytest.mark.parametrize("signed", [True, False])
def test_an_error_of_the_server_is_raised_with_its_name(rcode: Rcode, signed: bool) -> None:
    async def run() -> None:
        def failing(request: bytes) -> bytes:
            return framed(reply_to(request, rcode, signed=signed))

        async with answering(failing) as zone, ZoneClient(zone, KEY, IMPATIENT) as client:
            for end in await ends(client, [flip(number, 1) for number in range(5)]):
                assert isinstance(end, ServerRefused)
                assert end.rcode == rcode
                assert rcode.name in str(end)

    asyncio.run(run())


def test_a_server_that_is_still_loading_its_zone_is_given_time() -> None:
    """BIND answers SERVFAIL from when it listens until the zone is there."""

    async def run() -> None:
        began_s = time.monotonic()

        def loading(request: bytes) -> bytes:
            rcode = Rcode.SERVFAIL if time.monotonic() < began_s + 0.3 else Rcode.NOERROR
            return framed(reply_to(request, rcode))

        async with answering(loading) as zone, ZoneClient(zone, KEY) as client:
            assert await client.commit(flip(1, 1)) is Commit.APPLIED
            assert client.counts.messages < 10

    asyncio.run(run())


def test_a_failing_server_is_not_stormed_with_retries() -> None:
    async def run() -> None:
        def failing(request: bytes) -> bytes:
            return framed(reply_to(request, Rcode.SERVFAIL))

        async with answering(failing) as zone, ZoneClient(zone, KEY, IMPATIENT) as client:
            await ends(client, [flip(number, 1) for number in range(1000)])
            assert client.counts.messages < 200

    asyncio.run(run())


# --- a server that goes back in time ----------------------------------------------------------------------


def forget(server: Server) -> None:
    """The server comes back with nothing but what its zone began with, as from a backup."""
    server.stop()
    for path in server.folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif ".zone" in path.name:
            path.unlink()
    server.restart()


def test_a_server_restored_from_a_backup_is_believed(server: Server) -> None:
    """Its serial may be older than ours, or unknown to it: the whole zone is taken in anew, and listeners are told."""

    async def run() -> None:
        async with ZoneClient(server.zone(ZONE), server.key, IMPATIENT) as client:
            for generation in range(1, 6):
                standing = await client.read(endpoint(1))
                assert await client.commit(flip(1, generation, standing)) is Commit.APPLIED
                await client.refresh()
            told: list[list[str] | None] = []
            client.tell_touched(told.append)
            await asyncio.to_thread(forget, server)
            assert await until_readable(client, endpoint(1)) == Reading()
            assert None in told
            assert await client.commit(flip(1, 7)) is Commit.APPLIED

    asyncio.run(run())


def test_a_zone_is_followed_through_restarts(server: Server) -> None:
    async def run() -> None:
        async with ZoneClient(server.zone(ZONE), server.key, IMPATIENT) as client:
            for generation in range(1, 4):
                standing = await until_readable(client, endpoint(1))
                assert await client.commit(flip(1, generation, standing)) is Commit.APPLIED
                await asyncio.to_thread(server.kill if generation % 2 else server.stop)
                await asyncio.to_thread(server.restart)
                assert (await until_readable(client, endpoint(1))).fences[0].startswith(f"g={generation};")

    asyncio.run(run())

"""Commits through the client against real servers: grouping, refusals, foreign writers."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Awaitable, Callable

import pytest

from evenkeel.adapters.dns.failures import KeyRejected, ServerRefused
from evenkeel.adapters.dns.settings import ClientSettings
from evenkeel.adapters.dns.zone_client import ZoneClient
from evenkeel.endpoints import layout
from evenkeel.endpoints.layout import Standing, Target
from evenkeel.model.errors import Unreachable
from evenkeel.model.fence import Fence
from evenkeel.model.plan import Answer, Layout
from evenkeel.model.records import RecordType, RRset
from evenkeel.model.transactions import AddRRs, Commit, DeleteRRset, RRsetAbsent, RRsetEquals, Transaction
from evenkeel.ports.zone import Reading
from evenkeel.testing.servers import Server, make_key
from evenkeel.wire.tsig import BADKEY, BADSIG, TsigKey
from evenkeel.wire.update import BadTransaction, TooBig
from tests.conformance.arms import Wire
from tests.dns.transactions import addresses, endpoint, flip
from tests.servers import ZONE

Body = Callable[[ZoneClient], Awaitable[None]]
FAST = ClientSettings(poll_s=0.05)


def with_client(server: Server, body: Body, settings: ClientSettings | None = None) -> None:
    async def run() -> None:
        async with ZoneClient(server.zone(ZONE), server.key, settings) as client:
            await body(client)

    asyncio.run(run())


async def commit_all(client: ZoneClient, transactions: list[Transaction]) -> list[Commit]:
    return await asyncio.gather(*(client.commit(transaction) for transaction in transactions))


def test_what_was_committed_is_read_back_at_once_and_after_a_transfer(server: Server) -> None:
    async def body(client: ZoneClient) -> None:
        assert await client.read(endpoint(1)) == Reading()
        assert await client.commit(flip(1, 1)) is Commit.APPLIED
        own = await client.read(endpoint(1))
        assert own.a == addresses(1, 1)
        assert own.fences == ("g=1;w=test;n=test1x1",)
        await client.refresh()
        assert await client.read(endpoint(1)) == own

    with_client(server, body)


def test_commits_that_come_together_share_messages(server: Server) -> None:
    async def body(client: ZoneClient) -> None:
        verdicts = await commit_all(client, [flip(number, 1) for number in range(350)])
        assert verdicts == [Commit.APPLIED] * 350
        assert client.counts.messages == 4

    with_client(server, body, ClientSettings(transactions_max=100))


def test_a_lone_commit_does_not_wait_for_company(bind: Server) -> None:
    async def body(client: ZoneClient) -> None:
        await client.read(endpoint(1))
        sending = asyncio.create_task(client.commit(flip(1, 1)))
        await asyncio.sleep(0)  # the task runs
        await asyncio.sleep(0)  # and, in the same turn, what it asked for
        assert client.counts.messages == 1
        assert await sending is Commit.APPLIED

    with_client(bind, body)


def test_only_the_transaction_that_lost_is_refused(server: Server) -> None:
    async def body(client: ZoneClient) -> None:
        await client.read(endpoint(0))
        with Wire(server) as foreign:
            foreign.apply(flip(7, 5, writer="foreign"))
        verdicts = await commit_all(client, [flip(number, 1) for number in range(40)])
        assert [number for number, verdict in enumerate(verdicts) if verdict is Commit.REFUSED] == [7]
        assert verdicts.count(Commit.APPLIED) == 39
        assert (await client.read(endpoint(7))).fences == ("g=5;w=foreign;n=foreign5x7",)

    with_client(server, body, ClientSettings(poll_s=3600))


def test_a_refusal_that_the_view_cannot_explain_is_found_by_halving(server: Server) -> None:
    def unseen(number: int) -> Transaction:
        # The view keeps no SRV records, so it cannot tell that this does not hold.
        requires = (RRsetEquals(f"_sip.{endpoint(number)}", RecordType.SRV, ("0 0 1 x.",)),)
        return Transaction(ZONE, requires, flip(number, 1).changes)

    async def body(client: ZoneClient) -> None:
        transactions = [unseen(number) if number in (3, 17) else flip(number, 1) for number in range(32)]
        verdicts = await commit_all(client, transactions)
        assert [number for number, verdict in enumerate(verdicts) if verdict is Commit.REFUSED] == [3, 17]
        assert verdicts.count(Commit.APPLIED) == 30
        assert client.counts.halved > 0

    with_client(server, body)


def test_one_transaction_that_the_server_will_not_have_does_not_hold_up_the_others(server: Server) -> None:
    async def body(client: ZoneClient) -> None:
        outside = Transaction(ZONE, (), (AddRRs(RRset.of("elsewhere.test.", RecordType.A, 1, "192.0.2.1")),))
        ends = await asyncio.gather(
            *(client.commit(flip(number, 1)) for number in range(10)), client.commit(outside), return_exceptions=True
        )
        assert ends[:10] == [Commit.APPLIED] * 10
        assert isinstance(ends[10], ServerRefused)
        assert "NOTZONE" in str(ends[10])

    with_client(server, body)


def test_a_foreign_change_is_seen_without_being_asked_for(server: Server) -> None:
    async def body(client: ZoneClient) -> None:
        assert await client.commit(flip(1, 1)) is Commit.APPLIED
        with Wire(server) as foreign:
            foreign.apply(flip(1, 2, await client.read(endpoint(1)), writer="foreign"))
        async with asyncio.timeout(10):
            while (await client.read(endpoint(1))).a != addresses(1, 2):  # noqa: ASYNC110 - as a reader sees it
                await asyncio.sleep(0.02)

    with_client(server, body, FAST)


def test_rereading_after_a_refusal_never_shows_what_was_refused(server: Server) -> None:
    async def body(client: ZoneClient) -> None:
        standing = await client.read(endpoint(1))
        with Wire(server) as foreign:
            for generation in range(1, 20):
                foreign.apply(flip(1, generation, standing, writer="foreign"))
                assert await client.commit(flip(1, 100 + generation, standing)) is Commit.REFUSED
                standing = await client.read(endpoint(1))
                assert standing.fences == (f"g={generation};w=foreign;n=foreign{generation}x1",)

    with_client(server, body, ClientSettings(poll_s=3600))


def test_two_writers_on_one_client_take_turns_at_an_endpoint(server: Server) -> None:
    async def body(client: ZoneClient) -> None:
        async def increment(writer: str) -> int:
            applied = 0
            while applied < 10:
                standing = await client.read(endpoint(1))
                generation = Fence.parse(standing.fences[0]).generation + 1 if standing.fences else 1
                verdict = await client.commit(flip(1, generation, standing, writer))
                applied += verdict is Commit.APPLIED
            return applied

        await asyncio.gather(*(increment(writer) for writer in "abcde"))
        assert Fence.parse((await client.read(endpoint(1))).fences[0]).generation == 50

    with_client(server, body)


def test_a_reader_sees_no_torn_endpoint_while_two_clients_write(server: Server) -> None:
    """Answer and fence always belong together, whatever own commits and transfers overlap."""

    async def run() -> None:
        zone, key = server.zone(ZONE), server.key
        settings = ClientSettings(poll_s=0.01)
        async with ZoneClient(zone, key, settings) as one, ZoneClient(zone, key, settings) as two:
            done = asyncio.Event()

            async def write(client: ZoneClient, writer: str, numbers: range) -> None:
                for generation in range(1, 15):
                    for number in numbers:
                        standing = await client.read(endpoint(number))
                        await client.commit(flip(number, generation, standing, writer))

            async def watch(client: ZoneClient) -> None:
                while not done.is_set():
                    for number in range(6):
                        reading = await client.read(endpoint(number))
                        if reading.fences:
                            assert len(reading.fences) == 1, reading
                            generation = Fence.parse(reading.fences[0]).generation
                            assert reading.a == addresses(number, generation), reading
                    await asyncio.sleep(0)

            watching = asyncio.gather(watch(one), watch(two))
            await asyncio.gather(write(one, "one", range(4)), write(two, "two", range(2, 6)))
            done.set()
            await watching

    asyncio.run(run())


def test_trees_are_built_flipped_and_read(server: Server) -> None:
    async def body(client: ZoneClient) -> None:
        name = endpoint(1)
        for generation in (9, 10):
            answer = Answer(60, addresses(1, generation), (3, 1), ("2001:db8::1",), (1,))
            target = Target(name, Layout.TREE, answer, layout.node_name(name, generation))
            assert await client.commit(layout.build_node(ZONE, target)) is Commit.APPLIED
            standing = Standing(await client.read(name), await client.read_node(target.node))
            fence = Fence(generation, "test", f"n{generation}")
            assert await client.commit(layout.flip(ZONE, target, standing, fence)) is Commit.APPLIED
        for _ in ("from own commits", "from a transfer"):
            assert await client.nodes(name) == [f"g9._tree.{name}", f"g10._tree.{name}"]
            reading = await client.read(name)
            assert reading.target == f"g10._tree.{name}"
            node = await client.read_node(reading.target)
            assert (node.a, node.aaaa, node.weights) == (addresses(1, 10), ("2001:db8::1",), "a=3,1;aaaa=1")
            await client.refresh()
        gone = Transaction(ZONE, (), layout.node_gone(f"g9._tree.{name}"))
        assert await client.commit(gone) is Commit.APPLIED
        assert await client.nodes(name) == [f"g10._tree.{name}"]
        await client.refresh()
        assert await client.nodes(name) == [f"g10._tree.{name}"]

    with_client(server, body)


def test_a_frozen_zone_refuses_and_says_why(server: Server) -> None:
    async def body(client: ZoneClient) -> None:
        assert await client.frozen() == ""
        with Wire(server) as foreign:
            foreign.apply(layout.freeze(ZONE, "an operator's reason"))
        verdicts = await commit_all(client, [flip(number, 1) for number in range(20)])
        assert verdicts == [Commit.REFUSED] * 20
        assert client.counts.messages <= 2
        assert await client.frozen() == "an operator's reason"
        assert await client.commit(layout.freeze(ZONE, "")) is Commit.APPLIED
        assert await client.commit(flip(1, 1)) is Commit.APPLIED

    with_client(server, body, ClientSettings(poll_s=3600))


def test_transactions_that_read_what_others_write_do_not_share_a_message(bind: Server) -> None:
    """Each may go alone; together they would write past one another (write skew)."""

    def skewed(own: int, other: int) -> Transaction:
        change = AddRRs(RRset.of(endpoint(own), RecordType.A, 1, "192.0.2.1"))
        return Transaction(ZONE, (RRsetAbsent(endpoint(other), RecordType.A),), (change,))

    async def body(client: ZoneClient) -> None:
        verdicts = await commit_all(client, [skewed(1, 2), skewed(2, 1)])
        assert sorted(verdict.name for verdict in verdicts) == ["APPLIED", "REFUSED"]

    with_client(bind, body)


def test_a_transaction_that_fits_into_no_message_is_told_apart(bind: Server) -> None:
    texts = tuple(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(9000))
    huge = Transaction(ZONE, (), (AddRRs(RRset(endpoint(1), RecordType.A, 60, texts)),))

    async def body(client: ZoneClient) -> None:
        ends = await asyncio.gather(client.commit(flip(2, 1)), client.commit(huge), return_exceptions=True)
        assert ends[0] is Commit.APPLIED
        assert isinstance(ends[1], TooBig)

    with_client(bind, body)


@pytest.mark.parametrize(
    ("rtype", "text", "said"),
    [
        (RecordType.A, "192.0.2.256", "192.0.2.256"),
        (RecordType.TXT, "x" * 256, "256 octets"),
        (RecordType.CNAME, "a..b.", "0 octets"),
    ],
)
def test_a_transaction_without_wire_form_is_told_apart(bind: Server, rtype: RecordType, text: str, said: str) -> None:
    bad = Transaction(ZONE, (), (AddRRs(RRset(endpoint(1), rtype, 60, (text,))),))

    async def body(client: ZoneClient) -> None:
        ends = await asyncio.gather(
            client.commit(flip(2, 1)), client.commit(bad), client.commit(flip(3, 1)), return_exceptions=True
        )
        assert ends[0] is ends[2] is Commit.APPLIED
        assert isinstance(ends[1], BadTransaction)
        assert said in str(ends[1])

    with_client(bind, body)


def test_messages_keep_below_their_size_whatever_is_in_them(bind: Server) -> None:
    def large(number: int) -> Transaction:
        changes = (
            DeleteRRset(endpoint(number), RecordType.A),
            AddRRs(RRset(endpoint(number), RecordType.A, 60, addresses(number, 1, 90))),
        )
        return Transaction(ZONE, (), changes)

    async def body(client: ZoneClient) -> None:
        assert await commit_all(client, [large(number) for number in range(120)]) == [Commit.APPLIED] * 120
        assert client.counts.messages >= 4

    with_client(bind, body)


@pytest.mark.parametrize(("rename", "error"), [(True, BADKEY), (False, BADSIG)], ids=["unknown key", "wrong secret"])
def test_a_key_that_is_not_accepted_is_named_with_its_mend(server: Server, rename: bool, error: int) -> None:
    key = make_key("stranger") if rename else TsigKey(server.key.name, bytes(32))

    async def run() -> None:
        async with ZoneClient(server.zone(ZONE), key) as client:
            with pytest.raises(KeyRejected) as rejected:
                await client.commit(flip(1, 1))
            assert rejected.value.tsig_error == error
            assert key.name in str(rejected.value)
            assert "mend:" in str(rejected.value)
            with pytest.raises(Unreachable, match=r"NOTAUTH|BADSIG|BADKEY"):
                await client.read(endpoint(1))

    asyncio.run(run())


@pytest.mark.parametrize("offset_s", [-3600, 3600])
def test_a_clock_an_hour_off_is_borne_by_the_servers_own_signed_time(server: Server, offset_s: int) -> None:
    """RFC 8945 section 5.2.3: the refusal says the server's time, under a signature; the next attempt goes by it."""

    async def run() -> None:
        async with ZoneClient(server.zone(ZONE), server.key, wall_s=lambda: time.time() + offset_s) as client:
            verdict = None
            async with asyncio.timeout(20):
                while verdict is None:
                    try:
                        verdict = await client.commit(flip(1, 1))
                    except KeyRejected:
                        await asyncio.sleep(0.05)
            assert verdict is Commit.APPLIED
            await client.refresh()
            assert (await client.read(endpoint(1))).a == addresses(1, 1)

    asyncio.run(run())


def test_a_zone_that_the_server_does_not_serve_is_named(server: Server) -> None:
    async def run() -> None:
        zone = dataclasses.replace(server.zone(ZONE), name="other.test.")
        async with ZoneClient(zone, server.key) as client:
            with pytest.raises(ServerRefused, match=r"other\.test\."):
                await client.commit(Transaction("other.test.", (), ()))
            with pytest.raises(Unreachable, match=r"other\.test\."):
                await client.read("x.other.test.")

    asyncio.run(run())

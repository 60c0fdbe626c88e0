"""RFC 2136: the twin (text) and the server (a message, octets) are one definition."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from evenkeel.model.records import Rcode, RecordType, RRset
from evenkeel.model.transactions import AddRRs, DeleteName, DeleteRRs, DeleteRRset, RRsetEquals, Transaction
from evenkeel.nameserver.decode_update import decode_update
from evenkeel.nameserver.history import Delta, decode_delta, encode_delta, replay
from evenkeel.nameserver.staging import stage
from evenkeel.nameserver.store import Staged, ZoneStore
from evenkeel.twins.zone import Query, ZoneState, step
from evenkeel.wire.update import encode_update
from tests.nameserver.strategies import ENDPOINT, NAMES, OUTSIDE, ZONE, transactions
from tests.nameserver.zones import APEX, as_nodes, content, twin, twin_content


@given(st.lists(transactions(), max_size=8), st.booleans())
def test_twin_and_store_agree_on_every_verdict_and_on_all_content(batch: list[Transaction], is_guarded: bool) -> None:
    state, store = twin(guarded=is_guarded), ZoneStore(APEX, as_nodes(twin()))
    for transaction in batch:
        state, expected = step(state, transaction)
        staged = Staged(store)
        staging = stage(staged, decode_update(encode_update(1, ZONE, [transaction])).update, is_guarded)
        assert staging.rcode == expected
        store.apply(staging.nodes)
        assert content(store) == twin_content(state)


@given(st.lists(transactions(), max_size=8))
def test_staged_updates_add_up_to_the_same_as_one_after_the_other(batch: list[Transaction]) -> None:
    one_by_one, grouped = ZoneStore(APEX, as_nodes(twin())), ZoneStore(APEX, as_nodes(twin()))
    staged = Staged(grouped)
    stagings = []
    for transaction in batch:
        update = decode_update(encode_update(1, ZONE, [transaction])).update
        alone = stage(Staged(one_by_one), update, is_guarded=True)
        one_by_one.apply(alone.nodes)
        stagings.append(stage(staged, update, is_guarded=True))
        assert stagings[-1].rcode == alone.rcode
    for staging in stagings:
        grouped.apply(staging.nodes)
    assert content(grouped) == content(one_by_one)


@given(st.lists(transactions(), max_size=8))
def test_the_journal_of_changes_replays_to_the_same_zone(batch: list[Transaction]) -> None:
    store = ZoneStore(APEX, as_nodes(twin()))
    replayed = {name: dict(node) for name, node in as_nodes(twin()).items()}
    for transaction in batch:
        serial = store.serial
        staging = stage(Staged(store), decode_update(encode_update(1, ZONE, [transaction])).update, is_guarded=False)
        store.apply(staging.nodes)
        if staging.nodes:
            assert (staging.old_serial, staging.new_serial) == (serial, store.serial)
            delta = Delta(staging.old_serial, staging.new_serial, list(staging.changes))
            replay(replayed, decode_delta(encode_delta(delta)))
    assert replayed == store.picture()


@given(st.lists(transactions(), max_size=8))
def test_the_serial_grows_exactly_when_something_changed(batch: list[Transaction]) -> None:
    state = twin()
    for transaction in batch:
        after, _ = step(state, transaction)
        before_serial, serial = (int(each.texts(ZONE, "SOA")[0].split()[2]) for each in (state, after))
        changed = {each for each in twin_content(state) if each[1] != "SOA"} != {
            each for each in twin_content(after) if each[1] != "SOA"
        }
        assert serial - before_serial == (1 if changed else 0)
        state = after


@given(st.lists(transactions(), max_size=6))
def test_equal_content_is_an_equal_state_however_it_came_about(batch: list[Transaction]) -> None:
    state = ZoneState.of(ZONE)
    for transaction in batch:
        state, _ = step(state, transaction)
    again = ZoneState.of(ZONE, state.rrsets())
    assert again == state
    assert hash(again) == hash(state)
    assert {name: set(again.aliases_of(name)) for name in NAMES} == {
        name: set(state.aliases_of(name)) for name in NAMES
    }


@given(transactions())
@settings(max_examples=30)
def test_a_refused_transaction_changes_nothing(transaction: Transaction) -> None:
    impossible = Transaction(ZONE, (*transaction.requires, RRsetEquals(ENDPOINT, RecordType.A, ("203.0.113.9",))), ())
    before = twin()
    after, rcode = step(before, Transaction(ZONE, impossible.requires, transaction.changes))
    assert rcode is not Rcode.NOERROR
    assert after == before


def add(name: str, type_: RecordType, *rdatas: str, ttl_s: int = 60) -> AddRRs:
    return AddRRs(RRset.of(name, type_, ttl_s, *rdatas))


def test_a_cname_beside_other_data_is_skipped_while_the_rest_is_done() -> None:
    state, _ = step(twin(), Transaction(ZONE, (), (add(ENDPOINT, RecordType.A, "192.0.2.1"),)))
    fence = add("_fence." + ENDPOINT, RecordType.TXT, "g=1;w=a;n=1")
    state, rcode = step(state, Transaction(ZONE, (), (add(ENDPOINT, RecordType.CNAME, "www." + ZONE), fence)))
    assert rcode is Rcode.NOERROR
    assert state.texts(ENDPOINT, "CNAME") == ()
    assert state.texts("_fence." + ENDPOINT, "TXT") == ("g=1;w=a;n=1",)


def test_a_second_cname_replaces_the_first() -> None:
    for target in ("www." + ZONE, "sub." + ZONE):
        state, _ = step(twin(), Transaction(ZONE, (), (add(ENDPOINT, RecordType.CNAME, target),)))
        assert state.texts(ENDPOINT, "CNAME") == (target,)


def test_the_last_nameserver_of_the_zone_cannot_be_deleted_one_by_one_either() -> None:
    state, rcode = step(twin(), Transaction(ZONE, (), (DeleteRRs(ZONE, RecordType.NS, (f"ns1.{ZONE}",)),)))
    assert rcode is Rcode.NOERROR
    assert state.texts(ZONE, "NS") == (f"ns1.{ZONE}",)


def test_a_new_ttl_is_a_change_of_the_whole_set() -> None:
    state, _ = step(twin(), Transaction(ZONE, (), (add(ENDPOINT, RecordType.A, "192.0.2.1", "192.0.2.2"),)))
    state, _ = step(state, Transaction(ZONE, (), (add(ENDPOINT, RecordType.A, "192.0.2.1", ttl_s=5),)))
    assert (ENDPOINT, "A", 5, ("192.0.2.1", "192.0.2.2")) in twin_content(state)


def test_a_name_outside_the_zone_is_notzone_in_either_section() -> None:
    for transaction in (
        Transaction(ZONE, (), (add(OUTSIDE, RecordType.A, "192.0.2.1"),)),
        Transaction(ZONE, (RRsetEquals(OUTSIDE, RecordType.A, ("192.0.2.1",)),), ()),
    ):
        assert step(twin(), transaction)[1] is Rcode.NOTZONE


def test_a_set_that_is_deleted_and_added_in_one_message_ends_as_added() -> None:
    state = twin(RRset.of(ENDPOINT, RecordType.A, 60, "192.0.2.1", "192.0.2.2"))
    swap = (DeleteRRset(ENDPOINT, RecordType.A), add(ENDPOINT, RecordType.A, "192.0.2.3", "192.0.2.4"))
    state, _ = step(state, Transaction(ZONE, (), swap))
    assert state.texts(ENDPOINT, "A") == ("192.0.2.3", "192.0.2.4")
    state, _ = step(
        state, Transaction(ZONE, (), (*swap, DeleteName(ENDPOINT), add(ENDPOINT, RecordType.A, "192.0.2.9")))
    )
    assert state.texts(ENDPOINT, "A") == ("192.0.2.9",)


def test_the_twin_answers_as_a_resolver_sees_it() -> None:
    node = f"g1._tree.{ENDPOINT}"
    state = twin(RRset.of(ENDPOINT, RecordType.CNAME, 5, node), RRset.of(node, RecordType.A, 5, "192.0.2.1"))
    _, answered = step(state, Query(ENDPOINT, "A"))
    assert [rrset.name for rrset in answered.rrsets] == [ENDPOINT, node]
    assert step(state, Query(f"_tree.{ENDPOINT}", "A"))[1].rcode is Rcode.NOERROR  # an empty non-terminal
    assert step(state, Query(f"nowhere.{ZONE}", "A"))[1].rcode is Rcode.NXDOMAIN

"""The server's own guard: no writer, whoever it is, leaves a fenced endpoint without an address."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evenkeel.model.records import Rcode, RecordType, RRset
from evenkeel.model.transactions import AddRRs, DeleteName, DeleteRRs, DeleteRRset, RRsetEquals, Transaction
from evenkeel.twins.zone import Query, ZoneState, step
from tests.nameserver.strategies import ENDPOINT, ZONE, transactions
from tests.nameserver.zones import twin

FENCE = "_fence." + ENDPOINT
TEXT = "g=1;w=enactor-a;n=x1"
NODE = f"g1._tree.{ENDPOINT}"

flat = (
    RRset.of(ENDPOINT, RecordType.A, 60, "192.0.2.1", "192.0.2.2"),
    RRset.of(FENCE, RecordType.TXT, 1, TEXT),
)
tree = (
    RRset.of(ENDPOINT, RecordType.CNAME, 60, NODE),
    RRset.of(NODE, RecordType.A, 60, "192.0.2.1"),
    RRset.of(FENCE, RecordType.TXT, 1, TEXT),
)


def verdict(state: ZoneState, *changes: AddRRs | DeleteName | DeleteRRset | DeleteRRs) -> Rcode:
    return step(state, Transaction(ZONE, (), changes))[1]


def resolves(state: ZoneState, name: str) -> bool:
    return any(
        rrset.type in (RecordType.A, RecordType.AAAA)
        for type_ in ("A", "AAAA")
        for rrset in step(state, Query(name, type_))[1].rrsets
    )


@given(st.sampled_from((flat, tree)), st.lists(transactions(requires_max=0), max_size=10))
def test_a_fenced_endpoint_that_resolves_goes_on_resolving(start: tuple[RRset, ...], batch: list[Transaction]) -> None:
    state = twin(*start, guarded=True)
    for transaction in batch:
        before = state
        state, _ = step(state, transaction)
        leads_out = any(text.endswith("other.example.") for text in _chain(state))
        delegated = any(state.cut_above(name) for name in (ENDPOINT, NODE, *_chain(state)) if state.contains(name))
        if resolves(before, ENDPOINT) and state.texts(FENCE, "TXT") and not leads_out and not delegated:
            assert resolves(state, ENDPOINT)


def _chain(state: ZoneState) -> list[str]:
    chain = [ENDPOINT]
    while len(chain) < 20 and (target := state.texts(chain[-1], "CNAME")):
        chain += target
    return chain


def test_the_last_address_stays_in_every_form_of_deletion() -> None:
    state = twin(*flat, guarded=True)
    both = DeleteRRs(ENDPOINT, RecordType.A, ("192.0.2.1", "192.0.2.2"))
    for change in (DeleteRRset(ENDPOINT, RecordType.A), DeleteName(ENDPOINT), both):
        assert verdict(state, change) is Rcode.REFUSED
    assert verdict(state, DeleteRRs(ENDPOINT, RecordType.A, ("192.0.2.1",))) is Rcode.NOERROR


def test_the_node_that_an_endpoint_leads_to_stays() -> None:
    state = twin(*tree, guarded=True)
    assert verdict(state, DeleteName(NODE)) is Rcode.REFUSED
    assert verdict(state, DeleteRRset(ENDPOINT, RecordType.CNAME)) is Rcode.REFUSED


def test_an_endpoint_cannot_be_pointed_at_nothing() -> None:
    away = AddRRs(RRset.of(ENDPOINT, RecordType.CNAME, 60, f"g9._tree.{ENDPOINT}"))
    assert verdict(twin(*tree, guarded=True), away) is Rcode.REFUSED


def test_a_fence_is_not_set_beside_nothing() -> None:
    fence = AddRRs(RRset.of(FENCE, RecordType.TXT, 1, TEXT))
    assert verdict(twin(guarded=True), fence) is Rcode.REFUSED
    assert verdict(twin(guarded=True), fence, AddRRs(flat[0])) is Rcode.NOERROR


def test_a_swap_within_one_transaction_passes() -> None:
    new = AddRRs(RRset.of(ENDPOINT, RecordType.A, 60, "192.0.2.9"))
    assert verdict(twin(*flat, guarded=True), DeleteRRset(ENDPOINT, RecordType.A), new) is Rcode.NOERROR


def test_removal_for_good_names_the_fence_that_it_removes() -> None:
    state = twin(*flat, guarded=True)
    gone = (DeleteName(ENDPOINT), DeleteName(FENCE))
    assert step(state, Transaction(ZONE, (), gone))[1] is Rcode.REFUSED
    named = RRsetEquals(FENCE, RecordType.TXT, (TEXT,))
    state, rcode = step(state, Transaction(ZONE, (named,), gone))
    assert rcode is Rcode.NOERROR
    assert not resolves(state, ENDPOINT)


def test_names_without_a_fence_are_nobody_s_business() -> None:
    assert verdict(twin(flat[0], guarded=True), DeleteName(ENDPOINT)) is Rcode.NOERROR


def test_october_2025_s_zone_has_no_guard() -> None:
    assert verdict(twin(*tree, guarded=False), DeleteName(NODE)) is Rcode.NOERROR

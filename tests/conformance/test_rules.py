"""Prerequisites and changes, each form and its response code (RFC 2136 sections 2.4, 2.5, 3.2 and 3.4)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from evenkeel.model.records import Rcode, RecordType, RRset
from evenkeel.model.transactions import (
    AddRRs,
    Change,
    DeleteName,
    DeleteRRs,
    DeleteRRset,
    NameInUse,
    NameNotInUse,
    Prerequisite,
    RRsetAbsent,
    RRsetEquals,
    RRsetExists,
    Transaction,
)
from tests.conformance.arms import Arm
from tests.servers import ZONE

A, AAAA, CNAME, TXT, SRV = RecordType.A, RecordType.AAAA, RecordType.CNAME, RecordType.TXT, RecordType.SRV
FENCE = "g=1;w=enactor-a;n=0"


def add(name: str, rtype: RecordType, *texts: str, ttl_s: int = 60) -> AddRRs:
    return AddRRs(RRset.of(name, rtype, ttl_s, *texts))


def given(arm: Arm, *changes: Change) -> None:
    assert arm.apply(Transaction(ZONE, (), changes)) is Rcode.NOERROR


def texts(arm: Arm, name: str, rtype: RecordType) -> set[str]:
    return {text for owner, type_, text in arm.content() if owner == name and type_ == rtype}


# Each: what stands, what is required, the verdict. The name stands for itself and its fence.
REQUIREMENTS: list[tuple[str, Callable[[str], Prerequisite], Rcode]] = [
    ("name in use", NameInUse, Rcode.NOERROR),
    ("name in use, of nothing", lambda n: NameInUse("absent." + n), Rcode.NXDOMAIN),
    ("name not in use", NameNotInUse, Rcode.YXDOMAIN),
    ("name not in use, of nothing", lambda n: NameNotInUse("absent." + n), Rcode.NOERROR),
    ("set exists", lambda n: RRsetExists(n, A), Rcode.NOERROR),
    ("set exists, of another type", lambda n: RRsetExists(n, AAAA), Rcode.NXRRSET),
    ("set exists, at no name", lambda n: RRsetExists("absent." + n, A), Rcode.NXRRSET),
    ("set absent", lambda n: RRsetAbsent(n, AAAA), Rcode.NOERROR),
    ("set absent, but it stands", lambda n: RRsetAbsent(n, A), Rcode.YXRRSET),
    ("set absent, at no name", lambda n: RRsetAbsent("absent." + n, A), Rcode.NOERROR),
    ("set equals", lambda n: RRsetEquals(n, A, ("192.0.2.1", "192.0.2.2")), Rcode.NOERROR),
    ("set equals, in another order", lambda n: RRsetEquals(n, A, ("192.0.2.2", "192.0.2.1")), Rcode.NOERROR),
    ("set equals, but is larger", lambda n: RRsetEquals(n, A, ("192.0.2.1",)), Rcode.NXRRSET),
    (
        "set equals, but is smaller",
        lambda n: RRsetEquals(n, A, ("192.0.2.1", "192.0.2.2", "192.0.2.3")),
        Rcode.NXRRSET,
    ),
    ("set equals, but differs", lambda n: RRsetEquals(n, A, ("192.0.2.1", "192.0.2.9")), Rcode.NXRRSET),
    ("set equals, at no name", lambda n: RRsetEquals("absent." + n, A, ("192.0.2.1",)), Rcode.NXRRSET),
    ("set equals nothing", lambda n: RRsetEquals("absent." + n, A, ()), Rcode.NOERROR),
    ("set equals nothing, but stands", lambda n: RRsetEquals(n, A, ()), Rcode.YXRRSET),
    ("text equals", lambda n: RRsetEquals("_fence." + n, TXT, (FENCE,)), Rcode.NOERROR),
    (
        "text equals, but for its last octet",
        lambda n: RRsetEquals("_fence." + n, TXT, (FENCE[:-1] + "1",)),
        Rcode.NXRRSET,
    ),
    ("alias equals", lambda n: RRsetEquals("alias." + n, CNAME, (n,)), Rcode.NOERROR),
    ("alias equals another", lambda n: RRsetEquals("alias." + n, CNAME, ("other." + n,)), Rcode.NXRRSET),
    ("an alias is not what it leads to", lambda n: RRsetExists("alias." + n, A), Rcode.NXRRSET),
]


@pytest.mark.parametrize(("requirement", "verdict"), [r[1:] for r in REQUIREMENTS], ids=[r[0] for r in REQUIREMENTS])
def test_a_change_is_made_only_where_its_prerequisite_holds(
    arm: Arm, name: str, requirement: Callable[[str], Prerequisite], verdict: Rcode
) -> None:
    given(
        arm,
        add(name, A, "192.0.2.1", "192.0.2.2"),
        add("_fence." + name, TXT, FENCE, ttl_s=1),
        add("alias." + name, CNAME, name),
    )
    change = add("made." + name, TXT, "yes")
    assert arm.apply(Transaction(ZONE, (requirement(name),), (change,))) is verdict
    assert texts(arm, "made." + name, TXT) == ({"yes"} if verdict is Rcode.NOERROR else set())


def test_ttls_play_no_part_in_a_prerequisite(arm: Arm, name: str) -> None:
    given(arm, add(name, A, "192.0.2.1", ttl_s=3600))
    same = Transaction(ZONE, (RRsetEquals(name, A, ("192.0.2.1",)),), (add(name, TXT, "x"),))
    assert arm.apply(same) is Rcode.NOERROR


def test_one_failing_prerequisite_of_many_stops_every_change(arm: Arm, name: str) -> None:
    given(arm, add(name, A, "192.0.2.1"))
    before = arm.content()
    requires = (NameInUse(name), RRsetEquals(name, A, ("192.0.2.1",)), RRsetExists(name, TXT))
    changes = (DeleteName(name), add(name, AAAA, "2001:db8::1"))
    assert arm.apply(Transaction(ZONE, requires, changes)) is Rcode.NXRRSET
    assert arm.content() == before


def test_a_transaction_without_changes_tells_whether_its_prerequisites_hold(arm: Arm, name: str) -> None:
    assert arm.apply(Transaction(ZONE, (NameNotInUse(name),), ())) is Rcode.NOERROR
    assert arm.apply(Transaction(ZONE, (NameInUse(name),), ())) is Rcode.NXDOMAIN


# --- changes --------------------------------------------------------------------------------------------


def test_records_are_added_to_those_that_stand(arm: Arm, name: str) -> None:
    given(arm, add(name, A, "192.0.2.1"))
    given(arm, add(name, A, "192.0.2.2", "192.0.2.1"))
    assert texts(arm, name, A) == {"192.0.2.1", "192.0.2.2"}


def test_deleting_a_set_leaves_the_other_types(arm: Arm, name: str) -> None:
    given(arm, add(name, A, "192.0.2.1", "192.0.2.2"), add(name, AAAA, "2001:db8::1"))
    given(arm, DeleteRRset(name, A))
    assert texts(arm, name, A) == set()
    assert texts(arm, name, AAAA) == {"2001:db8::1"}


def test_deleting_a_name_leaves_its_neighbours(arm: Arm, name: str) -> None:
    given(arm, add(name, A, "192.0.2.1"), add(name, TXT, "x"), add("under." + name, A, "192.0.2.2"))
    given(arm, DeleteName(name))
    assert texts(arm, name, A) == texts(arm, name, TXT) == set()
    assert texts(arm, "under." + name, A) == {"192.0.2.2"}


def test_deleting_records_leaves_the_rest_of_the_set(arm: Arm, name: str) -> None:
    given(arm, add(name, A, "192.0.2.1", "192.0.2.2", "192.0.2.3"))
    given(arm, DeleteRRs(name, A, ("192.0.2.1", "192.0.2.3", "192.0.2.9")))
    assert texts(arm, name, A) == {"192.0.2.2"}


@pytest.mark.parametrize("change", [DeleteRRset("no.such." + ZONE, A), DeleteName("no.such." + ZONE)])
def test_deleting_what_is_not_there_is_no_error_and_no_change(arm: Arm, change: Change) -> None:
    serial = arm.serial()
    given(arm, change)
    assert arm.serial() == serial


def test_changes_are_made_in_order(arm: Arm, name: str) -> None:
    given(arm, add(name, A, "192.0.2.1"), DeleteRRset(name, A), add(name, A, "192.0.2.2"))
    assert texts(arm, name, A) == {"192.0.2.2"}


def test_a_set_is_replaced_within_one_transaction(arm: Arm, name: str) -> None:
    given(arm, add(name, A, "192.0.2.1"), add("_fence." + name, TXT, FENCE))
    new = FENCE.replace("g=1", "g=2")
    replaced = Transaction(
        ZONE,
        (RRsetEquals("_fence." + name, TXT, (FENCE,)), RRsetEquals(name, A, ("192.0.2.1",))),
        (
            DeleteRRset(name, A),
            add(name, A, "192.0.2.7", "192.0.2.8"),
            DeleteRRset("_fence." + name, TXT),
            add("_fence." + name, TXT, new),
        ),
    )
    assert arm.apply(replaced) is Rcode.NOERROR
    assert texts(arm, name, A) == {"192.0.2.7", "192.0.2.8"}
    assert texts(arm, "_fence." + name, TXT) == {new}
    assert arm.apply(replaced) is Rcode.NXRRSET


def test_a_set_that_comes_again_with_another_ttl_takes_that_ttl_and_stays_one_set(arm: Arm, name: str) -> None:
    given(arm, add(name, A, "192.0.2.1", ttl_s=60))
    given(arm, add(name, A, "192.0.2.1", ttl_s=30))
    assert texts(arm, name, A) == {"192.0.2.1"}


@pytest.mark.parametrize(
    ("rtype", "text"),
    [
        (AAAA, "2001:db8::1"),
        (TXT, "a=3,1;aaaa=2,2"),
        (TXT, 'quotes " and \\ backslashes; semicolons'),
        (TXT, "x" * 255),
        (SRV, "0 5 443 host." + ZONE),
        (CNAME, "host." + ZONE),
    ],
)
def test_every_type_arrives_as_it_was_sent(arm: Arm, name: str, rtype: RecordType, text: str) -> None:
    given(arm, add(name, rtype, text))
    assert texts(arm, name, rtype) == {text}
    assert arm.apply(Transaction(ZONE, (RRsetEquals(name, rtype, (text,)),), ())) is Rcode.NOERROR


def test_addresses_may_stand_under_names_with_underscores(arm: Arm, name: str) -> None:
    node = "g146._tree." + name
    given(arm, add(node, A, "192.0.2.1"), add("_weights." + node, TXT, "a=1"), add("_rollback." + name, A, "192.0.2.9"))
    assert texts(arm, node, A) == {"192.0.2.1"}


def test_the_serial_grows_with_every_change_and_only_then(arm: Arm, name: str) -> None:
    before = arm.serial()
    given(arm, add(name, A, "192.0.2.1"))
    changed = arm.serial()
    assert changed > before
    assert arm.apply(Transaction(ZONE, (RRsetAbsent(name, A),), (DeleteName(name),))) is Rcode.YXRRSET
    assert arm.serial() == changed


def test_names_outside_the_zone_are_refused(arm: Arm) -> None:
    foreign = "elsewhere.test."
    assert arm.apply(Transaction(ZONE, (), (add(foreign, A, "192.0.2.1"),))) is Rcode.NOTZONE
    assert arm.apply(Transaction(ZONE, (NameInUse(foreign),), ())) is Rcode.NOTZONE


def test_the_zone_keeps_its_soa_and_a_nameserver_whatever_is_deleted_at_its_name(arm: Arm) -> None:
    serial = arm.serial()
    given(arm, DeleteRRset(ZONE, RecordType.SOA), DeleteRRset(ZONE, RecordType.NS), DeleteName(ZONE))
    assert arm.serial() >= serial
    assert texts(arm, ZONE, RecordType.NS) == {"ns1." + ZONE}


# --- aliases ----------------------------------------------------------------------------------------------


def test_an_alias_added_over_addresses_is_skipped_while_the_rest_is_applied(arm: Arm, name: str) -> None:
    # The trap that layouts have to avoid (RFC 2136 section 3.4.2.2): NOERROR, and a fence that speaks of an
    # answer which is not there.
    given(arm, add(name, A, "192.0.2.1"))
    given(arm, add(name, CNAME, "host." + ZONE), add("_fence." + name, TXT, FENCE))
    assert texts(arm, name, CNAME) == set()
    assert texts(arm, name, A) == {"192.0.2.1"}
    assert texts(arm, "_fence." + name, TXT) == {FENCE}


def test_addresses_added_over_an_alias_are_skipped(arm: Arm, name: str) -> None:
    given(arm, add(name, CNAME, "host." + ZONE))
    given(arm, add(name, A, "192.0.2.1"))
    assert texts(arm, name, A) == set()
    assert texts(arm, name, CNAME) == {"host." + ZONE}


def test_an_alias_takes_the_place_of_addresses_that_go_in_the_same_transaction(arm: Arm, name: str) -> None:
    given(arm, add(name, A, "192.0.2.1"))
    given(arm, DeleteRRset(name, A), add(name, CNAME, "g1._tree." + name))
    assert texts(arm, name, A) == set()
    assert texts(arm, name, CNAME) == {"g1._tree." + name}
    given(arm, DeleteRRset(name, CNAME), add(name, A, "192.0.2.2"))
    assert texts(arm, name, CNAME) == set()
    assert texts(arm, name, A) == {"192.0.2.2"}


def test_an_alias_replaces_an_alias(arm: Arm, name: str) -> None:
    given(arm, add(name, CNAME, "one." + ZONE))
    given(arm, add(name, CNAME, "two." + ZONE))
    assert texts(arm, name, CNAME) == {"two." + ZONE}

"""The view against a zone that others write too: whatever overlaps, it shows no endpoint as it never stood."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from evenkeel.adapters.dns.held import Owner, owner
from evenkeel.adapters.dns.view import Stage, ZoneView
from evenkeel.model.records import RecordType, RRset
from evenkeel.model.transactions import (
    AddRRs,
    Change,
    DeleteName,
    DeleteRRs,
    DeleteRRset,
    RRsetAbsent,
    RRsetEquals,
    RRsetExists,
    Transaction,
)
from evenkeel.ports.zone import Reading
from tests.dns.transactions import addresses, endpoint, flip
from tests.servers import ZONE

Sets = dict[tuple[str, str], frozenset[str]]


@dataclass
class Server:
    """A zone and its history, one version a transaction."""

    sets: Sets = field(default_factory=dict)
    versions: list[Sets] = field(default_factory=lambda: [{}])

    def apply(self, transaction: Transaction) -> None:
        sets = dict(self.sets)
        for change in transaction.changes:
            self._change(sets, change)
        self.sets = {key: texts for key, texts in sets.items() if texts}
        self.versions.append(self.sets)

    @staticmethod
    def _change(sets: Sets, change: Change) -> None:
        match change:
            case AddRRs(rrset):
                key = (rrset.name, str(rrset.type))
                sets[key] = sets.get(key, frozenset()) | set(rrset.rdatas)
            case DeleteRRset(name, rtype):
                sets.pop((name, str(rtype)), None)
            case DeleteRRs(name, rtype, rdatas):
                sets[name, str(rtype)] = sets.get((name, str(rtype)), frozenset()) - set(rdatas)
            case DeleteName(name):
                for key in [key for key in sets if key[0] == name]:
                    del sets[key]

    @property
    def serial(self) -> int:
        return len(self.versions) - 1

    def reading(self, number: int) -> Reading:
        def texts(name: str, rtype: str) -> tuple[str, ...]:
            return tuple(sorted(self.sets.get((name, rtype), ())))

        return Reading(fences=texts("_fence." + endpoint(number), "TXT"), a=texts(endpoint(number), "A"))

    def transfer(self, stage: Stage, since: int) -> None:
        """Differences, version by version, as IXFR tells them; the whole zone from -1."""
        steps = [(self.versions[n], self.versions[n + 1]) for n in range(since, self.serial)] if since >= 0 else []
        for old, new in steps or [({}, self.sets)]:
            if since >= 0 and not steps:
                return
            for added, here, there in ((False, old, new), (True, new, old)):
                for (name, rtype), texts in here.items():
                    for text in texts - there.get((name, rtype), frozenset()):
                        stage.record(added, name, rtype, text)


def rrset(view: ZoneView, name: str, rtype: RecordType) -> tuple[str, ...]:
    texts = view.rrset(name, rtype)
    assert texts is not None
    return texts


def matches(view: ZoneView, sets: Sets, number: int) -> bool:
    name = endpoint(number)
    reading = view.reading(name)
    fences = tuple(sorted(sets.get(("_fence." + name, "TXT"), ())))
    return reading.a == tuple(sorted(sets.get((name, "A"), ()))) and reading.fences == fences


ENDPOINTS = 3
operations = st.lists(
    st.tuples(
        st.sampled_from(["own", "foreign", "acknowledge", "ask", "answer", "take"]), st.integers(0, ENDPOINTS - 1)
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=300)
@given(operations)
def test_the_view_shows_each_endpoint_as_it_stood_at_some_moment_and_after_quiet_as_it_stands(
    drawn: list[tuple[str, int]],
) -> None:
    server, view = Server(), ZoneView(ZONE)
    unacknowledged: list[Transaction] = []
    asked: tuple[Stage, int] | None = None  # a transfer on its way, and the serial it was asked from
    answered: tuple[Stage, int] | None = None  # its content, fixed when the server answered
    for generation, (what, number) in enumerate(drawn, 1):
        if what in ("own", "foreign"):
            transaction = flip(number, generation, server.reading(number))
            server.apply(transaction)  # both sides write on condition of what stands
            if what == "own":
                unacknowledged.append(transaction)
        elif what == "acknowledge" and unacknowledged:
            view.applied(unacknowledged.pop(0))
        elif what == "ask" and asked is None and answered is None:
            asked = (view.stage(whole=view.serial < 0), view.serial)
        elif what == "answer" and asked is not None:
            server.transfer(asked[0], asked[1])
            answered, asked = (asked[0], server.serial), None
        elif what == "take" and answered is not None:
            answered[0].finish(answered[1])
            answered = None
        for each in range(ENDPOINTS):
            assert any(matches(view, sets, each) for sets in server.versions), (drawn, each)
    for transaction in unacknowledged:
        view.applied(transaction)
    quiet = view.stage(whole=view.serial < 0)
    server.transfer(quiet, view.serial)
    quiet.finish(server.serial)
    assert all(matches(view, server.sets, each) for each in range(ENDPOINTS))


def test_a_transfer_asked_for_before_an_acknowledgement_does_not_undo_it() -> None:
    server, view = Server(), ZoneView(ZONE)
    early = view.stage(whole=True)
    server.transfer(early, -1)
    server.apply(flip(1, 1))
    view.applied(flip(1, 1))
    early.finish(0)
    assert view.reading(endpoint(1)).a == addresses(1, 1)


def test_a_foreign_change_that_overtook_our_own_shows_after_the_next_transfer() -> None:
    server, view = Server(), ZoneView(ZONE)
    server.apply(flip(1, 1))
    server.apply(flip(1, 2, server.reading(1), writer="foreign"))
    view.applied(flip(1, 1))
    stage = view.stage(whole=True)
    server.transfer(stage, -1)
    stage.finish(server.serial)
    assert view.reading(endpoint(1)).fences == ("g=2;w=foreign;n=foreign2x1",)


def test_an_acknowledgement_that_a_transfer_has_overtaken_mixes_nothing() -> None:
    """The transfer shows the foreign answer that followed on ours; ours is then no addition to it."""
    server, view = Server(), ZoneView(ZONE)
    stage = view.stage(whole=True)
    server.apply(flip(1, 1))
    server.apply(flip(1, 2, server.reading(1), writer="foreign"))
    server.transfer(stage, -1)
    stage.finish(server.serial)
    view.applied(flip(1, 1))
    assert view.reading(endpoint(1)).a in (addresses(1, 1), addresses(1, 2))


def test_a_tree_loses_a_node_with_its_last_record() -> None:
    view = ZoneView(ZONE)
    node = f"g7._tree.{endpoint(1)}"
    view.applied(Transaction(ZONE, (), (AddRRs(RRset.of(node, RecordType.A, 1, "192.0.2.1", "192.0.2.2")),)))
    assert view.nodes(endpoint(1)) == [node]
    view.applied(Transaction(ZONE, (), (DeleteRRs(node, RecordType.A, ("192.0.2.1",)),)))
    assert view.node(node).a == ("192.0.2.2",)
    view.applied(Transaction(ZONE, (), (DeleteName(node), DeleteName("_weights." + node))))
    assert view.nodes(endpoint(1)) == []
    stage = view.stage(whole=False)
    stage.finish(1)
    assert view.reading(endpoint(1)) == Reading()
    assert list(view.endpoints()) == []


def test_prerequisites_are_judged_as_far_as_the_view_can_see() -> None:
    view = ZoneView(ZONE)
    view.applied(flip(1, 1))
    name, fence = endpoint(1), "_fence." + endpoint(1)
    assert view.holds(RRsetEquals(name, RecordType.A, addresses(1, 1)[::-1]))
    assert not view.holds(RRsetEquals(name, RecordType.A, addresses(1, 2)))
    assert not view.holds(RRsetAbsent(fence, RecordType.TXT))
    assert view.holds(RRsetExists(fence, RecordType.TXT))
    assert view.holds(RRsetExists(name, RecordType.SRV))  # not kept, so not to blame
    assert rrset(view, name, RecordType.A) == addresses(1, 1)


def test_every_name_of_a_layout_belongs_to_its_endpoint() -> None:
    assert owner("db.demo.example.") == Owner("db.demo.example.", "", "")
    for control in ("_fence", "_lock", "_rollback", "_freeze"):
        assert owner(f"{control}.db.demo.example.") == Owner("db.demo.example.", "", control)
    assert owner("g9._tree.db.demo.example.") == Owner("db.demo.example.", "g9", "")
    assert owner("_weights.g9._tree.db.demo.example.") == Owner("db.demo.example.", "g9", "_weights")
    assert owner("_weights.db.demo.example.") == Owner("db.demo.example.", "", "_weights")
    assert owner("_weights._rollback.db.demo.example.") == Owner("db.demo.example.", "", "_weights_rollback")
    assert owner(".") == Owner(".", "", "")


def test_listeners_hear_of_foreign_changes_and_not_of_their_own() -> None:
    server, view = Server(), ZoneView(ZONE)
    heard: list[list[str] | None] = []
    view.on_touched = heard.append
    stage = view.stage(whole=True)
    server.transfer(stage, -1)
    stage.finish(0)
    assert heard.pop() is None
    server.apply(flip(1, 1))
    view.applied(flip(1, 1))
    server.apply(flip(2, 1))
    stage = view.stage(whole=False)
    server.transfer(stage, 0)
    stage.finish(server.serial)
    assert heard == [[endpoint(2)]]


def test_ten_thousand_endpoints_fit_into_a_few_megabytes() -> None:
    """An Enactor's whole process has 60 MB at that size: plan, interpreter and modules included."""
    tracemalloc.start()
    try:
        view = ZoneView(ZONE)
        stage = view.stage(whole=True)
        for number in range(10_000):
            name = f"e{number}.{ZONE}"
            stage.record(True, "_fence." + name, "TXT", f"g=146;w=enactor-b;n=0123456789abcdef{number:x}")
            stage.record(True, name, "CNAME", f"g146._tree.{name}")
            stage.record(True, "_rollback." + name, "CNAME", f"g145._tree.{name}")
            for generation in range(143, 147):
                for address in range(4):
                    stage.record(True, f"g{generation}._tree.{name}", "A", f"10.0.{number % 100}.{address}")
        stage.finish(1)
        used_mb = tracemalloc.get_traced_memory()[0] / 1e6
    finally:
        tracemalloc.stop()
    assert len(view.nodes(f"e7.{ZONE}")) == 4
    assert used_mb < 22, f"{used_mb:.1f} MB"

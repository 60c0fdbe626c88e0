"""Transactions and questions on a handful of names, so that they meet."""

from __future__ import annotations

from hypothesis import strategies as st

from evenkeel.model.records import RecordType, RRset
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

ZONE = "demo.example."
ENDPOINT = "db." + ZONE
NAMES = (
    ZONE,
    ENDPOINT,
    f"g1._tree.{ENDPOINT}",
    f"g2._tree.{ENDPOINT}",
    f"_fence.{ENDPOINT}",
    f"_weights.{ENDPOINT}",
    f"_weights.g1._tree.{ENDPOINT}",
    f"_rollback.{ENDPOINT}",
    f"www.{ZONE}",
    f"sub.{ZONE}",
    f"host.sub.{ZONE}",
)
OUTSIDE = "db.other.example."
RDATAS: dict[RecordType, tuple[str, ...]] = {
    RecordType.A: ("192.0.2.1", "192.0.2.2", "192.0.2.3"),
    RecordType.AAAA: ("2001:db8::1", "2001:db8::2"),
    RecordType.CNAME: (ENDPOINT, f"g1._tree.{ENDPOINT}", f"g2._tree.{ENDPOINT}", f"www.{ZONE}", OUTSIDE),
    RecordType.TXT: ("g=1;w=enactor-a;n=x1", "g=2;w=enactor-b;n=x2", "a=3,1", "a=1,2,3;aaaa=2,1"),
    RecordType.NS: (f"ns1.{ZONE}", f"host.sub.{ZONE}", "ns.other.example."),
    RecordType.SRV: (f"0 5 443 {ENDPOINT}", f"1 5 443 www.{ZONE}"),
}

names = st.one_of(st.sampled_from(NAMES), st.sampled_from(NAMES), st.sampled_from(NAMES), st.just(OUTSIDE))
types = st.sampled_from(tuple(RDATAS))


@st.composite
def rrsets(draw: st.DrawFn) -> RRset:
    type_ = draw(types)
    rdatas = draw(st.lists(st.sampled_from(RDATAS[type_]), min_size=1, max_size=3, unique=True))
    return RRset.of(draw(names), type_, draw(st.sampled_from((5, 60))), *rdatas)


@st.composite
def prerequisites(draw: st.DrawFn) -> Prerequisite:
    rrset = draw(rrsets())
    form = draw(st.sampled_from((NameInUse, NameNotInUse, RRsetExists, RRsetAbsent, RRsetEquals)))
    if form is RRsetEquals:
        return RRsetEquals(rrset.name, rrset.type, rrset.rdatas)
    if form is RRsetExists or form is RRsetAbsent:
        return form(rrset.name, rrset.type)
    return NameInUse(rrset.name) if form is NameInUse else NameNotInUse(rrset.name)


@st.composite
def changes(draw: st.DrawFn) -> Change:
    rrset = draw(rrsets())
    form = draw(st.sampled_from((AddRRs, AddRRs, AddRRs, DeleteRRset, DeleteName, DeleteRRs)))
    if form is AddRRs:
        return AddRRs(rrset)
    if form is DeleteRRset:
        return DeleteRRset(rrset.name, rrset.type)
    return DeleteName(rrset.name) if form is DeleteName else DeleteRRs(rrset.name, rrset.type, rrset.rdatas)


@st.composite
def transactions(draw: st.DrawFn, requires_max: int = 2) -> Transaction:
    requires = draw(st.lists(prerequisites(), max_size=requires_max))
    return Transaction(ZONE, tuple(requires), tuple(draw(st.lists(changes(), max_size=5))))

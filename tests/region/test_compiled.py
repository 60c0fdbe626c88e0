"""The compiled region: what processes start from."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evenkeel.model.errors import InputError
from evenkeel.model.health import Probe, ProbeKind
from evenkeel.model.plan import Layout
from evenkeel.model.policy import DnsPolicy
from evenkeel.model.region import (
    Endpoint,
    EndpointKind,
    HostPort,
    LoadBalancer,
    PlannerSettings,
    Region,
    ServerKind,
    Zone,
)
from evenkeel.region.compiled import FORM, dump_compiled, load_compiled

TEXTS = st.text(max_size=12)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
HOSTS = st.builds(HostPort, TEXTS, st.integers(1, 65535))
PROBES = st.builds(Probe, kind=st.sampled_from(ProbeKind), port=st.integers(1, 65535), path=TEXTS, interval_s=NUMBERS)


def keyed(values: st.SearchStrategy[Zone | LoadBalancer | Endpoint]) -> st.SearchStrategy[dict[str, object]]:
    return st.lists(values, max_size=6).map(lambda items: {item.name: item for item in items})


REGIONS = st.builds(
    Region,
    name=TEXTS,
    azs=st.lists(TEXTS, max_size=3).map(tuple),
    zones=keyed(st.builds(Zone, TEXTS, st.sampled_from(ServerKind), HOSTS, st.lists(HOSTS, max_size=2).map(tuple))),
    load_balancers=keyed(st.builds(LoadBalancer, TEXTS, TEXTS, probe=PROBES, capacity=NUMBERS)),
    endpoints=keyed(
        st.builds(
            Endpoint,
            TEXTS,
            TEXTS,
            st.sampled_from(Layout),
            st.lists(TEXTS, max_size=3).map(tuple),
            kind=st.sampled_from(EndpointKind),
            demand=NUMBERS,
        )
    ),
    policy=st.builds(DnsPolicy),
    planner=st.builds(PlannerSettings),
    plan_store=HOSTS,
    health_intake=st.lists(HOSTS, max_size=2).map(tuple),
    metrics_host=TEXTS,
    metrics_port_base=st.integers(0, 65535),
    planners=st.integers(0, 9),
    enactors=st.integers(0, 9),
    audit_every_s=NUMBERS,
    state_dir=TEXTS,
)
SMALLEST = Region(
    "r", ("a",), {}, {}, {}, DnsPolicy(), PlannerSettings(), HostPort("h", 1), (), "h", 0, 1, 1, 5.0, "/state"
)


@given(REGIONS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_what_is_loaded_is_what_was_dumped(tmp_path: Path, region: Region) -> None:
    dump_compiled(region, tmp_path / "region")
    loaded = load_compiled(tmp_path / "region")
    assert loaded == region
    assert list(loaded.endpoints) == list(region.endpoints)


def test_endpoints_of_one_template_share_their_pool_in_the_file_and_in_memory(tmp_path: Path) -> None:
    pool = tuple(f"load-balancer-{number}" for number in range(200))
    names = [f"acct-{number}.example." for number in range(1000)]
    endpoints = {name: Endpoint(name, "example.", Layout.TREE, tuple(pool)) for name in names}
    dump_compiled(replace(SMALLEST, endpoints=endpoints), tmp_path / "region")
    assert (tmp_path / "region").stat().st_size < 40_000
    loaded = load_compiled(tmp_path / "region").endpoints
    assert loaded[names[0]].load_balancers is loaded[names[-1]].load_balancers


def test_a_dump_replaces_the_old_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    for _ in range(2):
        dump_compiled(SMALLEST, tmp_path / "region")
    assert [path.name for path in tmp_path.iterdir()] == ["region"]


def test_a_dump_that_fails_leaves_the_old_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dump_compiled(SMALLEST, tmp_path / "region")
    before = (tmp_path / "region").read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        dump_compiled(SMALLEST, tmp_path / "region")
    assert (tmp_path / "region").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["region"]


def test_a_file_that_cannot_be_used_is_refused_with_the_mend(tmp_path: Path) -> None:
    path = tmp_path / "region"
    dump_compiled(SMALLEST, path)
    whole = path.read_bytes()
    bodies = {
        "is not a compiled region": [b"", whole[:-1], b"\xff\xfe", msgspec.msgpack.encode({"a": 1})],
        "has the form 'evenkeel-region-0'": [msgspec.msgpack.encode(["evenkeel-region-0", 1, 2])],
        "Expected `str`": [msgspec.msgpack.encode([1])],
        "is not a compiled region: list index": [
            msgspec.msgpack.encode([FORM, msgspec.msgpack.decode(whole)[1], [], [("a", 7)]])
        ],
    }
    for what, faulty in bodies.items():
        for body in faulty:
            path.write_bytes(body)
            with pytest.raises(InputError, match="mend: write it anew") as caught:
                load_compiled(path)
            assert what in str(caught.value)


def test_a_missing_file_is_refused_with_the_mend(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"(?s)No such file.*mend: write it anew"):
        load_compiled(tmp_path / "gone")


def test_reading_it_needs_none_of_what_reading_the_file_needs() -> None:
    program = (
        "import sys, evenkeel.region.compiled\n"
        "print(sorted({'pydantic', 'typer', 'rich', 'numpy', 'sqlite3', 'tomllib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

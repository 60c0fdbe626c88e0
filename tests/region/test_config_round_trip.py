"""Whatever region is written down as a file comes back from it; and an odd file ends in a report, nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evenkeel.model.errors import InputError, Problem
from evenkeel.model.health import Probe, ProbeKind
from evenkeel.model.plan import Layout
from evenkeel.model.region import Endpoint, EndpointKind, LoadBalancer, Region
from evenkeel.region.compiled import dump_compiled, load_compiled
from evenkeel.region.config import load, schema
from tests.region.files import SMALL, loaded

IN_A_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80, deadline=None)
AZS = ("a", "b", "c")


@st.composite
def load_balancers(draw: st.DrawFn) -> dict[str, LoadBalancer]:
    count = draw(st.integers(1, 6))
    found = {}
    for number in range(count):
        interval_s = draw(st.sampled_from([1.0, 2.5, 5.0]))
        probe = Probe(
            kind=draw(st.sampled_from([ProbeKind.TCP, ProbeKind.HTTP, ProbeKind.HTTPS])),
            port=draw(st.integers(1, 65535)),
            path=draw(st.sampled_from(["/", "/health?deep=1"])),
            host=draw(st.sampled_from(["", "db.demo.example"])),
            interval_s=interval_s,
            timeout_s=draw(st.sampled_from([0.5, interval_s])),
            rise=draw(st.integers(1, 100)),
            fall=draw(st.integers(1, 100)),
            grace_s=draw(st.floats(0, 1000)),
            verify_tls=draw(st.booleans()),
        )
        ipv6 = draw(st.booleans())
        found[f"lb-{number}"] = LoadBalancer(
            name=f"lb-{number}",
            az=draw(st.sampled_from(AZS)),
            ipv4=(f"10.0.0.{number + 1}",) if not ipv6 or draw(st.booleans()) else (),
            ipv6=(f"2001:db8::{number + 1:x}",) if ipv6 else (),
            capacity=draw(st.floats(0.5, 1e9)),
            probe=probe,
            draining=draw(st.booleans()),
        )
    return found


@st.composite
def endpoints(draw: st.DrawFn, known: dict[str, LoadBalancer]) -> dict[str, Endpoint]:
    found = {}
    for label in draw(st.lists(st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True), max_size=6, unique=True)):
        pool = draw(st.lists(st.sampled_from(sorted(known)), min_size=1, unique=True))
        families = {family for family in ("ipv4", "ipv6") if any(getattr(known[name], family) for name in pool)}
        chosen = draw(st.sets(st.sampled_from(sorted(families)), min_size=1))
        usable = sum(any(getattr(known[name], family) for family in chosen) for name in pool)
        found[f"{label}.demo.example."] = Endpoint(
            name=f"{label}.demo.example.",
            zone="demo.example.",
            layout=draw(st.sampled_from(Layout)),
            load_balancers=tuple(pool),
            ttl_s=draw(st.integers(0, 86_400)),
            ipv4="ipv4" in chosen,
            ipv6="ipv6" in chosen,
            demand=draw(st.floats(0.001, 1e6)),
            members_min=draw(st.integers(1, usable)),
            members_max=draw(st.integers(usable, 12)),
            kind=draw(st.sampled_from([EndpointKind.PUBLIC, EndpointKind.ACCOUNT])),
        )
    return {name: endpoint for name, endpoint in found.items() if name != "ns1.demo.example."}


def written(balancers: dict[str, LoadBalancer], named: dict[str, Endpoint]) -> str:
    """The region as a file; JSON's literals are TOML's too."""
    lines = ['[region]\nname = "demo"\nazs = ["a", "b", "c"]\n[[zone]]\nname = "demo.example"']
    for each in balancers.values():
        probe = ", ".join(f"{key} = {json.dumps(value)}" for key, value in probe_keys(each.probe).items())
        lines.append(
            f'[[load-balancer]]\nname = "{each.name}"\naz = "{each.az}"\nipv4 = {json.dumps(each.ipv4)}\n'
            f"ipv6 = {json.dumps(each.ipv6)}\ncapacity = {each.capacity!r}\n"
            f"draining = {json.dumps(each.draining)}\nprobe = {{ {probe} }}"
        )
    for endpoint in named.values():
        families = [family for family in ("ipv4", "ipv6") if getattr(endpoint, family)]
        lines.append(
            f'[[endpoint]]\nname = "{endpoint.name}"\nlayout = "{endpoint.layout}"\nkind = "{endpoint.kind}"\n'
            f"load-balancers = {json.dumps(endpoint.load_balancers)}\nttl-s = {endpoint.ttl_s}\n"
            f"families = {json.dumps(families)}\ndemand = {endpoint.demand!r}\n"
            f"members-min = {endpoint.members_min}\nmembers-max = {endpoint.members_max}"
        )
    return "\n".join(lines) + "\n"


def probe_keys(probe: Probe) -> dict[str, object]:
    values: dict[str, object] = {
        "kind": probe.kind.value,
        "port": probe.port,
        "path": probe.path,
        "interval-s": probe.interval_s,
        "timeout-s": probe.timeout_s,
        "rise": probe.rise,
        "fall": probe.fall,
        "grace-s": probe.grace_s,
        "verify-tls": probe.verify_tls,
    }
    return values | ({"host": probe.host} if probe.host else {})


@given(st.data())
@IN_A_FOLDER
def test_a_region_that_is_written_down_comes_back(tmp_path: Path, data: st.DataObject) -> None:
    balancers = data.draw(load_balancers())
    named = data.draw(endpoints(balancers))
    if not named:
        return
    region: Region = loaded(tmp_path, written(balancers, named))
    assert region.load_balancers == balancers
    assert region.endpoints == named
    dump_compiled(region, tmp_path / "compiled")
    assert load_compiled(tmp_path / "compiled") == region


KEYS = sorted({key for table in schema()["$defs"].values() for key in table.get("properties", {})})
TABLES = sorted(schema()["properties"])
ODD: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([True, 0, -1, 1.5, 10**30, "", "x", "{n}", "::1", "db.demo.example", "edge", "a", "[", "\u0000"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=6,
)


def as_toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {as_toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    return json.dumps(value)


@given(
    st.lists(
        st.tuples(st.sampled_from(TABLES), st.booleans(), st.dictionaries(st.sampled_from(KEYS), ODD, max_size=4)),
        max_size=5,
    )
)
@IN_A_FOLDER
def test_a_file_of_known_keys_with_odd_values_ends_in_a_region_or_a_report(
    tmp_path: Path, tables: list[tuple[str, bool, dict[str, Any]]]
) -> None:
    text = SMALL + "".join(
        (f"[[{name}]]\n" if is_array else f"[{name}]\n")
        + "".join(f"{key} = {as_toml(value)}\n" for key, value in values.items())
        for name, is_array, values in tables
    )
    assert all(problem.what and problem.mend for problem in problems_of(tmp_path, text))


@given(st.text(max_size=200))
@IN_A_FOLDER
def test_any_text_at_all_ends_in_a_report(tmp_path: Path, text: str) -> None:
    assert problems_of(tmp_path, text)


def problems_of(folder: Path, text: str) -> tuple[Problem, ...]:
    """What is wrong with `text`; nothing where it makes a region."""
    path = folder / "region.toml"
    path.write_text(text, encoding="utf-8", newline="")
    try:
        load(path)
    except InputError as error:
        return error.problems
    return ()

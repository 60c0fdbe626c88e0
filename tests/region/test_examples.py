"""The examples and pages that people start from: they load, validate and do what they say; nothing drifts."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from evenkeel.model.health import Probe
from evenkeel.model.plan import Layout
from evenkeel.model.policy import DNS_PRESETS, DnsPolicy, DnsPreset
from evenkeel.model.region import EndpointKind, HostPort, PlannerSettings, Region
from evenkeel.region.components import components, front_ends
from evenkeel.region.config import load, schema, schema_text
from evenkeel.region.config.reference import with_tables
from evenkeel.region.config.shapes import PlannerTable, PolicyTable, ProbeTable, RegionFile
from tests.region.cases import DATA

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
FILES = sorted(EXAMPLES.glob("*/region.toml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_an_example_loads_and_validates_against_the_schema_it_names(path: Path) -> None:
    first_line, _, text = path.read_text(encoding="utf-8").partition("\n")
    named = (path.parent / first_line.removeprefix("#:schema ")).resolve()
    validator = jsonschema.Draft202012Validator(json.loads(named.read_text(encoding="utf-8")))
    assert list(validator.iter_errors(tomllib.loads(text))) == []
    assert load(path).endpoints


def test_the_schema_is_up_to_date_and_a_schema() -> None:
    assert (EXAMPLES / "region.schema.json").read_text(encoding="utf-8") == schema_text()
    jsonschema.Draft202012Validator.check_schema(schema())


def test_the_schema_finds_wrong_types_ranges_and_keys() -> None:
    document = tomllib.loads((DATA / "bad.toml").read_text(encoding="utf-8"))
    found = {error.json_path for error in jsonschema.Draft202012Validator(schema()).iter_errors(document)}
    assert {"$", "$.region", "$.policy.preset", "$.zone[0]['negative-ttl-s']", "$.endpoint[4]"} <= found


def test_every_key_is_explained() -> None:
    for name, table in schema()["$defs"].items():
        for key, told in table.get("properties", {}).items():
            assert told.get("description"), f"{name}.{key}"


def test_the_reference_is_up_to_date() -> None:
    page = (ROOT / "docs/reference/region.md").read_text(encoding="utf-8")
    assert page == with_tables(page), "run `python -m evenkeel.region.config.reference`"


def test_the_how_to_s_first_region_loads(tmp_path: Path) -> None:
    page = (ROOT / "docs/how-to/write-a-region.md").read_text(encoding="utf-8")
    first = re.search(r"```toml\n(.*?)```", page, re.DOTALL)
    assert first
    (tmp_path / "region.toml").write_text(first[1], encoding="utf-8")
    assert len(load(tmp_path / "region.toml").load_balancers) == 6


@pytest.mark.parametrize(
    "path", [*ROOT.glob("docs/**/region.md"), *ROOT.glob("docs/how-to/write*"), *EXAMPLES.glob("*/*.md")]
)
def test_links_of_the_pages_lead_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        assert (path.parent / link).exists(), link


@pytest.mark.parametrize(
    ("model", "table"), [(PlannerSettings, PlannerTable), (DnsPolicy, PolicyTable), (Probe, ProbeTable)]
)
def test_every_setting_of_the_model_is_a_key_of_the_file(model: type[Any], table: type[Any]) -> None:
    assert {field.name for field in fields(model)} <= table.model_fields.keys()


def test_defaults_of_the_file_are_those_of_the_model() -> None:
    settings = PlannerSettings()
    for field in fields(PlannerSettings):
        default = PlannerTable.model_fields[field.name].default
        assert default is None or default == getattr(settings, field.name), field.name
    assert set(DnsPreset) == set(DNS_PRESETS)


def test_every_table_of_the_schema_is_read(tmp_path: Path) -> None:
    text = (EXAMPLES / "demo/region.toml").read_text(encoding="utf-8")
    for info in RegionFile.model_fields.values():
        key = info.alias
        header = f"[[{key}]]" if f"[[{key}]]" in text or "list" in str(info.annotation) else f"[{key}]"
        changed = text.replace(header, f"{header}\nxyz = 1", 1) if header in text else f"{text}\n{header}\nxyz = 1\n"
        (tmp_path / "region.toml").write_text(changed, encoding="utf-8")
        with pytest.raises(Exception, match=rf"{key}(\[0\])?\.xyz.*: unknown key"):
            load(tmp_path / "region.toml")


# --- what `make up` starts ---------------------------------------------------------------------------------


@pytest.fixture(name="demo")
def _demo() -> Region:
    return load(EXAMPLES / "demo/region.toml")


def test_the_demo_needs_no_privilege_and_nothing_beyond_this_machine(demo: Region) -> None:
    zone = demo.zones["demo.example."]
    assert zone.primary == HostPort("127.0.0.1", 5300)
    for load_balancer in demo.load_balancers.values():
        assert load_balancer.probe.port > 1023
        assert all(each.startswith("127.0.0.") or each == "::1" for each in load_balancer.ipv4 + load_balancer.ipv6)


def test_the_demo_shows_every_kind_and_both_layouts(demo: Region) -> None:
    assert {endpoint.kind for endpoint in demo.endpoints.values()} == set(EndpointKind)
    assert {endpoint.layout for endpoint in demo.endpoints.values()} == set(Layout)
    assert len([each for each in demo.endpoints.values() if each.kind is EndpointKind.ACCOUNT]) == 20


def test_every_load_balancer_of_the_demo_can_be_killed_alone(demo: Region) -> None:
    assert demo.backends == len(demo.load_balancers) - len(front_ends(demo))
    assert sum(component.name.startswith("backend-") for component in components(demo)) == demo.backends


def test_the_october_region_is_the_demo_under_the_other_policy(demo: Region) -> None:
    october = load(EXAMPLES / "october-2025/region.toml")
    assert october.policy == DNS_PRESETS[DnsPreset.OCTOBER_2025]
    assert (october.endpoints, october.load_balancers) == (demo.endpoints, demo.load_balancers)


def test_the_large_region_has_fifty_thousand_accounts_over_one_pool() -> None:
    region = load(EXAMPLES / "large/region.toml")
    accounts = [each for each in region.endpoints.values() if each.kind is EndpointKind.ACCOUNT]
    assert len(accounts) == 50_000
    assert len({id(each.load_balancers) for each in accounts}) == 1

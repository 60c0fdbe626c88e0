"""What a good file comes to: defaults, expansion, inheritance."""

from __future__ import annotations

from pathlib import Path

import pytest

from evenkeel.model.health import Probe, ProbeKind
from evenkeel.model.plan import Layout
from evenkeel.model.policy import OCTOBER_2025, SAFE, StalenessCheck
from evenkeel.model.region import EndpointKind, HostPort, PlannerSettings, ServerKind, Zone
from tests.region.files import SMALL, loaded


def test_a_small_file_is_a_whole_region(tmp_path: Path) -> None:
    region = loaded(tmp_path, SMALL)
    assert region.name == "demo"
    assert region.zones == {
        "demo.example.": Zone(
            "demo.example.", ServerKind.EMBEDDED, HostPort("127.0.0.1", 5300), nameservers=("ns1.demo.example.",)
        )
    }
    assert list(region.load_balancers) == ["edge-a-1", "edge-a-2", "edge-b-1", "edge-b-2", "edge-c-1", "edge-c-2"]
    assert [each.ipv4 for each in region.load_balancers.values()] == [(f"192.0.2.{n}",) for n in range(11, 17)]
    endpoint = region.endpoints["db.demo.example."]
    assert endpoint.load_balancers == tuple(region.load_balancers)
    assert (endpoint.layout, endpoint.ipv4, endpoint.ipv6) == (Layout.TREE, True, False)
    assert region.policy == SAFE
    assert region.planner == PlannerSettings()
    assert (region.planners, region.enactors) == (2, 3)
    assert region.state_dir == str(tmp_path / "state")


def test_paths_are_relative_to_the_file_not_to_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "accounts.txt").write_text("acme # the first\n\n# nobody\nzeta\n")
    text = (
        SMALL.replace("azs =", 'state-dir = "../run"\nazs =')
        + """
[[endpoint-template]]
name = "{account}.db.demo.example"
accounts = { file = "accounts.txt" }
groups = ["edge"]
"""
    )
    monkeypatch.chdir("/")
    region = loaded(tmp_path, text)
    assert Path(region.state_dir).resolve() == tmp_path.parent / "run"
    assert {"acme.db.demo.example.", "zeta.db.demo.example."} < region.endpoints.keys()


def test_a_template_gives_each_account_an_endpoint_and_all_of_them_one_pool(tmp_path: Path) -> None:
    text = (
        SMALL
        + """
[[endpoint-template]]
name = "cell-{account}.db.demo.example"
accounts = { count = 3, pattern = "{n:03}", first = 9 }
select = { name = "edge-?-1", azs = ["a", "b"] }
"""
    )
    region = loaded(tmp_path, text)
    names = ["cell-009.db.demo.example.", "cell-010.db.demo.example.", "cell-011.db.demo.example."]
    cells = [region.endpoints[name] for name in names]
    assert {cell.kind for cell in cells} == {EndpointKind.ACCOUNT}
    assert cells[0].load_balancers == ("edge-a-1", "edge-b-1")
    assert cells[0].load_balancers is cells[2].load_balancers


def test_a_group_takes_addresses_from_a_pattern_by_az_and_place(tmp_path: Path) -> None:
    text = SMALL.replace('ipv4-first = "192.0.2.11"', 'ipv4 = "10.{k}.0.{i}"\nipv6 = "2001:db8:{k}::{i}"')
    region = loaded(tmp_path, text)
    assert region.load_balancers["edge-b-2"].ipv4 == ("10.2.0.2",)
    assert region.load_balancers["edge-c-1"].ipv6 == ("2001:db8:3::1",)


def test_pools_add_up_from_names_groups_and_selections_without_doubles(tmp_path: Path) -> None:
    text = (
        SMALL.replace(
            'groups = ["edge"]\n',
            'load-balancers = ["edge-c-2"]\ngroups = ["edge"]\nselect = { labels = { tier = "spare" } }\n',
        )
        + '[[load-balancer]]\nname = "spare"\naz = "a"\nipv4 = ["192.0.2.99"]\nlabels = { tier = "spare" }\n'
    )
    pool = loaded(tmp_path, text).endpoints["db.demo.example."].load_balancers
    assert pool[0] == "edge-c-2"
    assert pool[-1] == "spare"
    assert sorted(pool) == sorted(set(pool))


def test_the_ipv6_kind_answers_with_ipv6_alone_unless_told_otherwise(tmp_path: Path) -> None:
    both = SMALL.replace("ipv4-first", 'ipv6-first = "2001:db8::1"\nipv4-first')
    six = loaded(tmp_path, both.replace("groups", 'kind = "ipv6"\ngroups')).endpoints["db.demo.example."]
    assert (six.ipv4, six.ipv6) == (False, True)
    dual = both.replace("groups", 'kind = "ipv6"\nfamilies = ["ipv4", "ipv6"]\ngroups')
    endpoint = loaded(tmp_path, dual).endpoints["db.demo.example."]
    assert (endpoint.ipv4, endpoint.ipv6) == (True, True)


def test_an_apex_is_flat_without_being_told(tmp_path: Path) -> None:
    region = loaded(tmp_path, SMALL.replace('"db.demo.example"', '"demo.example"'))
    assert region.endpoints["demo.example."].layout is Layout.FLAT


def test_the_zone_with_the_longest_match_wins(tmp_path: Path) -> None:
    region = loaded(tmp_path, SMALL + '[[zone]]\nname = "db.demo.example"\n')
    endpoint = region.endpoints["db.demo.example."]
    assert (endpoint.zone, endpoint.layout) == ("db.demo.example.", Layout.FLAT)


def test_probes_inherit_what_they_do_not_say(tmp_path: Path) -> None:
    text = (
        SMALL.replace("count = 2", "count = 2\nprobe = { port = 8080, rise = 1 }")
        + '[probe-defaults]\nkind = "http"\nrise = 5\npath = "/up"\n'
    )
    probe = loaded(tmp_path, text).load_balancers["edge-a-1"].probe
    assert probe == Probe(kind=ProbeKind.HTTP, port=8080, path="/up", rise=1)


@pytest.mark.parametrize(("kind", "port"), [("tcp", 443), ("http", 80), ("https", 443)])
def test_a_probe_has_the_port_of_its_kind(tmp_path: Path, kind: str, port: int) -> None:
    region = loaded(tmp_path, SMALL + f'[probe-defaults]\nkind = "{kind}"\n')
    assert region.load_balancers["edge-a-1"].probe.port == port


def test_reported_probes_give_every_vantage_point_an_intake(tmp_path: Path) -> None:
    assert loaded(tmp_path, SMALL).report_intake == ()
    region = loaded(tmp_path, SMALL + '[probe-defaults]\nkind = "reported"\n')
    assert region.report_intake == tuple(HostPort("127.0.0.1", port) for port in (5321, 5322, 5323))


def test_a_preset_holds_but_for_the_switches_that_are_given(tmp_path: Path) -> None:
    text = SMALL + '[policy]\npreset = "october-2025"\n'
    assert loaded(tmp_path, text).policy == OCTOBER_2025
    policy = loaded(tmp_path, text + 'staleness-check = "before-each-write"\n').policy
    assert policy.staleness_check is StalenessCheck.BEFORE_EACH_WRITE
    assert policy.clean_up is OCTOBER_2025.clean_up


def test_planners_are_as_many_as_their_intakes(tmp_path: Path) -> None:
    text = SMALL + '[planner]\nhealth-intake = ["127.0.0.1:1", "[::1]:2", "intake.example.net:3"]\n'
    region = loaded(tmp_path, text)
    assert region.planners == 3
    assert region.health_intake[1:] == (HostPort("::1", 2), HostPort("intake.example.net", 3))


def test_one_az_can_have_a_quorum_of_one_only(tmp_path: Path) -> None:
    assert loaded(tmp_path, SMALL.replace('["a", "b", "c"]', '["a"]')).planner.quorum == 1


def test_names_are_taken_in_any_case_and_with_the_final_dot(tmp_path: Path) -> None:
    region = loaded(tmp_path, SMALL.replace('"db.demo.example"', '"DB.Demo.Example."'))
    assert list(region.endpoints) == ["db.demo.example."]


def test_a_file_with_a_byte_order_mark_and_dos_line_ends_is_read(tmp_path: Path) -> None:
    assert loaded(tmp_path, "\ufeff" + SMALL.replace("\n", "\r\n")).name == "demo"


def test_a_control_host_may_be_named_beside_an_endpoint_and_a_probe_after_one(tmp_path: Path) -> None:
    text = (
        SMALL
        + """
[plan-store]
listen = "store.demo.example:5310"

[probe-defaults]
kind = "https"
host = "db.demo.example"
"""
    )
    assert loaded(tmp_path, text).plan_store.host == "store.demo.example"


def test_names_under_an_apex_endpoint_are_not_found_through_it(tmp_path: Path) -> None:
    text = SMALL.replace('"db.demo.example"', '"demo.example"') + '[plan-store]\nlisten = "store.demo.example:5310"\n'
    assert loaded(tmp_path, text).plan_store.port == 5310

"""A whole region of real processes, hurt in every way the design promises to bear.

One region serves all tests of this file, in order of definition; each leaves it as it found it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from evenkeel.model.events import EventKind
from evenkeel.model.records import RecordType, RRset
from evenkeel.model.region import ServerKind
from evenkeel.model.transactions import AddRRs, DeleteRRset
from tests.live.world import DB, FLAT, World, wait_for, world
from tests.servers import or_skipped

ENACTORS = ("enactor-a", "enactor-b", "enactor-c")


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(ServerKind.EMBEDDED, tmp_path_factory.mktemp("region")) as found:
        yield found


def test_a_backend_that_dies_leaves_the_answer_and_comes_back_when_it_does(region: World) -> None:
    victim = region.live.region.load_balancers["edge-a-1"].ipv4[0]
    wait_for(lambda: victim in region.members(FLAT), "all published")
    region.order("edge-a-1", "fail")
    wait_for(lambda: victim not in region.members(FLAT), "the failed backend is out")
    region.order("edge-a-1", "recover")
    wait_for(lambda: victim in region.members(FLAT), "the backend is in again")


@pytest.mark.parametrize("component", ["planner-1", "plan-store", "enactor-a", "vantage-a", "audit", "nameserver"])
def test_any_process_may_be_killed_and_plans_go_on(region: World, component: str) -> None:
    before = region.fence()
    pid = region.pid(component)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: region.live.pids().get(component, 0) not in (0, pid), f"{component} is back")
    wait_for(lambda: _is_answered(region), "answers again")
    assert region.fence().generation >= before.generation  # nothing acknowledged is lost
    region.move_plans(1)


def _is_answered(region: World) -> bool:
    try:
        return all(region.addresses(name) for name in region.endpoints)
    except Exception:  # still coming up
        return False


def test_an_enactor_stopped_while_plans_move_on_does_no_harm_when_it_goes_on(region: World) -> None:
    with region.paused("enactor-a"):
        region.move_plans(5)
        newest = region.fence()
    time.sleep(2.0)  # it has gone on by now, with whatever it had in hand
    assert region.fence().generation >= newest.generation
    assert _is_answered(region)


def test_with_the_plan_store_stopped_enactors_keep_the_zone_as_planned(region: World) -> None:
    planned = region.members(FLAT)
    with region.paused("plan-store"):
        region.kill("enactor-b")  # it comes back with nothing but its last good plan
        region.by_hand(DeleteRRset(FLAT, RecordType.A), AddRRs(RRset.of(FLAT, RecordType.A, 60, "192.0.2.1")))
        wait_for(lambda: region.members(FLAT) == planned, "the foreign answer is put right")
    assert region.events(EventKind.DRIFT)


def test_a_fence_duplicated_by_hand_stops_automation_for_that_endpoint_and_says_so(region: World) -> None:
    answer = region.members(FLAT)
    second = "g=1;w=by-hand;n=zz"
    region.by_hand(AddRRs(RRset.of(f"_fence.{FLAT}", RecordType.TXT, 1, second)))
    wait_for(lambda: [e for e in region.events(EventKind.FENCE_CORRUPT) if e.endpoint == FLAT], "told in the journal")
    assert region.members(FLAT) == answer
    wait_for(lambda: any("2 records" in told for told in region.watcher.seen.told), "the inspector has seen it")
    assert region.evenkeel("repair", FLAT).returncode == 0
    assert len(region.ask(f"_fence.{FLAT}", "TXT").addresses) == 1
    assert region.fence(FLAT).generation > 1


def test_frozen_means_that_nothing_is_written_until_thawed(region: World) -> None:
    path = str(region.live.folder / "region.toml")
    assert region.evenkeel("freeze", path, "--reason", "a test").returncode == 0
    before = [region.fence(name) for name in region.endpoints]
    for balancer in region.live.region.load_balancers:
        region.order(balancer, "capacity/33")
    region.order("edge-b-1", "capacity/200")
    time.sleep(2.0)
    assert [region.fence(name) for name in region.endpoints] == before
    refused = region.evenkeel("rollback", DB)
    assert refused.returncode == 1
    assert "frozen" in refused.stdout + refused.stderr
    assert region.evenkeel("thaw", path).returncode == 0
    wait_for(lambda: region.fence() not in before, "the newest plan is published")


def test_rollback_holds_the_previous_answer_until_unpinned(region: World) -> None:
    region.move_plans(2)
    assert region.evenkeel("rollback", DB).returncode == 0
    held = region.fence()
    assert held.pinned
    for balancer in region.live.region.load_balancers:
        region.order(balancer, "capacity/140")
    region.order("edge-c-1", "capacity/30")
    time.sleep(1.5)
    assert region.fence() == held
    assert region.evenkeel("unpin", DB).returncode == 0
    wait_for(lambda: not region.fence().pinned and region.fence().writer in ENACTORS, "the plan has it again")


def test_however_many_plans_were_published_few_nodes_stand_in_the_zone(region: World) -> None:
    region.move_plans(8)
    kept = region.live.region.policy.keep_generations + 2

    def nodes() -> int:
        with region.zone() as zone:
            return len(zone(lambda client: client.nodes(DB)))

    wait_for(lambda: nodes() <= kept, "clean-up has come by")


def test_generations_never_went_back_and_status_tells_all_is_well(region: World) -> None:
    region.order("edge-c-1", "capacity/100")
    wait_for(lambda: region.evenkeel("audit", str(region.live.folder / "region.toml")).returncode == 0, "audit is good")
    seen = region.watcher.seen
    assert seen.answered > 500
    assert seen.fences > 100
    assert (seen.empty, seen.regressed) == (0, 0), seen.told


@pytest.mark.parametrize(
    "kind",
    [pytest.param(ServerKind.BIND, marks=pytest.mark.bind), pytest.param(ServerKind.KNOT, marks=pytest.mark.knot)],
)
def test_the_same_region_lives_on_a_real_server_through_its_restart(
    kind: ServerKind, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with or_skipped(kind.value), world(kind, tmp_path_factory.mktemp(kind.value)) as region:
        assert region.live.server is not None
        region.move_plans(2)
        before = region.fence()
        region.live.server.kill()
        region.live.server.restart()
        wait_for(lambda: _is_answered(region), "answers again")
        assert region.fence().generation >= before.generation
        region.move_plans(2)

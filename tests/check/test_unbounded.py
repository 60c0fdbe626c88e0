"""Plans without end: the quotient against bounded spaces, what it rests on, and what it finds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from evenkeel.check import kernel
from evenkeel.check.automation import Automation
from evenkeel.check.config import Config
from evenkeel.check.dns_properties import dns_properties
from evenkeel.check.generations import Generations, forgets_what_is_gone, generations_in, told_as
from evenkeel.check.local_states import Enacting, Local
from evenkeel.check.model import Recoverable
from evenkeel.check.program import Workflows
from evenkeel.check.recovery import unrecoverable
from evenkeel.check.search import Bounds, Search, Space
from evenkeel.check.trace import Global, stored
from evenkeel.check.verify import Reduction, Verdict, Wanted, check
from evenkeel.check.zone_steps import Fault, Step, Way
from evenkeel.endpoints.layout import node_generation
from evenkeel.model.errors import InputError
from evenkeel.model.plan import Layout
from evenkeel.model.policy import OCTOBER_2025, SAFE, CleanUpBy
from evenkeel.twins.zone import ZoneState
from tests.check import variants
from tests.check.variants import made_by

KEEP_1 = replace(SAFE, keep_generations=1, attempts_max=1)
ENDLESS = Config(policy=KEEP_1, enactors=2, plans=1, endpoints=1, lazy_appends=True, unbounded=True)


def explored(config: Config, **options: Any) -> Space:
    model = Automation(config, dns_properties(config.policy, config.plans, config.enactors))
    return Search(model, **options).run()


def automation(space: Space) -> Automation:
    assert isinstance(space.model, Automation)
    return space.model


def rows(space: Space) -> list[list[int]]:
    fields: list[list[int]] = space.fields(slice(0, space.count)).tolist()
    return fields


def image(row: list[int], of: Space, within: Space) -> tuple[int, ...]:
    """A state of a space as the endless one would have stored it, with faults left aside.

    An Enactor that is at work on a spent tree which is beyond notice is taken for one that is done with it already.
    """
    source, target = automation(of), automation(within)
    shape = source.shape
    locals_ = [source.local_state(each) for each in row[: shape.locals]]
    zone = source.service_state(1, row[shape.locals + 1])
    zone_id = target._zones.id(zone)
    known = Generations(source.config.policy.keep_generations, target._locals, target._zones)
    others = [forgets_what_is_gone(replace(each, nodes=())) if isinstance(each, Enacting) else each for each in locals_]
    matter = 1 << row[shape.locals] | known.service(zone_id)[0]
    for each in others:
        if isinstance(each, Enacting) and target.stages[each.stage].each_node:
            continue  # its ticket is about the deletion
        matter |= known.local(target._locals.id(each))[0]
    past = known.service(zone_id)[1]

    def is_beyond_notice(node: str) -> bool:
        rank = node_generation(node)
        if matter >> rank & 1:
            return False
        return not past >> rank & 1 or (past >> (rank + 1)).bit_count() > known.keep

    def settled(each: Local) -> Local:
        if not isinstance(each, Enacting):
            return each
        nodes = tuple(node for node in each.nodes if not is_beyond_notice(node))
        if nodes[:1] != each.nodes[:1]:
            return Enacting(each.stage, 0, nodes=nodes) if nodes else Enacting(0, 0)
        return forgets_what_is_gone(replace(each, nodes=nodes))

    state = Global(tuple(target._locals.id(settled(each)) for each in locals_), (row[shape.locals], zone_id), row[-1])
    return stored(within, state)[:-1]


@pytest.mark.parametrize(
    ("enactors", "keep", "plans", "faults"),
    [(1, 1, 5, 0), (2, 0, 4, 0), (2, 1, 5, 0), (2, 2, 4, 0), (3, 1, 3, 0), (2, 1, 3, 1)],
)
def test_every_bounded_state_has_its_image_in_the_endless_space(
    enactors: int, keep: int, plans: int, faults: int
) -> None:
    policy = replace(KEEP_1, keep_generations=keep)
    endless = explored(replace(ENDLESS, policy=policy, enactors=enactors, faults=faults))
    known = {tuple(row[:-1]) for row in rows(endless)}
    for some in range(1, plans + 1):
        bounded = explored(Config(policy, enactors, some, 1, lazy_appends=True, faults=faults))
        assert {image(row, bounded, endless) for row in rows(bounded)} <= known


def test_of_one_enactor_five_plans_are_all_that_there_is() -> None:
    endless = explored(replace(ENDLESS, enactors=1))
    bounded = explored(Config(KEEP_1, 1, 5, 1, lazy_appends=True))
    assert {image(row, bounded, endless) for row in rows(bounded)} == {tuple(row[:-1]) for row in rows(endless)}


def stretched(value: Any) -> Any:
    """Generations farther apart, in the same order."""
    if isinstance(value, ZoneState):
        return ZoneState.of(value.apex, [stretched(each) for each in value.rrsets()], value.guarded)
    return told_as(value, lambda generation: 3 * generation + 2 if generation else 0)


@pytest.mark.parametrize("layout", list(Layout))
def test_zone_code_compares_generations_by_their_order_alone(layout: Layout) -> None:
    """What the quotient rests on, of every step of the real code in a bounded space."""
    model = automation(explored(Config(KEEP_1, 2, 4, 1, layout, lazy_appends=True, faults=1)))
    steps = model.zone_steps
    known = dict(steps._ways)
    assert len(known) > 150
    for (asking, zone), ways in known.items():
        far = replace(
            asking,
            hand=replace(asking.hand, ticket=stretched(asking.hand.ticket)),
            plan=stretched_number(asking.plan),
            node=stretched(asking.node),
        )
        told = [_told(steps.zones[way.zone], way) for way in ways]
        told_far = [
            _told(steps.zones[way.zone], way) for way in steps.ways(far, steps.zones.id(stretched(steps.zones[zone])))
        ]
        assert [stretched(each) for each in told] == told_far


def stretched_number(generation: int) -> int:
    return 3 * generation + 2 if generation else 0


def _told(zone: ZoneState, way: Way) -> tuple[Any, ...]:
    return (frozenset(zone.rrsets()), way.label, way.stales, way.breaks, way.reply, way.ticket, way.sends, way.faults)


@pytest.mark.skipif(not kernel.HAS_NUMBA, reason="numba, of the extra `fast`, is not installed")
def test_the_search_in_numpy_finds_the_same_endless_space() -> None:
    compiled, plain = (explored(replace(ENDLESS, faults=1), compiled=each) for each in (True, False))
    assert (compiled.count, compiled.steps, compiled.depth) == (plain.count, plain.steps, plain.depth)
    assert not len(unrecoverable(compiled, _goal(compiled)))
    assert not len(unrecoverable(plain, _goal(plain)))


def _goal(space: Space) -> Recoverable:
    goal = space.model.properties.recoverable
    assert goal is not None
    return goal


@pytest.mark.parametrize(
    "without", [{Reduction.SYMMETRY}, {Reduction.APPENDS}, {Reduction.HOPELESS}], ids=lambda each: next(iter(each))
)
def test_no_other_reduction_is_needed_for_an_end(without: set[Reduction]) -> None:
    report = check(ENDLESS, Wanted(reductions=frozenset(Reduction) - without))
    assert (report.verdict, report.unbounded) == (Verdict.HOLDS, True)
    assert report.states > 1060


def test_three_enactors_are_safe_however_many_plans_there_are() -> None:
    report = check(replace(ENDLESS, enactors=3, endpoints=3))
    assert (report.verdict, report.unbounded, report.states) == (Verdict.HOLDS, True, 46_003)
    assert (report.stopped, report.trace, report.plans) == ("", (), 0)


def test_past_a_bound_nothing_is_said_of_plans_without_end() -> None:
    report = check(ENDLESS, Wanted(bounds=Bounds(states_max=100)))
    assert (report.verdict, report.unbounded) == (Verdict.INCOMPLETE, True)


KEEP_0 = replace(KEEP_1, keep_generations=0)
BROKEN = {
    "reads-the-fence-at-the-write": ({"zone_maker": made_by(variants.ReadsTheFenceAtTheWrite)}, "never-regress"),
    "cleans-up-what-refers": (
        {"policy": KEEP_0, "workflows": Workflows(remove=variants.remove_whatever_refers)},
        "rollback-target-valid",
    ),
    "cleans-up-by-age": (
        {
            "policy": KEEP_0,
            "zone_maker": made_by(variants.CleansUpByAge),
            "workflows": Workflows(remove=variants.remove_whatever_refers),
        },
        "never-empty",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_variants_are_found_with_a_trace_that_is_so_in_full(name: str) -> None:
    changes, breaks = BROKEN[name]
    config: Config = replace(ENDLESS, **changes)
    report = check(config)
    assert (report.verdict, report.unbounded) == (Verdict.VIOLATED, True)
    assert breaks in {each.name for each in report.properties if each.verdict is Verdict.VIOLATED}
    assert report.trace[-1].breaks
    assert report.plans == max(step.newest_plan for step in report.trace)


@pytest.mark.parametrize(
    "changes",
    [
        {"policy": OCTOBER_2025},
        {"policy": replace(SAFE, clean_up=CleanUpBy.AGE_IF_UNREFERENCED)},
        {"step": Step.EXCHANGE},
        {"faults": 1, "fault_kinds": frozenset(Fault)},
        {"answers": 2},
    ],
    ids=",".join,
)
def test_what_the_quotient_is_not_proved_for_is_wrong_input(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="--unbounded"):
        check(replace(ENDLESS, **changes))


def test_every_form_in_which_a_generation_is_told_is_found() -> None:
    told = ("g12._tree.e.z.", "_weights.g3._tree.e.z.", "g=7;w=anyone;n=nonce0now", "10.0.1.2", "10.0.0.0")
    assert generations_in(told) == {12, 3, 7, 258}

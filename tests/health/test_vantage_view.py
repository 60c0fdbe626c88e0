"""A vantage point's table: opinions of load balancers, and doubt of itself."""

from __future__ import annotations

from evenkeel.endpoints.vantage_view import VantageView, targets_of
from evenkeel.endpoints.verdicts import Observation, Outcome
from evenkeel.model.health import Opinion, Probe, ProbeKind, Standing
from evenkeel.model.region import LoadBalancer

PROBE = Probe(interval_s=1.0, timeout_s=0.5, rise=2, fall=3, grace_s=0.0)
READY = Observation(Outcome.READY)
TIMEOUT = Observation(Outcome.TIMEOUT)
REFUSED = Observation(Outcome.REFUSED)


def view_of(count: int = 3) -> VantageView:
    balancers = [LoadBalancer(f"lb-{k}", "a", ipv4=(f"192.0.2.{k + 1}",), probe=PROBE) for k in range(count)]
    return VantageView("vantage-a", targets_of(balancers), 0.0)


def round_of(view: VantageView, seen: Observation, now_s: float, skip: tuple[int, ...] = ()) -> list[Opinion]:
    changed: list[Opinion] = []
    for index in range(len(view.targets)):
        if index not in skip:
            changed.extend(view.take(index, seen, now_s))
    return changed


def standings(view: VantageView) -> set[Standing]:
    return {opinion.standing for opinion in view.opinions()}


def test_every_address_is_a_target_and_a_self_reporter_is_one() -> None:
    both = LoadBalancer("both", "a", ipv4=("192.0.2.1", "192.0.2.2"), ipv6=("2001:db8::1",))
    own = LoadBalancer("own", "a", ipv4=("192.0.2.3",), probe=Probe(ProbeKind.REPORTED))
    assert [target.key for target in targets_of([both, own])] == [
        "both/192.0.2.1", "both/192.0.2.2", "both/2001:db8::1", "own/"
    ]  # fmt: skip


def test_a_change_of_standing_is_told_once_with_its_reason() -> None:
    view = view_of()
    assert round_of(view, READY, 1.0) == []
    changed = round_of(view, READY, 2.0)
    assert [opinion.standing for opinion in changed] == [Standing.HEALTHY] * 3
    assert changed[0].detail == "192.0.2.1 ready (2 of 2)"
    for turn in range(2):
        assert not view.take(0, REFUSED, 3.0 + turn)
    (failed,) = view.take(0, REFUSED, 5.0)
    assert (failed.load_balancer, failed.standing) == ("lb-0", Standing.FAILED)
    assert failed.detail == "192.0.2.1 refused (3 of 3)"


def test_reported_load_is_touched_but_changes_no_standing() -> None:
    view = view_of()
    for now_s in (1.0, 2.0):
        round_of(view, READY, now_s)
    view.take_touched()
    assert view.take(1, Observation(Outcome.READY, capacity=10.0, load=3.0), 3.0) == []
    (touched,) = view.take_touched()
    assert (touched.load_balancer, touched.capacity, touched.load) == ("lb-1", 10.0, 3.0)
    assert view.take_touched() == ()


def test_when_every_target_falls_silent_the_vantage_doubts_itself_and_fails_none() -> None:
    view = view_of()
    for now_s in (1.0, 2.0):
        round_of(view, READY, now_s)
    round_of(view, TIMEOUT, 3.0)
    assert view.has_doubt
    assert "all 3 targets" in view.doubt
    for turn in range(20):
        round_of(view, TIMEOUT, 4.0 + turn)
    assert standings(view) == {Standing.UNKNOWN}


def test_after_an_isolation_the_first_answer_leaves_no_target_failed() -> None:
    """The vote returns with that answer; what was counted while nothing could answer must not come with it."""
    view = view_of(5)
    for now_s in (1.0, 2.0):
        round_of(view, READY, now_s)
    for turn in range(10):
        round_of(view, TIMEOUT, 3.0 + turn)
    assert view.has_doubt
    view.take(4, READY, 14.0)
    assert not view.has_doubt
    assert Standing.FAILED not in standings(view)
    for turn in range(2):
        round_of(view, TIMEOUT, 15.0 + turn, skip=(4,))
        view.take(4, READY, 15.0 + turn)
        assert Standing.FAILED not in standings(view)
    round_of(view, TIMEOUT, 17.0, skip=(4,))
    assert view.count(Standing.FAILED) == 4  # silent for `fall` turns while another answers: failed indeed


def test_one_that_answers_is_enough_to_believe_the_others_silent() -> None:
    view = view_of()
    for now_s in (1.0, 2.0):
        round_of(view, READY, now_s)
    for turn in range(3):
        round_of(view, TIMEOUT, 3.0 + turn, skip=(2,))
        view.take(2, REFUSED, 3.0 + turn)  # a refusal is an answer: the network carried it
    assert not view.has_doubt
    assert standings(view) == {Standing.FAILED}


def test_one_target_alone_is_no_reason_for_doubt() -> None:
    view = view_of(1)
    for now_s in (1.0, 2.0):
        round_of(view, READY, now_s)
    for turn in range(3):
        round_of(view, TIMEOUT, 3.0 + turn)
    assert not view.has_doubt
    assert standings(view) == {Standing.FAILED}


def test_what_is_too_old_is_forgotten() -> None:
    view = view_of()
    for now_s in (1.0, 2.0):
        round_of(view, READY, now_s)
    assert view.expire(3.0) == []
    changed = view.expire(600.0)
    assert [opinion.standing for opinion in changed] == [Standing.UNKNOWN] * 3
    assert view.expire(601.0) == []


def test_an_address_that_cannot_be_probed_from_here_does_not_speak_for_the_others() -> None:
    dual = LoadBalancer("dual", "a", ipv4=("192.0.2.1",), ipv6=("2001:db8::1",), probe=PROBE)
    view = VantageView("vantage-a", targets_of([dual]), 0.0)
    for turn in range(10):
        view.take(0, READY, 1.0 + turn)
        view.take(1, Observation(Outcome.LOCAL, detail="ENETUNREACH"), 1.0 + turn)
    assert standings(view) == {Standing.HEALTHY}

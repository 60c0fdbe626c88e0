"""Which load balancers stand behind each endpoint: the Planner's choice, for any number of endpoints at once.

An edge is a pair (endpoint, load balancer). What a published member's standing permits (ports/health.py):

| standing | published | not published |
| --- | --- | --- |
| healthy | stays | may be added |
| unknown, new | stays | - |
| failed, draining | *bad*: goes, as far as floor, panic and velocity let it | - |

`first_members` makes an endpoint's first answer. `urgent_members` takes bad members out and puts stand-ins in.
`routine_members` brings the rest to the best choice: spread over azs, then by rendezvous score. No function here
ever returns fewer than one member where there was one. Pure: arrays in, arrays out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from evenkeel.endpoints.pools import Flags, Floats, Ints, Pools, Standings
from evenkeel.model.health import Standing

NEW, HEALTHY, FAILED, UNKNOWN, DRAINING = range(5)
STANDING_CODES = {
    Standing.NEW: NEW,
    Standing.HEALTHY: HEALTHY,
    Standing.FAILED: FAILED,
    Standing.UNKNOWN: UNKNOWN,
    Standing.DRAINING: DRAINING,
}


class Hold(IntEnum):
    """Why a bad member stays published."""

    NONE = 0
    PANIC = 1  # too few are ready: taking more away would do harm
    VELOCITY = 2  # the pool has lost its share within the window already
    FLOOR = 3  # fewer would be left than the floor, or than one plan may take at once


@dataclass(frozen=True, slots=True)
class View:
    """Some endpoints and their edges. `standing` and `member` (published now) are by edge of the view."""

    numbers: Ints
    edges: Ints
    segment: Ints
    standing: Standings
    member: Flags

    def count(self, edges: Flags) -> Ints:
        """By endpoint of the view, how many of its edges are flagged."""
        return np.bincount(self.segment[edges], minlength=len(self.numbers)).astype(np.int32)

    @property
    def bad(self) -> Flags:
        bad: Flags = self.member & ((self.standing == FAILED) | (self.standing == DRAINING))
        return bad


@dataclass(frozen=True, slots=True)
class Limits:
    """How far one urgent step may go. `velocity_left` is by endpoint of the view; shares are of 1."""

    panic_share: float
    removed_share_max: float
    velocity_left: Ints


@dataclass(frozen=True, slots=True)
class Urgent:
    """`member` after the step and why each bad one stays (`Hold`), by edge; `unsettled`: endpoints with unmet needs."""

    member: Flags
    hold: Standings
    unsettled: Flags


def view_of(pools: Pools, numbers: Ints, standing: Standings, member: Flags) -> View:
    """Endpoints `numbers`; `standing` is by load balancer, `member` by edge of the whole region."""
    edges, segment = pools.edges_of(numbers)
    return View(numbers, edges, segment, standing[pools.edge_lb[edges]], member[edges])


def is_panic(view: View, panic_share: float) -> Flags:
    """By endpoint: fewer ready than `panic_share` of what counts. Drained and never ready ones do not count."""
    counted = (view.standing == HEALTHY) | (view.standing == FAILED) | (view.standing == UNKNOWN)
    counted |= view.member & (view.standing == NEW)
    panic: Flags = view.count(view.standing == HEALTHY) < panic_share * view.count(counted)
    return panic


def urgent_members(pools: Pools, view: View, limits: Limits, bad_since_s: Floats) -> Urgent:
    """Bad members out, longest bad first and failed before drained; ready stand-ins in where something is amiss.

    In panic the answer never shrinks: a bad member then goes only to make room for a ready one.
    """
    bad, floor_min = view.bad, pools.members_min[view.numbers]
    stand_in = (view.standing == HEALTHY) & ~view.member
    bad_count, fine_count = view.count(bad), view.count(view.member & ~bad)
    size = bad_count + fine_count
    room = np.maximum(pools.members_max[view.numbers], size)
    panic = is_panic(view, limits.panic_share)
    wanted = np.clip(size + view.count(stand_in) - np.where(panic, room, floor_min), 0, bad_count)
    going = np.minimum(wanted, limits.velocity_left)
    is_short = going < wanted
    # A first guess, by members; the loop below counts addresses.
    at_once = np.ceil(limits.removed_share_max * size).astype(np.int32) + view.count(stand_in)
    going = np.minimum(going, at_once)
    amiss = (bad_count > 0) | ((size > 0) & (fine_count < floor_min))
    queue = _in_order_of_going(view, bad, bad_since_s[pools.edge_lb[view.edges]])
    while True:
        staying = view.member & ~(bad & (queue < going[view.segment]))
        spares = stand_in & amiss[view.segment]
        preference = np.where(spares, np.where(_brings_family(pools, view, staying), 1, 2), 0).astype(np.int8)
        member = keep_families(pools, view, choose(pools, view, staying | spares, preference, room))
        too_much = _drops_too_much(pools, view, member, limits.removed_share_max) & (going > 0)
        if not too_much.any():
            break
        going = going - too_much  # some bring more addresses than others
    held = bad & member
    reason = np.where(panic, Hold.PANIC, np.where(is_short, Hold.VELOCITY, Hold.FLOOR)).astype(np.int8)
    hold = np.where(held, reason[view.segment], np.int8(Hold.NONE))
    return Urgent(member, hold, (view.count(held) > 0) | (view.count(member & ~bad) < floor_min))


def first_members(pools: Pools, view: View, panic_share: float) -> Flags:
    """The first answers of endpoints that have none: the ready ones, filled up as far as floor or panic ask.

    Panic, before anything was ever published, means that what is known to exist is all published; a pool that was
    never heard of at all is published as it is configured.
    """
    healthy, known = view.standing == HEALTHY, (view.standing != NEW) & (view.standing != DRAINING)
    draining = view.standing == DRAINING
    healthy_count, known_count, all_count = view.count(healthy), view.count(known), view.count(~draining)
    wanted = np.where(is_panic(view, panic_share), known_count, healthy_count)
    wanted = np.where(known_count == 0, all_count, wanted)
    wanted = np.maximum(np.maximum(wanted, pools.members_min[view.numbers]), 1)
    wanted = np.minimum(wanted, pools.members_max[view.numbers])
    preference = np.select([healthy, view.standing == UNKNOWN, view.standing == FAILED, draining], [0, 1, 2, 4], 3)
    everyone = np.ones(len(view.edges), dtype=np.bool_)
    member = choose(pools, view, everyone, preference.astype(np.int8), wanted.astype(np.int32))
    return keep_families(pools, view, member)


def routine_members(pools: Pools, view: View, moves_max: Ints, removed_share_max: float) -> Flags:
    """The best choice for endpoints that have an answer and no bad member; the others are left as they are.

    At most `moves_max` members an endpoint give up their place in one step. Unknown ones never do.
    """
    settled = (view.count(view.bad) == 0) & (view.count(view.member) > 0)
    candidates = (view.member | (view.standing == HEALTHY)) & settled[view.segment]
    forced = view.member & (view.standing != HEALTHY)
    best = _best(pools, view, candidates, forced)
    leaving = view.member & ~best & settled[view.segment]
    queue = _rank(view.segment, leaving)
    moves = np.minimum(moves_max, view.count(leaving))
    while True:
        late = leaving & (queue >= moves[view.segment])
        if late.any():
            best = _best(pools, view, candidates, forced | (view.member & ~leaving) | late)
        after = np.where(settled[view.segment], keep_families(pools, view, best), view.member)
        too_much = _drops_too_much(pools, view, after, removed_share_max) & (moves > 0)
        if not too_much.any():
            return after
        moves = moves - too_much


def _best(pools: Pools, view: View, candidates: Flags, forced: Flags) -> Flags:
    """`forced` ones, and the best other candidates as far as there is room."""
    room = np.maximum(pools.members_max[view.numbers], view.count(forced))
    return choose(pools, view, candidates, (~forced).astype(np.int8), room)


def _drops_too_much(pools: Pools, view: View, member: Flags, removed_share_max: float) -> Flags:
    """By endpoint: its answer would lose more addresses than one plan may take (the Enactor would refuse it)."""
    addresses = pools.addresses[view.edges]
    before = np.bincount(view.segment, weights=addresses * view.member, minlength=len(view.numbers))
    after = np.bincount(view.segment, weights=addresses * member, minlength=len(view.numbers))
    flags: Flags = before - after > removed_share_max * before + 1e-9
    return flags


def choose(pools: Pools, view: View, candidates: Flags, preference: Standings, quota: Ints) -> Flags:
    """At most `quota` candidates an endpoint: lowest `preference` first, then spread over azs, then best score."""
    over = view.count(candidates) > quota
    if not over.any():
        return candidates
    contested = np.flatnonzero(candidates & over[view.segment])
    segment, edges, preferred = view.segment[contested], view.edges[contested], preference[contested]
    az, place = pools.edge_az[edges], pools.place[edges]
    by_az = np.lexsort((place, preferred, az, segment))
    turn = np.empty(len(contested), dtype=np.int32)
    turn[by_az] = _positions(segment[by_az].astype(np.int64) * (int(az.max()) + 1) + az[by_az])
    order = np.lexsort((place, turn, preferred, segment))
    picked = contested[order][_positions(segment[order]) < quota[segment[order]]]
    chosen = candidates & ~over[view.segment]
    chosen[picked] = True
    return chosen


def keep_families(pools: Pools, view: View, member: Flags) -> Flags:
    """`member`, with a load balancer more wherever an address family would lose its last one.

    A client of one family cannot use the other's answer. The one more is a ready one, else one that is published.
    """
    if not pools.mixed[view.numbers].any():
        return member
    member = member.copy()
    usable = (view.standing == HEALTHY) | view.member
    for has in (pools.has_a[view.edges], pools.has_aaaa[view.edges]):
        lost = (view.count(member & has) == 0) & (view.count(usable & has) > 0) & (view.count(member) > 0)
        options = has & usable & lost[view.segment]
        preference = (view.standing != HEALTHY).astype(np.int8)
        member |= choose(pools, view, options, preference, np.ones(len(view.numbers), dtype=np.int32))
    return member


def _brings_family(pools: Pools, view: View, kept: Flags) -> Flags:
    """Edges with an address family that no `kept` one of their endpoint has."""
    brings = np.zeros(len(view.edges), dtype=np.bool_)
    for has in (pools.has_a[view.edges], pools.has_aaaa[view.edges]):
        brings |= has & (view.count(kept & has) == 0)[view.segment]
    return brings


def _in_order_of_going(view: View, bad: Flags, since_s: Floats) -> Ints:
    """For each bad member, how many of its endpoint go before it; 0 elsewhere."""
    places = np.flatnonzero(bad)
    order = np.lexsort((places, since_s[places], view.standing[places] == DRAINING, view.segment[places]))
    places = places[order]
    queue = np.zeros(len(bad), dtype=np.int32)
    queue[places] = _positions(view.segment[places])
    return queue


def _rank(segment: Ints, flagged: Flags) -> Ints:
    """For each flagged edge, how many flagged ones of its endpoint stand before it; 0 elsewhere."""
    rank = np.zeros(len(segment), dtype=np.int32)
    places = np.flatnonzero(flagged)
    rank[places] = _positions(segment[places])
    return rank


def _positions(grouped: Ints) -> Ints:
    """Each entry's position within its run of equal values: 4 4 4 7 7 gives 0 1 2 0 1."""
    if not len(grouped):
        return np.zeros(0, dtype=np.int32)
    begins = np.concatenate([[True], grouped[1:] != grouped[:-1]])
    first = np.flatnonzero(begins)
    return (np.arange(len(grouped)) - np.repeat(first, np.diff(np.append(first, len(grouped))))).astype(np.int32)

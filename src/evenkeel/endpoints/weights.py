"""Weights from capacity: each load balancer's capacity is counted once, however many endpoints share it.

A load balancer's capacity is split among the endpoints that it serves, in proportion to their demand, so the parts
sum up to the whole. An endpoint's weights are its parts as whole numbers of 1 to `steps`.
"""

from __future__ import annotations

import numpy as np

from evenkeel.endpoints.pools import Flags, Floats, Ints, Pools

_LEAN_MAX = 2.0  # load moves a weight by this factor at most


def capacity_parts(pools: Pools, member: Flags, capacity: Floats) -> Floats:
    """By edge, the part of its load balancer's capacity that its endpoint has; 0 for edges that are no member.

    Summed over the endpoints that a load balancer serves, the parts are its `capacity`.
    """
    demand = np.where(member, pools.demand[pools.edge_endpoint], 0.0)
    served = np.bincount(pools.edge_lb, weights=demand, minlength=len(capacity))
    rate = np.divide(capacity, served, out=np.zeros_like(capacity), where=served > 0)
    return rate[pools.edge_lb] * demand


def lean_away(pools: Pools, parts: Floats, capacity: Floats, load: Floats) -> Floats:
    """`parts`, leaning from load balancers that report more load for their capacity than their pool does.

    By the square root, so that the reaction is weaker than what caused it and the loop settles: where load follows
    weight, an imbalance halves its exponent each time. A `load` below 0 is not reported, and leaves a part alone.
    """
    told = ((load >= 0) & (capacity > 0))[pools.edge_lb] & (parts > 0)
    edge_load = np.where(told, load[pools.edge_lb], 0.0)
    edge_capacity = np.where(told, capacity[pools.edge_lb], 0.0)
    pool_load = np.add.reduceat(edge_load, pools.start[:-1])[pools.edge_endpoint]
    pool_capacity = np.add.reduceat(edge_capacity, pools.start[:-1])[pools.edge_endpoint]
    ours, theirs = pool_load * edge_capacity, edge_load * pool_capacity  # mean / own utilisation, cross-multiplied
    with np.errstate(divide="ignore", invalid="ignore"):
        lean = np.clip(np.sqrt(ours / theirs), 1 / _LEAN_MAX, _LEAN_MAX)
    return parts * np.where(told & (pool_load > 0), lean, 1.0)


def whole_weights(pools: Pools, member: Flags, parts: Floats, steps: int) -> Ints:
    """By edge, a weight of 1 to `steps` (the endpoint's largest part), 0 for edges that are no member."""
    peak = np.maximum.reduceat(parts, pools.start[:-1])[pools.edge_endpoint]
    scaled = np.divide(parts * steps, peak, out=np.ones_like(parts), where=peak > 0)
    return np.where(member, np.maximum(np.rint(scaled), 1), 0).astype(np.int32)


def drifted(pools: Pools, weight: Ints, parts: Floats, steps: int, hysteresis: float) -> Flags:
    """By endpoint: some member's exact share has left the band around its published one.

    The band is `hysteresis` of the published share and half a step to either side, which is what rounding to whole
    weights takes; so publishing the exact share's own rounding always lands well inside, and a wobble smaller than
    the hysteresis is published once at most.
    """
    first = pools.start[:-1]
    peak = np.maximum.reduceat(parts, first)[pools.edge_endpoint]
    exact = np.where(weight > 0, np.maximum(parts, peak / steps), 0.0)
    exact = _shares(pools, exact)
    published = _shares(pools, weight.astype(np.float64))
    half_step = 0.5 * np.maximum.reduceat(published, first)[pools.edge_endpoint] / steps
    outside = np.abs(exact - published) > hysteresis * published + half_step + 1e-12
    flags: Flags = np.logical_or.reduceat(outside, first)
    return flags


def _shares(pools: Pools, values: Floats) -> Floats:
    total = np.add.reduceat(values, pools.start[:-1])[pools.edge_endpoint]
    return np.divide(values, total, out=np.zeros_like(values), where=total > 0)

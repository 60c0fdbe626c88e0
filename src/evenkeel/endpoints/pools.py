"""The region's pools as arrays: which load balancers may stand behind which endpoint (CSR, one edge a pair).

Load balancers and endpoints are numbered in name order. An endpoint's edges stand together, az by az, and within an
az by the pair's rendezvous score, best first: so a choice of members is a stable prefix walk, and one load
balancer more or less moves little (Thaler and Ravishankar, 1998).
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from evenkeel.model.region import Endpoint, LoadBalancer, Region

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Hashes = npt.NDArray[np.uint64]
Standings = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Pools:
    """Everything about the region that does not change while a Planner runs. Arrays are not to be written to.

    `start[e]:start[e + 1]` are the edges of endpoint `e`; `lb_edges[lb_start[l]:lb_start[l + 1]]` those of load
    balancer `l`. `place` orders an endpoint's edges by rendezvous score, 0 best.
    """

    load_balancers: tuple[LoadBalancer, ...]
    endpoints: tuple[Endpoint, ...]
    number_of: dict[str, int]  # of an endpoint
    lb_number_of: dict[str, int]
    demand: Floats
    members_min: Ints
    members_max: Ints
    size: Ints
    start: Ints
    edge_lb: Ints
    edge_endpoint: Ints
    edge_az: Ints
    place: Ints
    lb_start: Ints
    lb_edges: Ints
    has_a: Flags  # by edge: the endpoint wants IPv4 and the load balancer has it
    has_aaaa: Flags
    addresses: Ints  # by edge: how many the load balancer brings to the endpoint's answer
    mixed: Flags  # by endpoint: some of its load balancers lack a family that others have

    def edges_of(self, numbers: Ints) -> tuple[Ints, Ints]:
        """The edges of endpoints `numbers`, in order, and for each edge the position of its endpoint there."""
        if len(numbers) == len(self.endpoints):
            return np.arange(len(self.edge_lb), dtype=np.int32), self.edge_endpoint
        counts = self.size[numbers]
        segment = np.repeat(np.arange(len(numbers), dtype=np.int32), counts)
        first = np.cumsum(counts, dtype=np.int32) - counts
        offset = (self.start[numbers] - first)[segment]
        return np.arange(len(segment), dtype=np.int32) + offset, segment

    def endpoints_behind(self, load_balancers: Ints) -> Ints:
        """Numbers of the endpoints that any of `load_balancers` may serve, ascending."""
        marked = np.zeros(len(self.endpoints), dtype=np.bool_)
        for number in load_balancers:
            marked[self.edge_endpoint[self.lb_edges[self.lb_start[number] : self.lb_start[number + 1]]]] = True
        return np.flatnonzero(marked).astype(np.int32)


def pools_of(region: Region) -> Pools:
    """The pools of `region`. An endpoint of which no load balancer has an address it wants is left out."""
    balancers = tuple(region.load_balancers[name] for name in sorted(region.load_balancers))
    lb_number_of = {balancer.name: number for number, balancer in enumerate(balancers)}
    has_v4 = [bool(balancer.ipv4) for balancer in balancers]
    has_v6 = [bool(balancer.ipv6) for balancer in balancers]
    endpoints, members = [], []
    for name in sorted(region.endpoints):
        endpoint = region.endpoints[name]
        numbers = sorted({lb_number_of[each] for each in endpoint.load_balancers})
        usable = [n for n in numbers if (endpoint.ipv4 and has_v4[n]) or (endpoint.ipv6 and has_v6[n])]
        if usable:
            endpoints.append(endpoint)
            members.append(usable)
    return _arrays(region, balancers, lb_number_of, tuple(endpoints), members)


def _arrays(
    region: Region,
    balancers: tuple[LoadBalancer, ...],
    lb_number_of: dict[str, int],
    endpoints: tuple[Endpoint, ...],
    members: list[list[int]],
) -> Pools:
    size = np.fromiter((len(each) for each in members), np.int32, len(members))
    start = np.concatenate([[0], np.cumsum(size)]).astype(np.int32)
    edge_endpoint = np.repeat(np.arange(len(endpoints), dtype=np.int32), size)
    edge_lb = np.fromiter((n for each in members for n in each), np.int32, int(start[-1]))
    az_number_of = {az: number for number, az in enumerate(region.azs)}
    lb_az = np.array([az_number_of.setdefault(lb.az, len(az_number_of)) for lb in balancers], dtype=np.int32)
    score = _mixed(
        _hashes([e.name for e in endpoints])[edge_endpoint] ^ _hashes([lb.name for lb in balancers])[edge_lb]
    )
    # uint64 has no negative: the complement turns "highest first" into ascending order.
    order = np.lexsort((~score, lb_az[edge_lb], edge_endpoint))
    edge_lb, score = edge_lb[order], score[order]
    by_score = np.lexsort((~score, edge_endpoint))
    place = np.empty(len(edge_lb), dtype=np.int32)
    place[by_score] = np.arange(len(edge_lb), dtype=np.int32) - start[:-1][edge_endpoint]
    lb_edges = np.argsort(edge_lb, kind="stable").astype(np.int32)
    lb_start = np.concatenate([[0], np.cumsum(np.bincount(edge_lb, minlength=len(balancers)))]).astype(np.int32)
    count_a = np.array([len(lb.ipv4) for lb in balancers], dtype=np.int32)
    count_aaaa = np.array([len(lb.ipv6) for lb in balancers], dtype=np.int32)
    wants_a = np.array([e.ipv4 for e in endpoints], dtype=np.bool_)
    wants_aaaa = np.array([e.ipv6 for e in endpoints], dtype=np.bool_)
    has_a = wants_a[edge_endpoint] & (count_a > 0)[edge_lb]
    has_aaaa = wants_aaaa[edge_endpoint] & (count_aaaa > 0)[edge_lb]
    return Pools(
        load_balancers=balancers,
        endpoints=endpoints,
        number_of={endpoint.name: number for number, endpoint in enumerate(endpoints)},
        lb_number_of=lb_number_of,
        demand=np.array([e.demand for e in endpoints], dtype=np.float64),
        members_min=np.array([max(e.members_min, 1) for e in endpoints], dtype=np.int32),
        members_max=np.array([max(e.members_max, e.members_min, 1) for e in endpoints], dtype=np.int32),
        size=size,
        start=start,
        edge_lb=edge_lb,
        edge_endpoint=edge_endpoint,
        edge_az=lb_az[edge_lb],
        place=place,
        lb_start=lb_start,
        lb_edges=lb_edges,
        has_a=has_a,
        has_aaaa=has_aaaa,
        addresses=(count_a[edge_lb] * has_a + count_aaaa[edge_lb] * has_aaaa).astype(np.int32),
        mixed=_uneven(has_a, edge_endpoint, size) | _uneven(has_aaaa, edge_endpoint, size),
    )


def _uneven(has: Flags, edge_endpoint: Ints, size: Ints) -> Flags:
    """By endpoint: some of its edges have it and some do not."""
    count = np.bincount(edge_endpoint, weights=has, minlength=len(size))
    uneven: Flags = (count > 0) & (count < size)
    return uneven


def _hashes(names: list[str]) -> Hashes:
    return np.fromiter(
        (int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big") for name in names), np.uint64, len(names)
    )


def _mixed(values: Hashes) -> Hashes:
    """Every bit of the result hangs on every bit of the value (the finaliser of SplitMix64, Steele et al., 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))

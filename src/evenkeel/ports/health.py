"""The health of load balancers as a Planner takes it.

What a standing permits is part of the contract, so that a restart of anything never looks like a failure:

- `HEALTHY` may be published;
- `FAILED` may be removed (a quorum of vantage points said so);
- `DRAINING` takes no new clients: out, unless a floor needs it;
- `UNKNOWN` leaves a load balancer as it is published: neither removed nor added;
- `NEW` has never been decided since this reader started: not counted and not added, but what an earlier plan
  has published stays, for it may be the reader that is new.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from evenkeel.model.health import Health


class HealthReader(Protocol):
    """Verdicts of the quorum, for every load balancer of the region, always."""

    async def verdicts(self) -> Mapping[str, Health]:
        """The verdicts as they stand, by load balancer; every one of the region is there, `NEW` at first.

        A view, valid until the next call of this reader; keep a copy to compare later.
        """
        ...

    async def wait_changed(self, deadline_s: float) -> frozenset[str]:
        """Names whose verdict changed since the last call, at once when a standing did; empty after `deadline_s`.

        Changes of reported capacity or load alone do not end the wait; they are in the next reply.
        """
        ...

"""What a component is given by the process it runs in."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from evenkeel.adapters.secrets import read_secret
from evenkeel.model.region import Region
from evenkeel.ports.journal import Journal

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from structlog.typing import FilteringBoundLogger


@dataclass(slots=True)
class Runtime:
    """One component's surroundings. `main(runtime)` of its module returns soon after `stopping` is set.

    `status` is published as JSON at `/status`. Its values are read on the component's own event loop, so they
    need no lock; a value that is callable is called when somebody asks, which keeps costly ones free until then.
    """

    region: Region
    component: str
    journal: Journal
    log: FilteringBoundLogger
    registry: CollectorRegistry
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    supervisor: int = 0  # pid of `evenkeel up`, with which this process and what it starts are to end; 0: none
    status: dict[str, object] = field(default_factory=dict)

    def secret(self, name: str) -> str:
        """The token or TSIG secret of that name: `plan-store`, `health`, `tsig-<key name>`.

        Raises `InputError` where the file `<state_dir>/keys/<name>` is missing, empty or readable by others.
        """
        return read_secret(self.region.state_dir, name)

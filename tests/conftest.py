"""Where real servers are required, a test that was skipped for want of one fails (EVENKEEL_REQUIRE_SERVERS=1)."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from evenkeel.testing.servers import REQUIRE_SERVERS

# What a machine may lack without a promise being broken: no server stands behind these.
ALLOWED = ("IPv6", "recvmmsg", "systemd-analyze")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined] # pluggy's result, which a generator's type cannot say
    if not report.skipped or os.environ.get(REQUIRE_SERVERS) != "1" or hasattr(report, "wasxfail"):
        return
    reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
    if not any(allowed in reason for allowed in ALLOWED):
        report.outcome = "failed"
        report.longrepr = f"{REQUIRE_SERVERS}=1, but {item.nodeid} was skipped: {reason}"

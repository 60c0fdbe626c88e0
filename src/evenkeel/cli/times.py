"""Points in time as people write them on a command line."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from evenkeel.model.errors import InputError

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_AGO = re.compile(r"(\d{1,9})(s|m|h|d)\Z")


def since_ms(text: str, now_ms: int) -> int:
    """`10m`, `2h`, `1d` ago, or an ISO 8601 time (UTC unless it says otherwise), as Unix milliseconds."""
    match = _AGO.match(text.strip().lower())
    if match is not None:
        return now_ms - int(match[1]) * _UNITS_S[match[2]] * 1000
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InputError.one("--since", f"{text!r} is no time", "write 90s, 10m, 2h, 1d, or 2026-01-31T14:00") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1000)


def age_text(age_ms: int) -> str:
    """`4 s`, `3 min`, `2 h`, `5 d`: as exact as one looks at it."""
    seconds = max(0, age_ms) // 1000
    for limit, unit_s, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds // unit_s} {unit}"
    return f"{seconds // 86_400} d"

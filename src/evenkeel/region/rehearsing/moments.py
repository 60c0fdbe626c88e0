"""Times and spans as people write them in a scenario: `23:48`, `23:48:30`, `+10m`, `90s`, `1h30m`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from evenkeel.region.config.texts import BadText, shown

DAY_S = 86_400
SECOND_US = 1_000_000
_UNITS_S = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
SPAN_FORM = r"(\d{1,5}d)?(\d{1,5}h)?(\d{1,6}m)?(\d{1,8}(\.\d{1,6})?s|\d{1,9}ms)?"
CLOCK_FORM = r"\d{1,2}:\d{2}(:\d{2})?"
_SPAN = re.compile(r"(?:(\d{1,5})d)?(?:(\d{1,5})h)?(?:(\d{1,6})m(?!s))?(?:(\d{1,8})(?:\.(\d{1,6}))?s|(\d{1,9})ms)?\Z")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?\Z")


@dataclass(frozen=True, slots=True)
class Moment:
    """Either a time of the day or a span after the start."""

    clock_s: int = -1
    after_us: int = 0

    def at_us(self, starts_s: int) -> int:
        """Since a start at `starts_s` of the day; a time of the day is its next coming."""
        if self.clock_s < 0:
            return self.after_us
        return (self.clock_s - starts_s) % DAY_S * SECOND_US


def span_us(value: object) -> int:
    """`90s`, `250ms`, `1h30m` in microseconds. Raises `BadText`."""
    match = _SPAN.match(value) if isinstance(value, str) and value else None
    if match is None:
        raise BadText(f"{shown(value)} is not a span of time", 'write one such as "90s", "250ms", "10m" or "1h30m"')
    days, hours, minutes, seconds, fraction, milliseconds = match.groups()
    parts = zip((days, hours, minutes, seconds), (86_400, 3600, 60, 1), strict=True)
    whole_s = sum(int(number or 0) * unit_s for number, unit_s in parts)
    return whole_s * SECOND_US + int((fraction or "").ljust(6, "0")) + int(milliseconds or 0) * 1000


def clock_s(value: object) -> int:
    """`23:48` or `23:48:30` in seconds of the day. Raises `BadText`."""
    match = _CLOCK.match(value) if isinstance(value, str) else None
    if match is None or int(match[1]) > 23 or int(match[2]) > 59 or int(match[3] or 0) > 59:
        raise BadText(f"{shown(value)} is not a time of the day", 'write one such as "23:48" or "23:48:30"')
    return int(match[1]) * 3600 + int(match[2]) * 60 + int(match[3] or 0)


def moment(value: object) -> Moment:
    """A time of the day, or a span after the start with or without `+`. Raises `BadText`."""
    if isinstance(value, str) and ":" in value:
        return Moment(clock_s=clock_s(value))
    try:
        return Moment(after_us=span_us(value.removeprefix("+") if isinstance(value, str) else value))
    except BadText as error:
        mend = 'write a time such as "23:48", or a span after the start such as "+10m"'
        raise BadText(f"{shown(value)} is not a moment", mend) from error

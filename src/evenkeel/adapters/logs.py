"""Structured logs: one JSON object a line, through a logger that is handed on and never looked up.

structlog is used without its global configuration, so that tests and several regions in one process each own
theirs. Importing it costs an Enactor no more than it must: its console renderer would import rich.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

import msgspec

from evenkeel.adapters.lines import LineFile

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

INFO = 20


def log_path(state_dir: str, process: str) -> Path:
    return Path(state_dir) / "log" / f"{process}.log"


def file_log(state_dir: str, process: str) -> tuple[FilteringBoundLogger, LineFile]:
    """A logger into `<state_dir>/log/<process>.log`; close the file to have everything written."""
    lines = LineFile(log_path(state_dir, process), lost_line=_lost_line)
    return bound_log(process, lines.put), lines


def stderr_log(process: str) -> FilteringBoundLogger:
    """A logger to standard error, where systemd's journal picks it up."""

    def write(line: bytes) -> None:
        try:
            sys.stderr.buffer.write(line + b"\n")
            sys.stderr.buffer.flush()
        except (OSError, ValueError):
            pass  # nobody listens any more; a component does not end for that

    return bound_log(process, write)


def bound_log(process: str, write: Callable[[bytes], object], level: int = INFO) -> FilteringBoundLogger:
    """A logger that hands each encoded line to `write`."""
    with _without_rich():
        import structlog

    logger = structlog.wrap_logger(
        _Sink(write),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_to_json),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        context_class=dict,
        cache_logger_on_first_use=False,
    )
    return cast("FilteringBoundLogger", logger.bind(process=process))


def _to_json(entry: object, **_: object) -> str:
    return msgspec.json.encode(entry, enc_hook=repr).decode()


def _lost_line(count: int, reason: str) -> bytes:
    return msgspec.json.encode({"event": "log lines were lost", "count": count, "reason": reason})


class _Sink:
    """What structlog calls a logger: one method a level, each taking the rendered line."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write

    def msg(self, line: str) -> None:
        self._write(line.encode())

    debug = info = warning = warn = error = critical = exception = fatal = msg


class _without_rich:  # noqa: N801 - reads as a statement of its own
    """While structlog is imported for the first time, rich is not to be found."""

    def __enter__(self) -> None:
        self._is_hidden = "structlog" not in sys.modules and "rich" not in sys.modules
        if self._is_hidden:
            sys.modules["rich"] = None  # type: ignore[assignment] # the import system's own "absent"

    def __exit__(self, *_: object) -> None:
        if self._is_hidden:
            del sys.modules["rich"]

"""What every command shares: its options, and how it prints.

Text is for people, `--json` for programs: one JSON document on standard output (one a line where a command keeps
going), and nothing else there. Errors go to standard error in words, and under `--json` to standard output too.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from evenkeel.model.errors import EvenkeelError, InputError, InternalError
from evenkeel.model.events import Event
from evenkeel.model.region import Region

REGION_VARIABLE = "EVENKEEL_REGION"
REGION_DEFAULT = Path("region.toml")

RegionArgument = Annotated[
    Path, typer.Argument(envvar=REGION_VARIABLE, metavar="REGION.toml", help="The region's file.", show_default=True)
]
RegionOption = Annotated[
    Path,
    typer.Option("--region", "-r", envvar=REGION_VARIABLE, metavar="REGION.toml", help="The region's file."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def load_region(path: Path) -> Region:
    """The region in `path`. Raises `InputError` with every problem of the file."""
    from evenkeel.region.config import load  # pydantic is slow to import, and `--help` does without it

    if not path.exists():
        raise InputError.one(
            str(path),
            "there is no such file",
            f"name the region's file as an argument or in {REGION_VARIABLE}; docs/how-to/write-a-region.md shows one",
        )
    return load(path)


def print_json(value: object) -> None:
    """One JSON document on a line of its own."""
    _write(msgspec.json.encode(value, enc_hook=str, order="deterministic").decode() + "\n")


def plain(text: str) -> str:
    """`text` without control characters: what came over a network must not steer the operator's terminal."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def say(text: str = "") -> None:
    """Lines of text on standard output, control characters within a line made visible."""
    _write("\n".join(plain(line) for line in text.split("\n")) + "\n")


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (`head`, a closed pager) has what it wanted: nothing is wrong, and nothing more is said.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit from None


def event_line(event: Event) -> str:
    """One event for people: `14:03:07.123Z enactor-b    published      db.demo.example. g=146: ...`."""
    seconds, milliseconds = divmod(event.at_ms, 1000)
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
    about = " ".join(part for part in (event.endpoint, f"g={event.generation}" if event.generation else "") if part)
    # Most details spell their fields out already; `--json` has them all.
    extra = " ".join(f"{key}={value}" for key, value in sorted(event.fields.items()) if value not in event.detail)
    told = "  ".join(part for part in (about, event.detail, extra) if part)
    return plain(f"{at}.{milliseconds:03d}Z  {event.process:<12} {event.kind.value:<14} {told}")


def report_error(error: Exception, *, as_json: bool) -> int:
    """Tell the user what went wrong; returns the exit code."""
    exit_code = error.exit_code if isinstance(error, EvenkeelError) else InternalError.exit_code
    kind = type(error).__name__ if isinstance(error, EvenkeelError) else InternalError.__name__
    text = str(error) or repr(error)
    if as_json:
        problems = error.problems if isinstance(error, InputError) else ()
        print_json({"error": text, "kind": kind, "exit_code": exit_code, "problems": problems})
    sys.stderr.write("error: " + "\n".join(map(plain, text.split("\n"))) + "\n")
    if kind == InternalError.__name__:
        sys.stderr.write(
            "This is a fault of evenkeel's own. Please report it with the lines above and `evenkeel --version`.\n"
        )
    return exit_code


def wants_json() -> bool:
    """Whether `--json` stands on the command line, for errors that come before it is parsed."""
    return "--json" in sys.argv[1:]


def is_terminal() -> bool:
    """Whether a person looks at standard output, on something that can be redrawn."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"

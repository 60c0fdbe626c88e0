"""The `evenkeel` command: one module a group of verbs, one place where errors become exit codes.

Exit codes: 0 good; 1 the answer is bad, or a safeguard refused; 2 wrong input; 3 not finished within its bounds.
"""

from __future__ import annotations

import sys
import traceback
from typing import Annotated

import typer

from evenkeel import __version__
from evenkeel.cli import check, files, fleet, levers, planning, rehearse, reporting, running, watching
from evenkeel.cli.output import report_error, wants_json
from evenkeel.model.errors import EvenkeelError, InternalError

app = typer.Typer(
    name="evenkeel",
    help="A region's control plane that stays on an even keel: redundant DNS automation that cannot empty a record.",
    epilog="Exit codes: 0 good; 1 the answer is bad, or refused; 2 wrong input; 3 not finished within its bounds.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (running, reporting, watching, planning, check, rehearse, fleet, files, levers):
    group.add_to(app)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"evenkeel {__version__}")
        raise typer.Exit


@app.callback()
def _evenkeel(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options that stand before the verb."""


def main() -> None:
    """The entry point of the `evenkeel` script."""
    try:
        app()
    except EvenkeelError as error:
        if isinstance(error, InternalError):
            traceback.print_exc()
        sys.exit(report_error(error, as_json=wants_json()))
    except Exception as error:
        traceback.print_exc()  # no mistake of the user's: what went wrong has to be seen to be reported
        sys.exit(report_error(error, as_json=wants_json()))


if __name__ == "__main__":
    main()

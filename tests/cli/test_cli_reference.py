"""The reference says every verb and every option that there is, and the command has every one that it says."""

from __future__ import annotations

import re
from pathlib import Path

import typer

from evenkeel.cli.main import app

PAGES = sorted((Path(__file__).parents[2] / "docs" / "reference").glob("*.md"))  # a verb may have a page of its own
REFERENCE = "\n".join(page.read_text() for page in PAGES)
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined] # a group, as several verbs make it


def options() -> set[str]:
    found: set[str] = set()
    for command in (typer.main.get_command(app), *COMMANDS.values()):
        for parameter in command.params:
            found.update(name for name in (*parameter.opts, *parameter.secondary_opts) if name.startswith("--"))
    return found - {"--view"}  # told by its opposite


def test_every_verb_is_in_the_reference() -> None:
    assert [verb for verb in COMMANDS if f"`evenkeel {verb}" not in REFERENCE] == []


def test_every_option_is_in_the_reference() -> None:
    assert sorted(name for name in options() if f"{name}" not in REFERENCE) == []


def test_the_reference_names_no_option_that_is_not_there() -> None:
    told = set(re.findall(r"--[a-z][a-z-]*", next(page for page in PAGES if page.name == "cli.md").read_text()))
    assert sorted(told - options() - {"--help"}) == []


def test_every_verb_but_schema_has_json() -> None:
    without = {verb for verb, command in COMMANDS.items() if not any("--json" in each.opts for each in command.params)}
    assert without == {"schema"}

"""The accounts of an endpoint template: from a list, from a file, or counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from evenkeel.region.config import patterns, texts
from evenkeel.region.config.documents import read_text
from evenkeel.region.config.limits import ENDPOINTS_MAX
from evenkeel.region.config.report import Place, Report
from evenkeel.region.config.shapes import EndpointTemplateTable
from evenkeel.region.config.tables import Entry


def accounts(entry: Entry[EndpointTemplateTable], folder: Path, report: Report) -> Iterator[tuple[str, Place]]:
    """Every sound account of the template, with the place that it comes from."""
    table, place = entry.table.accounts, entry.place.at("accounts")
    given = [key for key in ("names", "file", "count") if getattr(table, key) is not None]
    if len(given) != 1:
        what = " and ".join(f"`{key}`" for key in given) + " are given" if given else "no accounts are given"
        report.add(place, what, "give exactly one of `names`, `file` and `count`")
        return
    if table.names is not None:
        yield from _sound(((name, place.at("names", index)) for index, name in enumerate(table.names)), report)
    elif table.file is not None:
        yield from _from_file(table.file, place.at("file"), folder, report)
    elif table.count is not None:
        yield from _counted(entry, place, report)


def _counted(entry: Entry[EndpointTemplateTable], place: Place, report: Report) -> Iterator[tuple[str, Place]]:
    table = entry.table.accounts
    try:
        pattern = patterns.parse(table.pattern, ("n",), needed=("n",))
        texts.account(pattern.fill({"n": table.first}))
    except texts.BadText as error:
        report.add(place.at("pattern"), error.what, error.mend)
        return
    for number in range(table.first, table.first + (table.count or 0)):
        yield pattern.fill({"n": number}), place


def _from_file(file: str, place: Place, folder: Path, report: Report) -> Iterator[tuple[str, Place]]:
    path = folder / file
    try:
        lines = read_text(path).splitlines()
    except texts.BadText as error:
        report.add(place, error.what, error.mend)
        return
    named = ((line.partition("#")[0].strip(), number) for number, line in enumerate(lines, 1))
    found = [(name, number) for name, number in named if name]
    if not found:
        report.add(place, f"{path} names no account", "write one a line")
    if len(found) > ENDPOINTS_MAX:
        report.add(place, f"{path} names {len(found)} accounts, more than {ENDPOINTS_MAX}", "split the region")
        return
    for name, number in found:
        try:
            yield texts.account(name), place
        except texts.BadText as error:
            report.add_elsewhere(f"{path}:{number}", place, error.what, error.mend)


def _sound(named: Iterable[tuple[str, Place]], report: Report) -> Iterator[tuple[str, Place]]:
    for name, place in named:
        try:
            yield texts.account(name), place
        except texts.BadText as error:
            report.add(place, error.what, error.mend)

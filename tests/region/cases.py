"""Cases in plain text: a good region file, changes to it, and the whole report on each (data/*.txt).

A file begins with a good region.toml. Every case has a title (`## ...`), changes (`- ` lines stand in the file and give
way to the `+ ` lines after them; `+ ` lines alone go to its end), and the report, word for word.

`python -m tests.region.cases` writes the reports anew; read the difference before it is committed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from evenkeel.model.errors import InputError
from evenkeel.region.config import load

DATA = Path(__file__).parent / "data"
FILES = ("mistakes.txt", "template-mistakes.txt", "addresses.txt", "circles.txt")


@dataclass(frozen=True, slots=True)
class Case:
    """`text` is the region file with its changes; `changes` the lines that made it; `report` what is expected."""

    title: str
    text: str
    changes: str
    report: str


def base_of(name: str) -> str:
    """The good region.toml that a file of cases begins with."""
    return (DATA / name).read_text(encoding="utf-8").split("\n## ")[0].rstrip("\n") + "\n"


def cases(name: str) -> Iterator[Case]:
    base = base_of(name)
    for block in (DATA / name).read_text(encoding="utf-8").split("\n## ")[1:]:
        title, *lines = block.strip("\n").split("\n")
        changes = [line for line in lines if line[:2] in ("- ", "+ ", "+")]
        report = [line for line in lines if line not in changes]
        yield Case(title, _changed(base, changes), "\n".join(changes), "\n".join(report))


def report_on(text: str, folder: Path) -> str:
    """The report on a region file with that text; "good" where there is none."""
    path = folder / "region.toml"
    path.write_text(text, encoding="utf-8")
    try:
        load(path)
    except InputError as error:
        return str(error).replace(f"{folder}/", "")
    return "good"


def _changed(base: str, changes: list[str]) -> str:
    blocks = [
        (sign, "".join(f"{line[2:]}\n" for line in lines)) for sign, lines in groupby(changes, lambda line: line[0])
    ]
    for place, (sign, block) in enumerate(blocks):
        if sign == "-":
            assert base.count(block) == 1, f"stands {base.count(block)} times: {block}"
            new = blocks[place + 1][1] if place + 1 < len(blocks) else ""
            base = base.replace(block, new)
        elif place == 0:
            base = f"{base}\n{block}"
    return base


def main() -> None:
    for name in FILES:
        text = base_of(name)
        for case in cases(name):
            with tempfile.TemporaryDirectory() as folder:
                report = report_on(case.text, Path(folder))
            text += f"\n## {case.title}\n{case.changes}\n{report}\n"
        (DATA / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

"""Region files for tests: a small good one, changed line by line."""

from __future__ import annotations

from pathlib import Path

import pytest

from evenkeel.model.errors import InputError, Problem
from evenkeel.model.region import Region
from evenkeel.region.config import load

SMALL = """
[region]
name = "demo"
azs = ["a", "b", "c"]

[[zone]]
name = "demo.example"

[[load-balancer-group]]
name = "edge"
count = 2
ipv4-first = "192.0.2.11"

[[endpoint]]
name = "db.demo.example"
groups = ["edge"]
"""


def loaded(folder: Path, text: str) -> Region:
    path = folder / "region.toml"
    path.write_text(text, encoding="utf-8")
    return load(path)


def problems(folder: Path, text: str) -> tuple[Problem, ...]:
    """What is wrong with `text`, with file names instead of paths."""
    with pytest.raises(InputError) as caught:
        loaded(folder, text)
    prefix = f"{folder}/"
    return tuple(
        Problem(problem.where.replace(prefix, ""), problem.what.replace(prefix, ""), problem.mend.replace(prefix, ""))
        for problem in caught.value.problems
    )


def only_problem(folder: Path, text: str) -> Problem:
    """The one thing wrong with `text`."""
    found = problems(folder, text)
    assert len(found) == 1, "\n".join(map(str, found))
    return found[0]

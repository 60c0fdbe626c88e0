"""The report on a file: every problem in it, with its place, the offending value and the mend."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from evenkeel.model.errors import InputError, Problem
from evenkeel.region.config.lines import Keys, line_numbers
from evenkeel.region.config.texts import plain

PROBLEMS_MAX = 1_000  # a file with more has one cause that the first of them show


@dataclass(frozen=True, slots=True)
class Place:
    """A key path; `name` is that of the item it runs through, since people do not count items."""

    keys: Keys = ()
    name: str = ""

    def at(self, *keys: str | int) -> Place:
        return Place(self.keys + keys, self.name)

    def __str__(self) -> str:
        path = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in self.keys).removeprefix(".")
        return plain(f"{path} ({self.name})" if self.name else path)


class Report:
    """Collects problems; `raise_if_any` gives them in the order of the file."""

    def __init__(self, file: str, text: str) -> None:
        self._file = file
        self._text = text
        self._found: dict[Problem, int] = {}  # the line of each
        self._omitted = 0

    def add(self, place: Place, what: str, mend: str) -> None:
        line = self._line(place.keys)
        where = f"{self._file}:{line}" if line else self._file
        self._keep(line, Problem(f"{where}: {place}" if place.keys else where, what, mend))

    def add_elsewhere(self, where: str, place: Place, what: str, mend: str) -> None:
        """A problem in another file, `where`, which is named at `place` of this one."""
        self._keep(self._line(place.keys), Problem(where, what, mend))

    def is_written(self, place: Place) -> bool:
        """Whether the key at `place` stands in the file, rather than being a default."""
        return place.keys in self._lines

    def raise_if_any(self) -> None:
        """Raises `InputError` with every problem found."""
        if not self._found:
            return
        problems = sorted(self._found, key=self._found.__getitem__)
        if self._omitted:
            problems.append(Problem(self._file, f"and {self._omitted} problems more", "mend those above first"))
        raise InputError(problems)

    def _keep(self, line: int, problem: Problem) -> None:
        if len(self._found) < PROBLEMS_MAX:
            self._found.setdefault(problem, line)  # what is inherited shows at every heir, and is told once
        else:
            self._omitted += 1

    @cached_property
    def _lines(self) -> dict[Keys, int]:
        return line_numbers(self._text)

    def _line(self, keys: Keys) -> int:
        """The line of the innermost key that has one of its own; 0 where there is none."""
        for length in range(len(keys), 0, -1):
            if keys[:length] in self._lines:
                return self._lines[keys[:length]]
        return 0

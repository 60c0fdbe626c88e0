"""Texts with holes: `127.0.1.{n}`, `{group}-{az}-{i}`, `acct-{n:04}`.

A hole is a variable's name in braces; `:04` pads a number with zeros to four digits. Nothing else is special, and
there is no escape: neither addresses nor names hold braces.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from evenkeel.region.config.texts import BadText, shown

_HOLE = re.compile(r"\{([a-z]+)(?::0([1-9]))?\}")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A parsed pattern. `pieces` are literals and holes in turn: literal, hole, literal, ..., literal."""

    text: str
    literals: tuple[str, ...]
    holes: tuple[tuple[str, int], ...]  # variable, digits to pad to (0: as it is)

    def fill(self, values: Mapping[str, str | int]) -> str:
        pieces = [self.literals[0]]
        for (variable, digits), literal in zip(self.holes, self.literals[1:], strict=True):
            pieces.append(str(values[variable]).zfill(digits))
            pieces.append(literal)
        return "".join(pieces)


def parse(text: object, variables: tuple[str, ...], needed: tuple[str, ...] = ()) -> Pattern:
    """`text` as a pattern over `variables`, each of `needed` in it. Raises `BadText`."""
    known = " ".join(f"{{{variable}}}" for variable in variables)
    if not isinstance(text, str):
        raise BadText(f"{shown(text)} is not a pattern", f"write a text, with the variables {known} in it")
    literals: list[str] = []
    holes: list[tuple[str, int]] = []
    end = 0
    for match in _HOLE.finditer(text):
        literals.append(text[end : match.start()])
        holes.append((match[1], int(match[2] or 0)))
        end = match.end()
    literals.append(text[end:])
    if any("{" in literal or "}" in literal for literal in literals):
        raise BadText(f"{shown(text)} has a brace that opens or closes nothing", f"the variables here are {known}")
    for variable, _ in holes:
        if variable not in variables:
            raise BadText(
                f"{shown(text)} asks for {{{variable}}}, which is not known here", f"the variables here are {known}"
            )
    for variable in needed:
        if variable not in dict(holes):
            raise BadText(f"{shown(text)} gives every one the same text", f"put {{{variable}}} into it")
    return Pattern(text, tuple(literals), tuple(holes))

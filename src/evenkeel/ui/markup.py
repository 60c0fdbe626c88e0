"""HTML from plain values: everything that goes in is escaped, but for what this module made itself."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence


class Markup(str):
    """HTML that may stand in a page as it is."""

    __slots__ = ()


Child = str | int | float | None


def escaped(child: Child) -> str:
    if child is None:
        return ""
    return child if isinstance(child, Markup) else html.escape(str(child))


def element(tag: str, *children: Child, kind: str = "", **attributes: str) -> Markup:
    """`<tag class=kind ...>children</tag>`; an underscore in an attribute's name is a hyphen."""
    named = {"class": kind, **attributes}
    shown = "".join(f' {name.replace("_", "-")}="{html.escape(value)}"' for name, value in named.items() if value)
    return Markup(f"<{tag}{shown}>{''.join(map(escaped, children))}</{tag}>")


def joined(children: Iterable[Child]) -> Markup:
    return Markup("".join(map(escaped, children)))


def row(cells: Sequence[Child], kinds: Sequence[str] = (), kind: str = "", tag: str = "td") -> Markup:
    """One row; `kinds` are the classes of its cells."""
    padded = [*kinds, *[""] * (len(cells) - len(kinds))]
    return element("tr", *(element(tag, cell, kind=each) for cell, each in zip(cells, padded, strict=True)), kind=kind)


def table(head: Sequence[str], rows: Iterable[Markup], kinds: Sequence[str] = ()) -> Markup:
    return element("table", element("thead", row(head, kinds, tag="th")), element("tbody", *rows))

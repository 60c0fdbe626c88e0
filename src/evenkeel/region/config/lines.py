"""Which line of a TOML text a key stands in, for error reports; the parser itself does not say.

The text is known to be valid TOML. One pass over its lines, stepping over what a value continues onto.
"""

from __future__ import annotations

import re

Keys = tuple[str | int, ...]

_KEY = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_KEYS = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_ONE_KEY = re.compile(_KEY)
_HEADER = re.compile(rf"\s*(\[\[?)\s*({_KEYS})\s*\]")
_ASSIGNMENT = re.compile(rf"\s*({_KEYS})\s*=\s*(.*)", re.DOTALL)
# What decides whether a value goes on: strings whole, brackets, the rest of a line after a comment sign.
_TOKEN = re.compile(r'"""|\'\'\'|"(?:[^"\\]|\\.)*"|\'[^\']*\'|[\[\]]|#.*')
_END = {'"""': re.compile(r'(?:[^"\\]|\\.|"(?!""))*"{3,5}', re.DOTALL), "'''": re.compile(r"(?:[^']|'(?!''))*'{3,5}")}


def line_numbers(text: str) -> dict[Keys, int]:
    """Lines, counted from 1, of every table header and key; `("endpoint", 3)`, `("endpoint", 3, "ttl-s")`."""
    found: dict[Keys, int] = {}
    lasts: dict[Keys, int] = {}  # array of tables -> index of its latest one
    table: Keys = ()
    position, line = 0, 1
    while position < len(text):
        line_end = text.find("\n", position)
        end = len(text) if line_end < 0 else line_end + 1
        header = _HEADER.match(text, position, end)
        if header:
            table = _opened(_split(header[2]), header[1] == "[[", lasts)
            found.setdefault(table, line)
            if isinstance(table[-1], int):
                found.setdefault(table[:-1], line)  # the array as a whole stands where its first table does
        else:
            assignment = _ASSIGNMENT.match(text, position, end)
            if assignment:
                found.setdefault(table + _split(assignment[1]), line)
                end = _value_end(text, assignment.start(2), end)
        line += text.count("\n", position, end)
        position = end
    return found


def _split(keys: str) -> Keys:
    return tuple(key[1:-1] if key[0] in "\"'" else key for key in _ONE_KEY.findall(keys))


def _opened(keys: Keys, is_array: bool, lasts: dict[Keys, int]) -> Keys:
    """The path of the table that a header opens: what is an array of tables on the way stands for its latest one."""
    path: Keys = ()
    for place, key in enumerate(keys):
        path += (key,)
        if is_array and place == len(keys) - 1:
            lasts[path] = lasts.get(path, -1) + 1
        if path in lasts:
            path += (lasts[path],)
    return path


def _value_end(text: str, position: int, line_end: int) -> int:
    """Where the line ends in which the value that begins at `position` does."""
    depth = 0
    while True:
        token = _TOKEN.search(text, position, line_end)
        if token is None:
            if depth <= 0 or line_end >= len(text):
                return line_end
            position = line_end
        else:
            position = token.end()
            if token[0] in _END:
                rest = _END[token[0]].match(text, position)
                position = rest.end() if rest else len(text)
            else:
                depth += {"[": 1, "]": -1}.get(token[0], 0)
        if position >= line_end:
            next_line = text.find("\n", position)
            line_end = len(text) if next_line < 0 else next_line + 1

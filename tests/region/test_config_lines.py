"""Lines of keys, which error reports name."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenkeel.region.config.lines import line_numbers
from tests.region.cases import DATA


def test_every_table_and_key_has_its_line() -> None:
    text = (DATA / "lines.toml").read_text(encoding="utf-8")
    tomllib.loads(text)
    assert line_numbers(text) == {
        ("top",): 2,
        ("region",): 3,
        ("region", "name"): 4,
        ("region", "azs"): 5,
        ("region", "text"): 9,
        ("region", "after"): 12,
        ("endpoint",): 14,
        ("endpoint", 0): 14,
        ("endpoint", 0, "quoted key"): 15,
        ("endpoint", 0, "probe"): 17,
        ("endpoint", 0, "probe", "port"): 18,
        ("endpoint", 1): 19,
        ("endpoint", 1, "probe", "port"): 20,
        ("endpoint", 1, "probe2"): 21,
        ("endpoint", 1, "probe2", "last"): 22,
    }


@pytest.mark.parametrize("text", ["", "\n", "#", "a = 1", "[a]", "a = ''", 'a = """"""'])
def test_texts_without_a_last_line_end_are_read_to_their_end(text: str) -> None:
    tomllib.loads(text)
    assert all(line == 1 for line in line_numbers(text).values())


VALUES = st.recursive(
    st.sampled_from(["1", '"x"', "'#'", '"]"', '"\\\\\\""', '"""a\n[b]\nc = 1\n"""', "'''\n]\n'''", "true"]),
    lambda inner: st.lists(inner, max_size=4).map(lambda items: "[" + ",\n # ]\n".join(items) + "]"),
    max_leaves=8,
)


@given(st.lists(VALUES, max_size=12), st.sampled_from(["[[t]]", "[t{n}]", ""]))
def test_a_key_is_found_in_its_line_whatever_values_stand_before_it(values: list[str], header: str) -> None:
    lines: list[str] = []
    expected: dict[str, int] = {}
    for number, value in enumerate(values):
        if header:
            lines.append(header.replace("{n}", str(number)))
        expected[f"key{number}"] = sum(line.count("\n") + 1 for line in lines) + 1
        lines.append(f"key{number} = {value}")
    text = "\n".join(lines)
    document: dict[str, Any] = tomllib.loads(text)
    found = {keys[-1]: line for keys, line in line_numbers(text).items() if str(keys[-1]).startswith("key")}
    assert found == expected
    assert bool(document) == bool(values)

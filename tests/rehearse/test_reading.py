"""Scenario files: times, spans, names; every mistake at once with its place and mend."""

from __future__ import annotations

import contextlib
import tomllib
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenkeel.model.errors import InputError
from evenkeel.region.config.texts import BadText
from evenkeel.region.rehearsing.moments import clock_s, moment, span_us
from evenkeel.region.rehearsing.packaged import FOLDER, packaged, scenario_path
from evenkeel.region.rehearsing.reading import read_scenario
from evenkeel.region.rehearsing.reference import REFERENCE, with_tables
from evenkeel.region.rehearsing.rehearse import rehearse
from evenkeel.region.rehearsing.schema import schema

REGION = (FOLDER / "regions" / "small.toml").as_posix()
SPAN_MEND = '\n    mend: write one such as "90s", "250ms", "10m" or "1h30m"'
HEAD = f'[scenario]\ntitle = "t"\nregion = "{REGION}"\nlasts = "10m"\nstarts = "23:50"\n'


def problems(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "scenario.toml"
    path.write_text(text)
    with pytest.raises(InputError) as raised:
        read_scenario(path)
    return [str(problem).replace(str(path), "FILE") for problem in raised.value.problems]


@pytest.mark.parametrize(
    ("text", "us"),
    [("90s", 90_000_000), ("1h30m", 5_400_000_000), ("250ms", 250_000), ("1.5s", 1_500_000), ("2d", 172_800_000_000)],
)
def test_spans_are_read(text: str, us: int) -> None:
    assert span_us(text) == us


@given(st.text(max_size=8))
def test_a_span_is_read_or_refused_and_nothing_else(text: str) -> None:
    with contextlib.suppress(BadText):
        assert span_us(text) >= 0


def test_a_time_of_the_day_is_its_next_coming_after_the_start() -> None:
    starts_s = clock_s("23:50")
    assert moment("23:55").at_us(starts_s) == 300_000_000
    assert moment("00:05").at_us(starts_s) == 900_000_000
    assert moment("+10m").at_us(starts_s) == moment("10m").at_us(starts_s) == 600_000_000


def test_every_mistake_is_told_with_its_line_and_its_mend(tmp_path: Path) -> None:
    text = HEAD + (
        '[[step]]\nat = "25:00"\ndo = "pawse"\nfor = "ten minutes"\nnht = 3\n'
        '[[must]]\nholds = "never-emtpy"\n'
        '[[clients]]\nname = "c"\nendpoint = "db.demo.example"\nclients = 0\nresolvers = "many"\n'
    )
    assert problems(tmp_path, text) == [
        'FILE:7: step[0].at: "25:00" is not a time of the day\n    mend: write one such as "23:48" or "23:48:30"',
        'FILE:8: step[0].do: "pawse" is not known here\n    mend: did you mean `pause`?',
        'FILE:9: step[0].for: "ten minutes" is not a span of time' + SPAN_MEND,
        "FILE:10: step[0].nht: unknown key\n    mend: did you mean `nth`?",
        'FILE:12: must[0].holds: "never-emtpy" is not known here\n    mend: did you mean `never-empty`?',
        "FILE:16: clients[0].clients: 0 is out of range\n    mend: use a number of at least 1",
        'FILE:17: clients[0].resolvers: "many" is not a whole number\n    mend: write it without quotes',
    ]


def test_names_that_the_region_does_not_have_are_told(tmp_path: Path) -> None:
    text = HEAD + (
        '[[step]]\nat = "23:55"\ndo = "crash"\ncomponent = "enactor-z"\n'
        '[[step]]\nat = "23:55"\ndo = "az-down"\ncomponent = "z"\n'
        '[[clients]]\nname = "c"\nendpoint = "nowhere.example"\nclients = 5\nresolvers = 9\n'
        '[world]\nlatency = "warp"\n'
    )
    told = problems(tmp_path, text)
    assert [problem.partition("\n")[0] for problem in told] == [
        "FILE:9: step[0].component: 'enactor-z' is no component of the region",
        "FILE:13: step[1].component: 'z' is no az of the region",
        "FILE:16: clients[0].endpoint (c): 'nowhere.example' is no endpoint of the region",
        "FILE:18: clients[0].resolvers (c): more resolvers than clients",
        "FILE:20: world.latency: there is no latency 'warp'",
    ]


def test_an_unknown_name_lists_the_ready_scenarios() -> None:
    with pytest.raises(InputError, match="october-2025"):
        scenario_path("octember")


@pytest.mark.parametrize("name", packaged())
def test_ready_scenarios_are_what_the_schema_says(name: str) -> None:
    document = tomllib.loads(packaged()[name].read_text())
    jsonschema.Draft202012Validator(schema()).validate(document)
    assert read_scenario(packaged()[name]).script.title


def test_the_reference_is_what_the_code_says() -> None:
    page = Path(__file__).parents[2] / REFERENCE
    assert page.read_text() == with_tables(page.read_text()), "run python -m evenkeel.region.rehearsing.reference"


def test_the_how_to_s_scenario_can_be_read_and_ends_well(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "how-to" / "rehearse-a-fault.md").read_text()
    block = text.partition("    #:schema scenario.schema.json\n")[2].partition("\nRun it:")[0]
    scenario = tmp_path / "restart.toml"
    scenario.write_text("\n".join(line.removeprefix("    ") for line in block.split("\n")))
    (tmp_path / "region.toml").write_text(Path(REGION).read_text())
    outcome = rehearse(read_scenario(scenario))
    assert outcome.is_good, outcome.failures
    assert outcome.clients["shop"].failed > 0

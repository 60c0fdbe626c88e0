"""Reports and the command: what people and programs see."""

from __future__ import annotations

import json
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evenkeel.adapters.journal import FileJournal
from evenkeel.cli.main import app
from evenkeel.model.events import Event, EventKind
from evenkeel.region.rehearsing.packaged import packaged
from evenkeel.region.rehearsing.reading import read_scenario
from evenkeel.region.rehearsing.rehearse import rehearse
from evenkeel.region.rehearsing.validate import validate_events
from evenkeel.ui.markdown import markdown_report
from evenkeel.ui.markup import Markup, element
from evenkeel.ui.page import page


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["rehearse", *arguments])
    return result.exit_code, result.output


class Balanced(HTMLParser):
    """Fails where an element is closed that was not opened."""

    VOID = frozenset({"meta", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        assert not {name for name, _ in attrs} & {"src", "href"}, "nothing is fetched from elsewhere"
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_stands_alone_and_is_well_formed() -> None:
    race = read_scenario(packaged()["race"])
    text = page([rehearse(race, policy="october-2025"), rehearse(race)])
    parser = Balanced()
    parser.feed(text)
    assert parser.open == []
    assert {"figure", "table", "script", "details"} <= parser.seen
    assert text.count("data-figure=") >= 4
    assert "no address is left" in text


def test_what_goes_into_a_page_is_escaped() -> None:
    assert element("p", "<script>", kind='x"y') == '<p class="x&quot;y">&lt;script&gt;</p>'
    assert element("p", Markup("<b>1</b>")) == "<p><b>1</b></p>"


def test_markdown_tells_the_same_story() -> None:
    race = read_scenario(packaged()["race"])
    text = markdown_report([rehearse(race, policy="october-2025"), rehearse(race)])
    assert "| empty answers | 1 | 0 |" in text
    assert "whose records are gone already: no address is left" in text


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium (Debian: chromium)")
def test_the_page_draws_its_figures_in_a_browser(tmp_path: Path) -> None:
    file = tmp_path / "race.html"
    race = read_scenario(packaged()["race"])
    file.write_text(page([rehearse(race, policy="october-2025")]))
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=6000"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", file.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout
    assert shown.count('class="main-svg"') >= 4, "figures are drawn as SVG by the script in the page"


# --- the command --------------------------------------------------------------------------------------------


def test_a_good_rehearsal_ends_with_0_and_a_bad_one_with_1() -> None:
    code, text = run("race")
    assert (code, "GOOD" in text) == (0, True)
    code, text = run("race", "--policy", "october-2025")
    assert (code, "BAD: never-empty is broken" in text) == (1, True)


def test_json_is_one_document_and_a_second_run_repeats_its_digest() -> None:
    code, text = run("bad-plan", "--json")
    assert code == 0
    _, again = run("bad-plan", "--json")
    assert json.loads(text)["digest"] == json.loads(again)["digest"]


def test_a_search_prints_the_faults_that_are_left(tmp_path: Path) -> None:
    code, text = run("race", "--policy", "check-references", "--seeds", "7..8", "--workers", "1", "--json")
    found = json.loads(text)
    assert (code, found["good"]) == (1, False)
    assert 1 <= len(found["shrunk"]["faults"]) <= 3
    code, text = run("race", "--policy", "check-references", "--seed", str(found["shrunk"]["seed"]))
    assert code == 1


def test_reports_and_traces_are_written_where_they_are_asked_for(tmp_path: Path) -> None:
    page_file, notes, trace = tmp_path / "r.html", tmp_path / "r.md", tmp_path / "r.trace"
    code, _ = run("race", "--report", str(page_file), "--markdown", str(notes), "--trace", str(trace))
    assert code == 0
    assert page_file.read_text().startswith("<!doctype html>")
    assert notes.read_text().startswith("# ")
    assert " > nameserver " in trace.read_text()


def test_scenarios_are_listed_and_their_schema_printed() -> None:
    _, text = run("--list", "--json")
    assert {"october-2025", "race"} <= {row["name"] for row in json.loads(text)["scenarios"]}
    _, text = run("--schema")
    assert json.loads(text)["title"] == "scenario"


# --- a live journal ---------------------------------------------------------------------------------------------


def published(process: str, generation: int, at_ms: int = 0) -> Event:
    return Event(at_ms, process, EventKind.PUBLISHED, "db.demo.example.", generation)


def appended(process: str, generation: int) -> Event:
    return Event(0, process, EventKind.PLAN_APPENDED, "", generation)


def test_a_journal_of_a_sound_region_follows_from_the_twins_whatever_its_clocks_say() -> None:
    events = [appended("p-1", 1), appended("p-2", 2), appended("p-1", 3)]
    events += [published("e-a", 1, at_ms=50), published("e-b", 2, at_ms=10), published("e-a", 3, at_ms=5)]
    assert validate_events(events).is_good


def test_what_the_twins_would_not_have_done_is_told() -> None:
    twice = validate_events([appended("p-1", 1), appended("p-2", 1)])
    assert {broken.rule for broken in twice.broken} == {"append", "one-appends"}
    back = validate_events([appended("p-1", 1), appended("p-1", 2), published("e-a", 2), published("e-a", 1)])
    assert [broken.rule for broken in back.broken] == ["fence-never-back"]
    again = validate_events([appended("p-1", 1), published("e-a", 1), published("e-b", 1)])
    assert [broken.rule for broken in again.broken] == ["flip"]
    wedged = validate_events([Event(0, "e-a", EventKind.WEDGED, "db.demo.example.")])
    assert not wedged.is_good


def test_an_append_that_nobody_recorded_is_a_gap_and_no_fault() -> None:
    found = validate_events([appended("p-1", 1), published("e-a", 1), published("e-a", 2)])
    assert (found.is_good, found.gaps) == (True, [2])


def test_a_journal_on_disk_is_validated_by_the_command(tmp_path: Path) -> None:
    journal = FileJournal(str(tmp_path), "enactor-a")
    journal.record(EventKind.PUBLISHED, endpoint="db.demo.example.", generation=4)
    journal.record(EventKind.PUBLISHED, endpoint="db.demo.example.", generation=3)
    journal.close()
    code, text = run("--validate", str(tmp_path / "journal"))
    assert (code, "fence-never-back" in text) == (1, True)
    code, _ = run("--validate", str(tmp_path / "nowhere"))
    assert code != 0

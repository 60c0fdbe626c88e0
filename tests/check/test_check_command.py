"""`evenkeel check` as a user calls it: exit codes, JSON, files, a trace taken again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from evenkeel.cli.main import app
from evenkeel.model.errors import InputError
from tests.cli.running import write_region

SMALL = ["--enactors", "2", "--plans", "3", "--endpoints", "1", "--keep", "1"]


def run(*args: str) -> Result:
    return CliRunner().invoke(app, ["check", *args])


def as_json(*args: str) -> tuple[int, Any]:
    result = run(*args, "--json")
    return result.exit_code, json.loads(result.stdout)


def test_october_is_violated_and_the_document_says_how() -> None:
    code, said = as_json("--policy", "october-2025", *SMALL)
    assert code == 1
    assert (said["verdict"], said["property"], said["states"]) == ("violated", "never-empty", 1015)
    assert said["wall_s"] > 0
    assert said["states_per_s"] > 0
    assert [step["number"] for step in said["trace"]] == list(range(1, 18))
    assert said["trace"][-1]["zone"][0]["answer"] == []


def test_safe_holds() -> None:
    code, said = as_json("--policy", "safe", "--enactors", "3", "--plans", "4", "--endpoints", "3", "--keep", "1")
    assert (code, said["verdict"], said["trace"]) == (0, "holds", [])
    assert {each["verdict"] for each in said["properties"]} == {"holds"}


def test_past_a_bound_the_exit_code_is_3() -> None:
    code, said = as_json("--max-states", "100", "--keep", "1")
    assert (code, said["verdict"]) == (3, "incomplete")


def test_text_tells_the_story_and_the_extent() -> None:
    told = run("--policy", "october-2025", *SMALL).stdout
    assert "never-empty is violated, in 17 steps:" in told
    assert "  17.! Enactor B deletes plan 1's tree" in told
    assert "violated: 1,015 states" in told


def test_the_table_of_near_fixes() -> None:
    result = run("--compare", *SMALL)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line.split()[-4] for line in lines[2:]] == ["never-empty"] * 4 + ["-"]


def test_a_trace_is_written_as_a_diagram_and_taken_again_in_virtual_time(tmp_path: Path) -> None:
    trace, diagram = tmp_path / "trace.json", tmp_path / "trace.mmd"
    result = run("--policy", "october-2025", *SMALL, "--mermaid", str(diagram), "--json")
    trace.write_text(result.stdout)
    assert diagram.read_text().startswith("sequenceDiagram")
    code, said = as_json("--replay", str(trace))
    assert (code, said["same"], said["steps"][-1]["answer"]) == (0, True, [])


def test_the_page_holds_the_trace_and_needs_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "trace.html"
    run("--policy", "october-2025", *SMALL, "--page", str(page))
    text = page.read_text()
    data = text.split('id="trace">', 1)[1].split("</script>", 1)[0]
    assert json.loads(data)["trace"][-1]["breaks"][0] == "never-empty"
    assert "http" not in text.replace(data, "")


def test_what_is_no_trace_is_wrong_input(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    path.write_text("{}")
    failed = run("--replay", str(path))
    assert isinstance(failed.exception, InputError)
    assert "no trace" in str(failed.exception)


def test_a_regions_own_policy_is_taken(tmp_path: Path) -> None:
    region = write_region(tmp_path)
    code, said = as_json("--region", str(region), "--plans", "3", "--endpoints", "1", "--enactors", "2", "--keep", "1")
    assert (code, said["policy"]["staleness_check"]) == (0, "in-the-transaction")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--without", "gravity"], "there is no reduction 'gravity'"),
        (["--property", "never-tired"], "there is no property 'never-tired'"),
    ],
)
def test_wrong_names_are_wrong_input(args: list[str], message: str) -> None:
    failed = run(*args)
    assert isinstance(failed.exception, InputError)
    assert message in str(failed.exception)


def test_plans_without_end_are_told_as_such() -> None:
    endless = ["--unbounded", "--enactors", "2", "--endpoints", "3", "--keep", "1"]
    code, said = as_json(*endless)
    assert (code, said["verdict"], said["unbounded"], said["states"]) == (0, "holds", True, 1060)
    assert "plans unbounded" in run(*endless).stdout


@pytest.mark.parametrize("other", [["--plans", "3"], ["--compare"], ["--policy", "october-2025"], ["--fine"]])
def test_what_does_not_go_with_plans_without_end_is_wrong_input(other: list[str]) -> None:
    with pytest.raises(InputError, match="--unbounded"):
        CliRunner().invoke(app, ["check", "--unbounded", *other], catch_exceptions=False)

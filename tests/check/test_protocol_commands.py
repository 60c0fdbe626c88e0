"""`evenkeel check takeover` and `check planners` as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from evenkeel.cli.main import app
from evenkeel.model.errors import InputError

WEAKENED = ["takeover", "--weaken", "amnesty"]


def run(*args: str) -> Result:
    return CliRunner().invoke(app, ["check", *args])


def as_json(*args: str) -> tuple[int, Any]:
    result = run(*args, "--json")
    return result.exit_code, json.loads(result.stdout)


def test_the_takeover_holds_and_the_document_says_what_was_explored() -> None:
    code, said = as_json("takeover")
    assert (code, said["verdict"], said["states"], said["trace"]) == (0, "holds", 14_592, [])
    assert said["bounds"] == {"managers": 2, "takeovers": 3, "leases": 2, "faults": 1}
    assert {each["verdict"] for each in said["properties"]} == {"holds"}


def test_a_weakened_takeover_is_violated_and_the_trace_tells_how() -> None:
    code, said = as_json(*WEAKENED)
    assert (code, said["verdict"], said["property"], said["weakened"]) == (1, "violated", "one-believer", "amnesty")
    assert [step["number"] for step in said["trace"]] == list(range(1, 9))
    assert said["trace"][-1]["breaks"] == ["one-believer"]
    told = run(*WEAKENED).stdout
    assert "one-believer is violated, in 8 steps:" in told
    assert "   8.! Manager 2 takes az a over, in epoch 2." in told


def test_a_trace_is_written_as_a_diagram_and_as_a_page(tmp_path: Path) -> None:
    diagram, page = tmp_path / "trace.mmd", tmp_path / "trace.html"
    run(*WEAKENED, "--mermaid", str(diagram), "--page", str(page))
    assert "    manager_1->>store: 5. record grants: done" in diagram.read_text().splitlines()
    text = page.read_text()
    data = json.loads(text.split('id="trace">', 1)[1].split("</script>", 1)[0])
    assert data["title"] == "one-believer is violated, in 8 steps"
    assert data["trace"][-1]["cards"][0]["shows"] == "manager-2"


def test_planners_hold_and_without_compare_and_set_they_do_not() -> None:
    code, said = as_json("planners", "--planners", "1", "--plans", "2", "--faults", "0")
    assert (code, said["verdict"], said["states"]) == (0, "holds", 226)
    code, said = as_json("planners", "--faults", "0", "--weaken", "compare-and-set")
    assert (code, said["property"], len(said["trace"])) == (1, "one-plan-a-generation", 6)


def test_past_a_bound_the_exit_code_is_3() -> None:
    code, said = as_json("takeover", "--max-states", "100")
    assert (code, said["verdict"], said["stopped"]) == (3, "incomplete", "more than 100 states")


def test_one_property_alone_is_judged_and_symmetry_can_be_left_out() -> None:
    code, said = as_json("takeover", "--faults", "0", "--property", "one-believer", "--without", "symmetry")
    assert (code, said["states"], [each["name"] for each in said["properties"]]) == (0, 1936, ["one-believer"])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["takeover", "--keep", "2"], "--keep: it says nothing of takeover"),
        (["--weaken", "amnesty"], "--weaken: it says nothing of endpoints"),
        (["planners", "--managers", "2"], "--managers: it says nothing of planners"),
        (["takeover", "--weaken", "luck"], "takeover has no safeguard 'luck'"),
        (["takeover", "--without", "appends"], "there is no reduction 'appends' of takeover"),
        (["planners", "--property", "never-tired"], "there is no property 'never-tired'"),
    ],
)
def test_what_does_not_go_together_is_wrong_input(args: list[str], message: str) -> None:
    failed = run(*args)
    assert isinstance(failed.exception, InputError)
    assert message in str(failed.exception)

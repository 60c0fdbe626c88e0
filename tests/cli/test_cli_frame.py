"""The command's frame: what it prints, how it refuses, what it exits with."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from evenkeel import __version__
from evenkeel.adapters.journal import journal_folder
from evenkeel.model.events import Event, EventKind
from tests.cli.running import evenkeel, write_region

VERBS = (
    *("up", "run", "status", "events", "plan", "validate", "schema", "keys"),
    *("freeze", "thaw", "pin", "unpin", "rollback", "repair", "audit"),
)


def test_the_version_is_that_of_the_package() -> None:
    assert evenkeel("--version").stdout == f"evenkeel {__version__}\n"


def test_help_names_every_verb_and_the_exit_codes() -> None:
    text = evenkeel("--help").stdout
    assert all(f"│ {verb} " in text for verb in VERBS)
    assert "0 good; 1 the answer is bad" in text


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_shows_an_example(verb: str) -> None:
    result = evenkeel(verb, "--help")
    assert result.returncode == 0
    assert f"Example: evenkeel {verb}" in result.stdout


def test_a_good_file_is_told_in_numbers(tmp_path: Path) -> None:
    path = write_region(tmp_path)
    result = evenkeel("validate", path)
    assert result.returncode == 0
    assert result.stdout == (
        f"{path}: good\n"
        "  name            small\n"
        "  azs             1\n"
        "  zones           1\n"
        "  endpoints       1\n"
        "  tree endpoints  1\n"
        "  flat endpoints  0\n"
        "  load balancers  1\n"
        "  planners        1\n"
        "  enactors        1\n"
        "  components      7\n"
    )
    assert json.loads(evenkeel("validate", path, "--json").stdout)["load_balancers"] == 1


def test_a_bad_file_is_told_with_every_problem_and_no_traceback(tmp_path: Path) -> None:
    path = write_region(tmp_path)
    path.write_text(path.read_text().replace("ttl-s = 5", "ttl-s = -5").replace('az = "a"', 'az = "z"'))
    result = evenkeel("validate", path, "--json")
    assert result.returncode == 2
    report = json.loads(result.stdout)
    assert (report["kind"], report["exit_code"], len(report["problems"])) == ("InputError", 2, 2)
    assert all(problem["where"] and problem["what"] for problem in report["problems"])
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr


def test_a_file_that_is_not_there_is_told_with_the_mend(tmp_path: Path) -> None:
    result = evenkeel("validate", "absent.toml", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr == (
        "error: absent.toml: there is no such file\n"
        "    mend: name the region's file as an argument or in EVENKEEL_REGION; "
        "docs/how-to/write-a-region.md shows one\n"
    )


def test_the_regions_file_may_come_from_the_environment_or_the_folder(tmp_path: Path) -> None:
    path = write_region(tmp_path)
    assert evenkeel("validate", EVENKEEL_REGION=str(path)).returncode == 0
    assert evenkeel("validate", cwd=tmp_path).stdout.startswith("region.toml: good\n")


@pytest.mark.parametrize("arguments", [("frobnicate",), ("run",), ("validate", "--nope"), ("pin",)])
def test_a_wrong_command_line_exits_with_2(arguments: tuple[str, ...]) -> None:
    result = evenkeel(*arguments)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def test_a_component_that_is_none_is_told_with_those_there_are(tmp_path: Path) -> None:
    result = evenkeel("run", "enactor-z", write_region(tmp_path))
    assert result.returncode == 2
    assert "use one of nameserver, plan-store, backend-1, planner-1, vantage-a, enactor-a, audit" in result.stderr


def test_keys_are_made_once_and_their_secrets_never_shown(tmp_path: Path) -> None:
    path = write_region(tmp_path)
    first, second = evenkeel("keys", path), evenkeel("keys", path, "--json")
    secrets = [file.read_text().strip() for file in (tmp_path / "state" / "keys").iterdir()]
    assert len(secrets) == 3
    assert first.stdout.count("(made now)") == 3
    assert [row["made"] for row in json.loads(second.stdout)["secrets"]] == [False] * 3
    assert not any(secret in first.stdout + second.stdout for secret in secrets)


def test_a_lever_without_its_key_is_told_where_the_key_should_be(tmp_path: Path) -> None:
    result = evenkeel("pin", "db.demo.example", "-r", write_region(tmp_path))
    assert result.returncode == 2
    assert "tsig-evenkeel" in result.stderr
    assert "mend: `evenkeel keys REGION.toml` makes it" in result.stderr


def test_repair_wants_to_be_told_which(tmp_path: Path) -> None:
    path = write_region(tmp_path)
    for arguments in (("repair",), ("repair", "--all", "db.demo.example")):
        result = evenkeel(*arguments, "-r", path)
        assert result.returncode == 2
        assert "name some, or say --all" in result.stderr


def test_a_systemd_unit_runs_the_component_and_may_write_its_state_alone(tmp_path: Path) -> None:
    path = write_region(tmp_path)
    unit = evenkeel("run", "enactor-a", path, "--systemd").stdout
    assert f" run enactor-a {path}\n" in unit
    assert f"ReadWritePaths={tmp_path}/state\n" in unit
    assert "CapabilityBoundingSet=\n" in unit
    unprivileged = path.read_text()
    path.write_text(unprivileged.replace('primary = "127.0.0.1:', 'primary = "127.0.0.1:53" #'))
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE\n" in evenkeel("run", "nameserver", path, "--systemd").stdout
    assert "AmbientCapabilities=\n" in evenkeel("run", "enactor-a", path, "--systemd").stdout


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze to judge the unit")
def test_systemd_takes_the_unit_without_a_complaint(tmp_path: Path) -> None:
    unit = tmp_path / "evenkeel-enactor-a.service"
    unit.write_text(evenkeel("run", "enactor-a", write_region(tmp_path), "--systemd").stdout)
    result = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, timeout=60)
    assert [line for line in result.stderr.splitlines() if "evenkeel-enactor-a" in line and "User" not in line] == []


def test_the_schema_is_one_json_document() -> None:
    assert json.loads(evenkeel("schema").stdout)["type"] == "object"


def journal(folder: Path) -> None:
    events = [
        Event(1_700_000_000_000, "planner-1", EventKind.PLAN_APPENDED, "", 7, "2 changed", {"lane": "urgent"}),
        Event(1_700_000_000_250, "enactor-a", EventKind.PUBLISHED, "db.demo.example.", 7),
        Event(1_700_000_001_000, "audit", EventKind.EMPTY, "db.demo.example.", 7, "at 127.0.0.1:5300: \x1b[2Jno"),
    ]
    folder.mkdir(parents=True)
    (folder / "x.jsonl").write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in events))


def test_events_are_lines_for_people_that_cannot_steer_the_terminal(tmp_path: Path) -> None:
    path = write_region(tmp_path)
    journal(journal_folder(str(tmp_path / "state")))
    assert evenkeel("events", path).stdout == (
        "2023-11-14 22:13:20.000Z  planner-1    plan-appended  g=7  2 changed  lane=urgent\n"
        "2023-11-14 22:13:20.250Z  enactor-a    published      db.demo.example. g=7\n"
        "2023-11-14 22:13:21.000Z  audit        empty          db.demo.example. g=7  at 127.0.0.1:5300: \ufffd[2Jno\n"
    )


def test_events_are_chosen_by_kind_endpoint_time_and_number(tmp_path: Path) -> None:
    path = write_region(tmp_path)
    journal(journal_folder(str(tmp_path / "state")))

    def kinds(*options: str) -> list[str]:
        lines = evenkeel("events", path, "--json", *options).stdout.splitlines()
        return [json.loads(line)["kind"] for line in lines]

    assert kinds() == ["plan-appended", "published", "empty"]
    assert kinds("--kind", "published", "--kind", "empty") == ["published", "empty"]
    assert kinds("--endpoint", "DB.demo.example") == ["published", "empty"]
    assert kinds("--since", "2023-11-14T22:13:21") == ["empty"]
    assert kinds("--last", "1") == ["empty"]
    assert kinds("--since", "1h") == []
    assert evenkeel("events", path, "--since", "soon").returncode == 2


def test_a_reader_that_has_enough_is_no_error(tmp_path: Path) -> None:
    path = write_region(tmp_path)
    folder = journal_folder(str(tmp_path / "state"))
    folder.mkdir(parents=True)
    line = msgspec.json.encode(Event(1, "enactor-a", EventKind.PUBLISHED, detail="x" * 200)) + b"\n"
    (folder / "x.jsonl").write_bytes(line * 5000)  # far more than a pipe holds
    with subprocess.Popen(
        [sys.executable, "-m", "evenkeel.cli.main", "events", path, "--last", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0

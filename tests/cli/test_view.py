"""The live view as it is drawn: what stands on the screen, that it fits, and that no text can steer it."""

from __future__ import annotations

import io
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from evenkeel.cli.view import Screen
from evenkeel.model.events import Event, EventKind
from evenkeel.region.picture import EndpointState, EndpointView, LoadBalancerView, Picture
from evenkeel.region.up_state import ComponentState
from tests.up.regions import small_region

GOOD = EndpointView(
    "db.demo.example.",
    "tree",
    EndpointState.CURRENT,
    ("192.0.2.1", "192.0.2.2"),
    (3, 1),
    generation=7,
    writer="enactor-a",
    planned_generation=7,
    lag=0,
    age_ms=4_000,
    healthy=1,
    pool=2,
)
RUNNING = ComponentState(17, "running", 0, 1, "127.0.0.1:5400")
TROUBLED = ComponentState(0, "backing-off", 3, 1, "127.0.0.1:5400")


def screen(tmp_path: Path, *views: EndpointView) -> Screen:
    picture = Picture(
        "small",
        1_700_000_000_000,
        7,
        "planner-1",
        views,
        (LoadBalancerView("edge-a-1", "a", "healthy", 100.0, 40.0), LoadBalancerView("edge-a-2", "a", "failed")),
    )
    drawn = Screen(small_region(tmp_path, has_metrics=False), time.monotonic(), picture)
    drawn.events.append(Event(1_700_000_000_250, "enactor-a", EventKind.PUBLISHED, "db.demo.example.", 7))
    return drawn


def draw(drawn: Screen, states: dict[str, ComponentState], width: int = 100, height: int = 20) -> list[str]:
    console = Console(width=width, height=height, file=io.StringIO(), color_system=None)
    with console.capture() as captured:
        console.print(drawn.draw(states, width, height))
    return [line.rstrip() for line in captured.get().rstrip("\n").split("\n")]


def test_the_screen_says_how_the_region_stands(tmp_path: Path) -> None:
    lines = draw(screen(tmp_path, GOOD), {"audit": RUNNING})
    port = small_line_port(lines[1])
    assert [line.strip("─ ") for line in lines] == [
        "evenkeel · small · 1 current · plan 7 by planner-1 · 1/1 processes · up 0 s",
        f"try: dig @127.0.0.1 -p {port} db.demo.example. A +short   stop: Ctrl-C",
        "endpoints",
        "endpoint          state    answer                                       gen  age  by         healthy",
        "db.demo.example.  current  192.0.2.1 ×3, 192.0.2.2 ×1                     7  4 s  enactor-a  1/2",
        "load balancers (load/capacity)",
        "● edge-a-2 a failed   ● edge-a-1 a 40/100",
        "events",
        "22:13:20.250Z  enactor-a    published      db.demo.example. g=7",
    ]


def small_line_port(line: str) -> str:
    return line.split(" -p ")[1].split()[0]


def test_what_needs_an_eye_comes_first_and_what_does_not_run_is_listed(tmp_path: Path) -> None:
    empty = replace(GOOD, name="acct.demo.example.", state=EndpointState.EMPTY, a=(), a_weights=())
    lines = draw(screen(tmp_path, GOOD, empty), {"audit": RUNNING, "enactor-a": TROUBLED})
    assert "1 empty, 1 current" in lines[0]
    assert lines[4].startswith("acct.demo.example.  empty")
    assert any(line.startswith("enactor-a  backing-off") for line in lines)


def test_a_kill_switch_and_what_could_not_be_seen_stand_on_top(tmp_path: Path) -> None:
    drawn = screen(tmp_path, GOOD)
    assert drawn.picture is not None
    drawn.picture = replace(drawn.picture, frozen={"demo.example.": "INC-7"}, notes=("zone demo.example.: slow",))
    lines = draw(drawn, {})
    assert "FROZEN demo.example. (INC-7)" in " ".join(draw(drawn, {}, width=160))
    assert lines[1] == "! zone demo.example.: slow"


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 60), (40, 11), (100, 15)])
def test_it_fits_any_screen(tmp_path: Path, width: int, height: int) -> None:
    views = [replace(GOOD, name=f"acct-{number:04}.db.demo.example.") for number in range(500)]
    drawn = screen(tmp_path, *views)
    drawn.events.extend(drawn.events * 100)
    states = {f"enactor-{number}": TROUBLED for number in range(20)}
    lines = draw(drawn, states, width, height)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width


def test_no_text_from_outside_steers_the_terminal_or_the_layout(tmp_path: Path) -> None:
    evil = replace(GOOD, writer="[bold red]x[/]\x1b[2J")
    drawn = screen(tmp_path, evil)
    drawn.events.append(Event(1, "audit", EventKind.EMPTY, detail="\x1b]0;owned\x07 [link=x]y\nsecond"))
    text = "\n".join(draw(drawn, {}, width=160))
    assert "[bold red]x[/]" in text
    assert "[link=x]y" in text
    assert "\x1b]0" not in text
    assert "\x1b[2J" not in text
    assert "\x07" not in text


def test_before_the_first_picture_there_is_a_screen_too(tmp_path: Path) -> None:
    drawn = Screen(small_region(tmp_path, has_metrics=False), time.monotonic())
    assert "zones not read yet" in draw(drawn, {"audit": RUNNING})[0]
    drawn.is_stopping = True
    assert draw(drawn, {})[1] == "stopping in order; Ctrl-C again kills"

"""Verbs that run things: up, run."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from evenkeel.adapters.journal import JournalReader, journal_folder
from evenkeel.adapters.lines import now_ms
from evenkeel.cli.output import (
    REGION_DEFAULT,
    Json,
    RegionArgument,
    event_line,
    is_terminal,
    load_region,
    print_json,
    say,
)
from evenkeel.cli.systemd import unit
from evenkeel.model.errors import InputError
from evenkeel.model.region import Region, ServerKind
from evenkeel.region.addresses import dig_line, listens, purpose
from evenkeel.region.compiled import dump_compiled
from evenkeel.region.components import component
from evenkeel.region.up import Up, prepared, run_component_arguments

EVENT_POLL_S = 0.1


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel="Run", epilog="Example: evenkeel up examples/demo/region.toml")(up)
    app.command(rich_help_panel="Run", epilog="Example: evenkeel run enactor-b /etc/evenkeel/region.toml --systemd")(
        run
    )


def up(
    region: RegionArgument = REGION_DEFAULT,
    view: Annotated[bool, typer.Option("--view/--no-view", help="The live view; events as lines without it.")] = True,
    for_s: Annotated[float, typer.Option("--for", min=0.0, metavar="SECONDS", help="Stop by itself after this.")] = 0.0,
    json: Json = False,
) -> None:
    """Run the whole region on this machine, every component its own OS process, until Ctrl-C.

    What exits is started again; nothing is left behind when it ends, however it ends.
    """
    with prepared(load_region(region)) as ready:
        if json:
            print_json(_as_json(ready))
        else:
            say(_banner(ready))
        asyncio.run(_run(ready, has_view=view and not json and is_terminal(), for_s=for_s, as_json=json))
        if not json:
            say(f"region {ready.region.name} is down; its state stays in {ready.region.state_dir}")


def run(
    name: Annotated[str, typer.Argument(metavar="COMPONENT", help="nameserver, plan-store, planner-1, enactor-a, ...")],
    region: RegionArgument = REGION_DEFAULT,
    systemd: Annotated[bool, typer.Option("--systemd", help="Print a systemd unit for it instead.")] = False,
    json: Json = False,
) -> None:
    """Run one component in this process, for production: checks the file, then becomes the component.

    Its log goes to standard error as JSON lines, its events to the journal in the state folder.
    """
    found = load_region(region)
    component(found, name)  # refuses a name that is none
    if systemd:
        text = unit(found, name, region.absolute(), _program())
        print_json({"component": name, "unit": text}) if json else say(text)
        return
    compiled = Path(found.state_dir) / "run" / f"{name}.compiled"
    try:
        compiled.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        dump_compiled(found, compiled)
    except OSError as error:
        raise InputError.one(
            str(compiled), f"cannot be written: {error.strerror}", "make room, or mend its mode"
        ) from error
    arguments = run_component_arguments(name, compiled)
    # The process image is replaced: what was needed to read the file is not carried through the component's life.
    os.execv(arguments[0], arguments)  # noqa: S606 - no shell is meant


async def _run(ready: Up, *, has_view: bool, for_s: float, as_json: bool) -> None:
    stopping = asyncio.Event()
    _stop_on_signals(ready, stopping)
    if for_s:
        asyncio.get_running_loop().call_later(for_s, stopping.set)
    reader = JournalReader(journal_folder(ready.region.state_dir), since_ms=now_ms())
    if has_view:
        from evenkeel.cli.view import show  # rich's live display is only needed here

        watching = asyncio.create_task(show(ready, reader, stopping))
    else:
        watching = asyncio.create_task(_print_events(reader, as_json))
    try:
        await ready.run(stopping)
    finally:
        stopping.set()
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    if not has_view:
        _print_batch(reader, as_json)


def _stop_on_signals(ready: Up, stopping: asyncio.Event) -> None:
    """The first signal stops in order; a second one kills."""

    def stop() -> None:
        if stopping.is_set():
            ready.supervisor.kill()
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
            continue  # nohup: whoever started it wants it to outlive the terminal
        asyncio.get_running_loop().add_signal_handler(number, stop)


async def _print_events(reader: JournalReader, as_json: bool) -> None:
    while True:
        if not _print_batch(reader, as_json):
            await asyncio.sleep(EVENT_POLL_S)


def _print_batch(reader: JournalReader, as_json: bool) -> int:
    batch = reader.poll()
    for event in batch:
        if as_json:
            print_json(event)
        else:
            say(event_line(event))
    return len(batch)


def _banner(ready: Up) -> str:
    region = ready.region
    rows = [
        (
            each.name,
            purpose(each, region),
            " ".join(map(str, listens(each, region))) or "-",
            f"http://{each.metrics}/" if each.metrics else "-",
        )
        for each in ready.components
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"region {region.name}: {len(rows)} components, state in {region.state_dir}", ""]
    lines += ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    lines += ["", *_keys_to_hand_over(region)]
    lines += [f"try:  {dig_line(region)}", "stop: Ctrl-C", ""]
    return "\n".join(lines)


def _keys_to_hand_over(region: Region) -> list[str]:
    foreign = {zone.tsig_key: zone for zone in region.zones.values() if zone.server is not ServerKind.EMBEDDED}
    return [
        f"the server of {zone.name} at {zone.primary} has to know the key {key!r}: keys/tsig-{key} in the state folder"
        for key, zone in sorted(foreign.items())
    ]


def _as_json(ready: Up) -> dict[str, object]:
    return {
        "region": ready.region.name,
        "state_dir": ready.region.state_dir,
        "try": dig_line(ready.region),
        "components": [
            {
                "name": each.name,
                "listens": [str(address) for address in listens(each, ready.region)],
                "metrics": str(each.metrics) if each.metrics else "",
            }
            for each in ready.components
        ],
    }


def _program() -> str:
    """The `evenkeel` script that a unit should start: the one that runs now."""
    here = Path(sys.argv[0])
    if here.name == "evenkeel" and here.exists():
        return str(here.absolute())
    return shutil.which("evenkeel") or f"{sys.executable} -m evenkeel.cli.main"

"""Verbs on the fleet: launch, instances, terminate, hosts, leases."""

from __future__ import annotations

import asyncio
import json as json_module
import secrets
from typing import Annotated, Any

import msgspec
import typer

from evenkeel.adapters.droplet_manager.client import ManagerClient
from evenkeel.adapters.droplet_manager.control import HostView, ManagerView, RoleView
from evenkeel.adapters.droplet_manager.joining import Register
from evenkeel.adapters.secrets import read_secret
from evenkeel.adapters.table_service.http import HttpCaller, Reply
from evenkeel.cli.output import REGION_DEFAULT, Json, RegionArgument, RegionOption, load_region, print_json, say
from evenkeel.model.errors import EvenkeelError, InputError, Refusal, Unfinished, Unreachable
from evenkeel.model.fleet import HostState
from evenkeel.model.region import Region
from evenkeel.region.components import host_az, manager_names
from evenkeel.region.fleet import controls_of, fleet_of, register_folder

REPLY_OCTETS_MAX = 16 * 1024 * 1024
CALL_DEADLINE_S = 45.0  # the launch API answers within the policy's launch deadline
WAIT_POLL_S = 0.2

Account = Annotated[str, typer.Option(help="Account to act for; its token stands in the keys folder.")]


def add_to(app: typer.Typer) -> None:
    panel = "Fleet"
    app.command(rich_help_panel=panel, epilog="Example: evenkeel launch region.toml --count 2 --az a")(launch)
    app.command(rich_help_panel=panel, epilog="Example: evenkeel instances region.toml --json")(instances)
    app.command(rich_help_panel=panel, epilog="Example: evenkeel terminate i-0123456789abcdefg --region region.toml")(
        terminate
    )
    app.command(rich_help_panel=panel, epilog="Example: evenkeel hosts region.toml --drain a-1")(hosts)
    app.command(rich_help_panel=panel, epilog="Example: evenkeel leases region.toml --throttle 20")(leases)


def launch(
    region: RegionArgument = REGION_DEFAULT,
    count: Annotated[int, typer.Option(min=1, help="Instances; all of them, or none.")] = 1,
    az: Annotated[str, typer.Option(help="The az; without it, wherever there is room.")] = "",
    cpus: Annotated[int, typer.Option(min=1, help="Processors of each.")] = 1,
    memory_mib: Annotated[int, typer.Option(min=1, help="Memory of each, in MiB.")] = 128,
    token: Annotated[str, typer.Option(help="Idempotency token: repeat the launch under it without harm.")] = "",
    wait_s: Annotated[
        float, typer.Option("--wait", min=0.0, metavar="SECONDS", help="Wait so long for all to answer HTTP.")
    ] = 10.0,
    account: Account = "demo",
    json: Json = False,
) -> None:
    """Launch instances, and wait until they answer.

    Exit code 1: refused (no capacity, limit exceeded, recovering: the message says which, and when to try again);
    3: recorded, but not running within --wait.
    """
    asked = {
        "cpus": cpus,
        "memory_mib": memory_mib,
        "count": count,
        "az": az,
        "client_token": token or secrets.token_hex(16),
    }
    found = load_region(region)
    launched = asyncio.run(_launch(found, account, asked, wait_s))
    _show_instances(launched, json)
    if wait_s and any(each["state"] != "running" for each in launched):
        raise Unfinished(f"not all instances run within {wait_s:g} s; see `evenkeel instances`")


def instances(
    region: RegionArgument = REGION_DEFAULT,
    az: Annotated[str, typer.Option(help="Only in this az.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="Those terminated within the last hour, too.")] = False,
    account: Account = "demo",
    json: Json = False,
) -> None:
    """The account's instances: where each runs and answers."""
    found = asyncio.run(_api(load_region(region), account, "GET", f"/v1/instances?az={_query(az)}"))
    rows = [each for each in found["instances"] if everything or each["state"] != "terminated"]
    _show_instances(rows, json)


def terminate(
    names: Annotated[list[str], typer.Argument(metavar="INSTANCE...", help="Names of instances.")],
    region: RegionOption = REGION_DEFAULT,
    account: Account = "demo",
    json: Json = False,
) -> None:
    """Terminate instances; saying it again does no harm."""
    found = load_region(region)
    for name in names:
        if not name.startswith("i-") or not name[2:].isalnum():
            raise InputError.one("terminate", f"{name!r} is no instance", "see `evenkeel instances`")

    async def act() -> list[dict[str, Any]]:
        return [await _api(found, account, "DELETE", f"/v1/instances/{name}") for name in names]

    _show_instances(asyncio.run(act()), json)


def hosts(
    region: RegionArgument = REGION_DEFAULT,
    drain: Annotated[list[str] | None, typer.Option(metavar="HOST", help="No new instances there.")] = None,
    activate: Annotated[list[str] | None, typer.Option(metavar="HOST", help="Take it back from draining.")] = None,
    retire: Annotated[list[str] | None, typer.Option(metavar="HOST", help="No lease again, for good.")] = None,
    readmit: Annotated[
        list[str] | None, typer.Option(metavar="HOST", help="Let a new key join under its name: the old one is lost.")
    ] = None,
    json: Json = False,
) -> None:
    """The hosts of the fleet as their managers see them; and drain, retire or readmit some."""
    found = load_region(region)
    fleet_of(found)
    orders = [
        (name, state)
        for names, state in (
            (drain, HostState.DRAINING),
            (activate, HostState.ACTIVE),
            (retire, HostState.RETIRED),
        )
        for name in names or ()
    ]
    for name in readmit or ():
        _az_of(found, name)
        if not Register(register_folder(found)).forget(name):
            raise Refusal(f"no key has joined as {name}")
    views, unreachable = asyncio.run(_hosts(found, orders))
    if json:
        print_json({"hosts": views, "unreachable": unreachable})
    else:
        for view in views:
            host = view.host
            lease = "leased" if view.is_leased else "no lease"
            link = "linked" if view.is_linked else "no link"
            free = f"{view.cpus_free}/{host.cpus} cpus, {view.memory_free_mib}/{host.memory_mib} MiB free"
            say(f"{host.name:<16} {host.state.value:<9} {lease:<9} {link:<8} {free}")
        for az, why in unreachable.items():
            say(f"! az {az}: {why}")
    raise typer.Exit(3 if unreachable else 0)


def leases(
    region: RegionArgument = REGION_DEFAULT,
    throttle: Annotated[
        float | None, typer.Option(min=0.0, metavar="PER_S", help="Let in so many requests a second; 0 lifts it.")
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Throw away what is queued.")] = False,
    json: Json = False,
) -> None:
    """How leases stand in every az: held, recovering, ETA, and how far above the physical limit.

    Where an az has several managers: which of them has it, and which stand by.

    --throttle and --restart are the remedies of 4:14 AM for a manager that retries have drowned (policy october-2025).
    Exit code 1: hosts are without a lease; 3: a manager does not answer.
    """
    found = load_region(region)
    fleet_of(found)
    views, unreachable, managers = asyncio.run(_leases(found, throttle, restart))
    if json:
        print_json({"azs": views, "unreachable": unreachable, "managers": managers})
    else:
        for view in views:
            say(lease_line(view) + managers_text(managers, view.fleet.az))
        for az, why in unreachable.items():
            say(f"! az {az}: {why}")
    is_whole = all(min(view.fleet.leased, view.covered) == view.fleet.hosts for view in views)
    raise typer.Exit(3 if unreachable else 0 if is_whole else 1)


def lease_line(view: ManagerView) -> str:
    """One az in words."""
    fleet = view.fleet
    held = "" if view.covered >= fleet.leased else f" ({view.covered} by the hosts' own word)"
    parts = [f"az {fleet.az}: {fleet.leased} of {fleet.hosts} hosts leased{held}, epoch {fleet.epoch}"]
    if fleet.store_is_lost:
        parts.append(f"STORE LOST ({view.store_trouble})")
    if fleet.leased < fleet.hosts:
        parts.append(f"ETA {fleet.eta_s:.0f} s" if fleet.eta_s >= 0 else "ETA not known")
    if fleet.recovering_for_s:
        parts.append(f"recovering for {fleet.recovering_for_s:.0f} s at {fleet.x_bound:.2f} x the limit")
    if fleet.queued:
        parts.append(f"{fleet.queued} queued")
    return ", ".join(parts)


def managers_text(managers: list[dict[str, str]], az: str) -> str:
    """Who has the az and who stands by, where it has several managers."""
    of_az = [each for each in managers if each["az"] == az]
    return "; " + ", ".join(f"{each['component']} {each['role']}" for each in of_az) if len(of_az) > 1 else ""


# --- calls ------------------------------------------------------------------------------------------


async def _launch(region: Region, account: str, asked: dict[str, Any], wait_s: float) -> list[dict[str, Any]]:
    body = msgspec.json.encode(asked)
    launched: list[dict[str, Any]] = (await _api(region, account, "POST", "/v1/instances", body))["instances"]
    names = {each["instance"] for each in launched}
    deadline_s = asyncio.get_running_loop().time() + wait_s
    while any(each["state"] != "running" for each in launched) and asyncio.get_running_loop().time() < deadline_s:
        await asyncio.sleep(WAIT_POLL_S)
        found = await _api(region, account, "GET", "/v1/instances")
        launched = [each for each in found["instances"] if each["instance"] in names]
    return launched


async def _api(region: Region, account: str, method: str, path: str, body: bytes = b"") -> dict[str, Any]:
    """What the launch API answers. Raises `Refusal`, `Unreachable` in its own words."""
    fleet = fleet_of(region)
    if account not in fleet.accounts:
        raise InputError.one("--account", f"{account!r} is no account here", f"use one of {', '.join(fleet.accounts)}")
    token = read_secret(region.state_dir, f"account-{account}")
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    caller = HttpCaller(REPLY_OCTETS_MAX)
    try:
        reply = await caller.request(fleet.launch_api, method, path, headers, body, CALL_DEADLINE_S)
    finally:
        caller.close()
    return _told(reply)


def _told(reply: Reply) -> dict[str, Any]:
    try:
        told: dict[str, Any] = json_module.loads(reply.body)
    except ValueError as error:
        raise Unreachable(f"the launch API answered {reply.status} and no JSON") from error
    if reply.status == 200:
        return told
    fault = told.get("error", {})
    text = f"{fault.get('code', reply.status)}: {fault.get('message', '')}"
    if "retry-after" in reply.headers:
        text += f" (try again in {reply.headers['retry-after']} s)"
    if fault.get("code") == "InvalidParameter":
        raise InputError.one("launch API", text)
    raise Unreachable(text) if fault.get("code") == "Unavailable" else Refusal(text)


async def _hosts(region: Region, orders: list[tuple[str, HostState]]) -> tuple[list[HostView], dict[str, str]]:
    clients = _clients(region)
    try:
        for name, state in orders:
            await clients[_az_of(region, name)].set_state(name, state)
        views: list[HostView] = []
        unreachable: dict[str, str] = {}
        for az, client in clients.items():
            try:
                views += await client.hosts()
            except EvenkeelError as error:
                unreachable[az] = str(error)
        return views, unreachable
    finally:
        for client in clients.values():
            await client.close()


async def _leases(
    region: Region, throttle: float | None, restart: bool
) -> tuple[list[ManagerView], dict[str, str], list[dict[str, str]]]:
    clients = _clients(region)
    views: list[ManagerView] = []
    unreachable: dict[str, str] = {}
    managers: list[dict[str, str]] = []
    try:
        for az, client in clients.items():
            try:
                if throttle is not None:
                    await client.throttle(throttle)
                if restart:
                    await client.restart()
                views.append(await client.status())
            except Unreachable as error:
                unreachable[az] = str(error)
            for name, role in zip(manager_names(region, az), await client.roles(), strict=True):
                managers.append({"component": name, "az": az, "role": _role_text(role)})
        return views, unreachable, managers
    finally:
        for client in clients.values():
            await client.close()


def _role_text(role: RoleView | None) -> str:
    if role is None:
        return "does not answer"
    return "has it" if role.is_holder else "waits for its store" if role.waits_for else "stands by"


def _clients(region: Region) -> dict[str, ManagerClient]:
    token = read_secret(region.state_dir, "fleet")
    return {az: ManagerClient(controls_of(region, az), token) for az in region.azs}


def _az_of(region: Region, host: str) -> str:
    az = host_az(region, host)
    if not az:
        raise InputError.one("hosts", f"{host!r} is no host's name", f"it begins with its az: {region.azs[0]}-1, say")
    return az


def _query(text: str) -> str:
    if not text.replace("-", "").isalnum() and text:
        raise InputError.one("--az", f"{text!r} is no az", "see `evenkeel leases`")
    return text


def _show_instances(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print_json({"instances": rows})
        return
    for row in rows:
        answers = f"http://{row['address']}/" if row["address"] else "-"
        say(f"{row['instance']:<20} {row['state']:<11} {row['host']:<10} {answers}")
    if not rows:
        say("no instances")

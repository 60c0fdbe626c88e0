"""[fleet]: what a fleet takes from the rest of the file, and what has to hold between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from evenkeel.model.fleet_policy import FLEET_PRESETS, FleetPreset
from evenkeel.model.health import ProbeKind
from evenkeel.model.region import Endpoint, FleetSettings, HostPort, LaunchLimits
from evenkeel.region.config.load_balancers import LoadBalancers
from evenkeel.region.config.report import Report
from evenkeel.region.config.shapes import FleetTable
from evenkeel.region.config.tables import Entry, Tables
from evenkeel.region.config.texts import did_you_mean
from evenkeel.region.config.zones import UNSPECIFIED

LOOPBACK = "127.0.0.1"
MANAGER_PORT = 5331
CONTROL_PORT = 5351


def build_fleet(
    tables: Tables,
    azs: tuple[str, ...],
    endpoints: Mapping[str, Endpoint],
    load_balancers: LoadBalancers,
    report: Report,
) -> FleetSettings | None:
    """The fleet; None where the file has none. `azs` empty: unknown, through a fault reported elsewhere."""
    entry = tables.fleet
    table = entry.table
    if table.endpoint is None:
        if not entry.doubtful and report.is_written(entry.place):
            what = "a fleet without `endpoint` has nowhere to keep its state"
            report.add(entry.place, what, "name the endpoint whose load balancers are the table service's front ends")
        return None
    _check_endpoint(entry, table.endpoint, endpoints, load_balancers, report)
    preset = table.policy or FleetPreset(tables.policy.table.preset.value)
    policy = FLEET_PRESETS[preset]
    if table.term_s is not None:
        policy = replace(policy, term_s=table.term_s, term_max_s=max(policy.term_max_s, table.term_s))
    if len(set(table.accounts)) < len(table.accounts):
        report.add(entry.place.at("accounts"), "an account stands twice", "remove one")
    return FleetSettings(
        endpoint=table.endpoint,
        managers=_listeners(entry, "manager-listen", table.manager_listen, MANAGER_PORT, azs, report),
        controls=_listeners(entry, "manager-control", table.manager_control, CONTROL_PORT, azs, report),
        managers_per_az=table.managers_per_az,
        takeover_after_s=table.takeover_after_s,
        launch_api=table.launch_api,
        policy=policy,
        hosts=table.hosts,
        host_cpus=table.host_cpus,
        host_memory_mib=table.host_memory_mib,
        instance_address=table.instance_address,
        accounts=tuple(dict.fromkeys(table.accounts)),
        limits=LaunchLimits(table.launches_per_s, table.launches_burst, table.reads_per_s, table.count_max),
        state_check_s=table.state_check_s,
        nats=table.nats,
        database=table.database,
    )


def _check_endpoint(
    entry: Entry[FleetTable],
    name: str,
    endpoints: Mapping[str, Endpoint],
    load_balancers: LoadBalancers,
    report: Report,
) -> None:
    place = entry.place.at("endpoint")
    endpoint = endpoints.get(name)
    if endpoint is None:
        known = [known.removesuffix(".") for known in endpoints]
        if known:  # else the endpoints themselves are at fault, which is told there
            report.add(place, f"{name} is no endpoint of this file", did_you_mean(name, known, "endpoints here"))
        return
    if not endpoint.ipv4:
        report.add(place, f"{name} answers without IPv4 addresses", 'add "ipv4" to its `families`')
    found = [load_balancers.by_name[each].value for each in endpoint.load_balancers if each in load_balancers.by_name]
    for each in found:
        if each.probe.kind is not ProbeKind.HTTP:
            what = f"{each.name}, a front end of the table service, is probed by {each.probe.kind.value}"
            report.add(place, what, "probe front ends by `http`, at the port at which they are to listen")
    ports = sorted({each.probe.port for each in found})
    if len(ports) > 1:
        what = f"the front ends of {name} are probed at the ports {', '.join(map(str, ports))}"
        report.add(place, what, "use one port: it is where all of them listen")


def _listeners(
    entry: Entry[FleetTable],
    key: str,
    given: list[HostPort] | None,
    port_first: int,
    azs: tuple[str, ...],
    report: Report,
) -> tuple[HostPort, ...]:
    """One address an az, and again one an az for every manager more that each has."""
    each = entry.table.managers_per_az
    if given is None:
        return tuple(HostPort(LOOPBACK, port_first + number) for number in range(len(azs) * each))
    if azs and entry.is_sound("managers-per-az") and len(given) != len(azs) * each:
        so_many = f"{len(azs)} azs" + (f" with {each} managers each" if each > 1 else "")
        then = ", then one for the second manager of each, and so on" if each > 1 else ""
        what = f"{len(given)} addresses for {so_many}"
        report.add(entry.place.at(key), what, f"give one for the manager of each az, in their order{then}")
    for index, address in enumerate(given):
        if address.host in UNSPECIFIED:
            what = f"{address} is no address to connect to"
            report.add(entry.place.at(key, index), what, "use the manager's own address")
    return tuple(given)

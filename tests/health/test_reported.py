"""Load balancers that report themselves to a vantage point."""

from __future__ import annotations

import asyncio

import pytest

from evenkeel.adapters.frames import connect
from evenkeel.adapters.probes.reported import LoadReport, Mailbox, Reporter, ReportIntake, report
from evenkeel.adapters.vantage_point import VantagePoint
from evenkeel.endpoints.verdicts import Observation, Outcome
from evenkeel.model.errors import Unreachable
from evenkeel.model.health import Opinion, Probe, ProbeKind, Standing
from evenkeel.model.region import HostPort, LoadBalancer
from tests.health.targets import free_port, until

PROBE = Probe(ProbeKind.REPORTED, interval_s=1.0, timeout_s=0.5, rise=2, fall=3, grace_s=0.0)
ANYWHERE = HostPort("127.0.0.1", 0)
TOKEN = "secret"


def test_a_fresh_report_is_what_the_turn_sees() -> None:
    mailbox = Mailbox(["lb"])
    mailbox.listen_from(0.0)
    assert mailbox.put(LoadReport("lb", capacity=10.0, load=2.0, draining=True), 1.0)
    assert mailbox.look("lb", PROBE, 2.0) == Observation(Outcome.READY, 10.0, 2.0, draining=True)


def test_silence_is_a_failure_once_an_interval_and_the_timeout_are_over() -> None:
    mailbox = Mailbox(["lb"])
    mailbox.listen_from(0.0)
    assert mailbox.look("lb", PROBE, 1.0).outcome is Outcome.LATE  # may not have had the time to report
    mailbox.put(LoadReport("lb"), 1.0)
    assert mailbox.look("lb", PROBE, 2.5).outcome is Outcome.READY
    assert mailbox.look("lb", PROBE, 2.6).outcome is Outcome.NO_REPORT


def test_one_that_says_it_is_not_ready_fails() -> None:
    mailbox = Mailbox(["lb"])
    mailbox.put(LoadReport("lb", ready=False), 1.0)
    assert mailbox.look("lb", PROBE, 1.5).outcome is Outcome.NOT_READY


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -5.0, 1e300])
def test_quantities_that_are_none_count_as_not_said(value: float) -> None:
    mailbox = Mailbox(["lb"])
    mailbox.put(LoadReport("lb", capacity=value, load=value), 1.0)
    assert mailbox.look("lb", PROBE, 1.5) == Observation(Outcome.READY)


def test_reports_of_strangers_are_refused_and_counted() -> None:
    async def run() -> int:
        intake = ReportIntake(Mailbox(["lb"]))
        address = await intake.start(ANYWHERE, TOKEN)
        await report(address, TOKEN, LoadReport("stranger"))
        await until(lambda: intake.refused)
        await intake.stop()
        return intake.refused

    assert asyncio.run(run()) == 1


@pytest.mark.parametrize("frame", [b"\x00\x00\x00\x05hello", b"\x7f\xff\xff\xff", b"\x00\x00\x00\x01\xc1"])
def test_broken_frames_end_one_link_and_harm_nothing(frame: bytes) -> None:
    async def run() -> Observation:
        mailbox = Mailbox(["lb"])
        intake = ReportIntake(mailbox)
        address = await intake.start(ANYWHERE, TOKEN)
        link = await connect(address, TOKEN)
        link._writer.write(frame)  # no public way to send a broken frame
        await link.close()
        await report(address, TOKEN, LoadReport("lb", load=3.0))
        loop = asyncio.get_running_loop()
        await until(lambda: mailbox.look("lb", PROBE, loop.time()).outcome is Outcome.READY)
        await intake.stop()
        return mailbox.look("lb", PROBE, loop.time())

    assert asyncio.run(run()).load == 3.0


def test_reporting_to_nobody_is_unreachable() -> None:
    with pytest.raises(Unreachable):
        asyncio.run(report(HostPort("127.0.0.1", free_port()), TOKEN, LoadReport("lb")))


def test_a_self_reporter_becomes_healthy_fails_in_silence_and_returns() -> None:
    """The whole way: reporter, link, mailbox, schedule, rules."""

    async def run() -> list[Standing]:
        quick = Probe(ProbeKind.REPORTED, interval_s=0.1, timeout_s=0.1, rise=2, fall=2, grace_s=0.0)
        standings: list[Standing] = []

        def note(before: Standing, opinion: Opinion) -> None:
            standings.append(opinion.standing)

        point = VantagePoint("vantage-a", [LoadBalancer("lb", "a", probe=quick)], [], TOKEN, on_opinion=note)
        address = await point.reports.start(ANYWHERE, TOKEN)
        point.start()
        for wanted in (Standing.HEALTHY, Standing.FAILED, Standing.HEALTHY):
            stopping = asyncio.Event()
            if wanted is Standing.HEALTHY:
                reporter = Reporter(address, TOKEN, 0.05, lambda: LoadReport("lb", load=1.0))
                reporting = asyncio.create_task(reporter.run(stopping))
                await until(lambda: standings and standings[-1] is Standing.HEALTHY)
                stopping.set()
                await reporting
            else:
                await until(lambda: standings[-1] is Standing.FAILED)
        await point.stop()
        return standings

    assert asyncio.run(run()) == [Standing.HEALTHY, Standing.FAILED, Standing.HEALTHY]


def test_a_reporter_outlives_its_vantage_point() -> None:
    async def run() -> None:
        stopping = asyncio.Event()
        first = ReportIntake(Mailbox(["lb"]))
        address = await first.start(ANYWHERE, TOKEN)
        reporting = asyncio.create_task(Reporter(address, TOKEN, 0.02, lambda: LoadReport("other")).run(stopping))
        await until(lambda: first.refused)
        await first.stop()
        second = ReportIntake(Mailbox(["lb"]))
        await second.start(address, TOKEN)
        await until(lambda: second.refused)
        stopping.set()
        await reporting
        await second.stop()

    asyncio.run(run())

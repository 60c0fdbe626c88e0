"""Concurrent writers and a reader: no increment is lost, no zone is ever seen torn; nothing acknowledged is lost."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

from evenkeel.model.records import Rcode, RecordType, RRset
from evenkeel.model.transactions import AddRRs, DeleteRRset, RRsetAbsent, RRsetEquals, Transaction
from evenkeel.testing.servers import Server
from tests.conformance.arms import Arm, Content, TwinArm, Wire, transferred
from tests.servers import ZONE

WRITERS = 24
ACKNOWLEDGED = 240  # increments in all, shared by the writers
A, TXT = RecordType.A, RecordType.TXT
COUNTER, ANSWER = f"_fence.counter.{ZONE}", f"counter.{ZONE}"
PREREQUISITE_FAILED = (Rcode.NXRRSET, Rcode.YXRRSET)


def increment(value: int | None) -> Transaction:
    """From `value` to the next: fence and answer together, on condition of the old fence."""
    new = 0 if value is None else value + 1
    holds = RRsetAbsent(COUNTER, TXT) if value is None else RRsetEquals(COUNTER, TXT, (str(value),))
    changes = (
        DeleteRRset(COUNTER, TXT),
        AddRRs(RRset.of(COUNTER, TXT, 1, str(new))),
        DeleteRRset(ANSWER, A),
        AddRRs(RRset.of(ANSWER, A, 1, *addresses(new))),
    )
    return Transaction(ZONE, (holds,), changes)


def addresses(value: int) -> tuple[str, str]:
    return f"10.{value >> 8 & 255}.{value & 255}.1", f"10.{value >> 8 & 255}.{value & 255}.2"


def counted(content: Content) -> int | None:
    """The counter; fails where the zone is torn."""
    fences = [text for name, _, text in content if name == COUNTER]
    answers = {text for name, _, text in content if name == ANSWER}
    if not fences:
        assert not answers, f"an answer without its fence: {answers}"
        return None
    assert len(fences) == 1, f"more than one fence: {fences}"
    assert answers == set(addresses(int(fences[0]))), f"fence {fences[0]} beside {answers}"
    return int(fences[0])


class Race:
    """Writers that share a count of acknowledged increments."""

    def __init__(self) -> None:
        self.acknowledged = 0
        self.known: int | None = None
        self.errors: list[BaseException] = []
        self._lock = threading.Lock()

    def over(self) -> bool:
        return self.acknowledged >= ACKNOWLEDGED or bool(self.errors)

    def write(self, server: Server) -> None:
        with Wire(server) as wire:
            while not self.over():
                base = self.known
                rcode = wire.apply(increment(base))
                assert rcode is Rcode.NOERROR or rcode in PREREQUISITE_FAILED, rcode
                if rcode is Rcode.NOERROR:
                    with self._lock:
                        self.acknowledged += 1
                        if self.known is None or base is None or base + 1 > self.known:
                            self.known = 0 if base is None else base + 1

    def read(self, server: Server) -> None:
        last = -1
        while not self.over():
            value = counted(transferred(server))
            if value is not None:
                assert value >= last, f"the counter went back from {last} to {value}"
                last = value

    def run(self, work: Callable[[Server], None], server: Server) -> None:
        try:
            work(server)
        except BaseException as error:
            self.errors.append(error)


def test_no_increment_is_lost_and_no_zone_seen_torn_under_24_writers(own_server: Server) -> None:
    race = Race()
    works = [race.write] * WRITERS + [race.read]
    threads = [threading.Thread(target=race.run, args=(work, own_server), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not race.errors, race.errors[0]
    assert counted(transferred(own_server)) == race.acknowledged - 1


def test_the_twin_loses_no_increment_in_any_interleaving_drawn() -> None:
    arm: Arm = TwinArm()
    draw = random.Random(1)
    known: list[int | None] = [None] * WRITERS
    acknowledged = 0
    while acknowledged < ACKNOWLEDGED:
        writer = draw.randrange(WRITERS)
        if draw.random() < 0.5:
            known[writer] = counted(arm.content())
        elif arm.apply(increment(known[writer])) is Rcode.NOERROR:
            acknowledged += 1
    assert counted(arm.content()) == acknowledged - 1


def test_two_transactions_in_one_message_stand_or_fall_together(server: Server, name: str) -> None:
    good = Transaction(ZONE, (RRsetAbsent(name, A),), (AddRRs(RRset.of(name, A, 1, "192.0.2.1")),))
    bad = Transaction(ZONE, (RRsetEquals(name, TXT, ("x",)),), (AddRRs(RRset.of(name, TXT, 1, "y")),))
    with Wire(server) as wire:
        assert wire.apply(good, bad) is Rcode.NXRRSET
        assert wire.apply(good) is Rcode.NOERROR


def test_nothing_acknowledged_is_lost_by_sigkill(own_server: Server) -> None:
    value: int | None = None
    for _ in range(4):
        with Wire(own_server) as wire:
            for _ in range(25):
                assert wire.apply(increment(value)) is Rcode.NOERROR
                value = 0 if value is None else value + 1
        own_server.kill()
        own_server.restart()
        assert counted(transferred(own_server)) == value


def test_serials_go_on_growing_across_a_sigkill(own_server: Server) -> None:
    from tests.conformance.arms import ServerArm

    arm = ServerArm(own_server)
    assert arm.apply(increment(None)) is Rcode.NOERROR
    before = arm.serial()
    own_server.kill()
    own_server.restart()
    assert arm.serial() >= before
    assert arm.apply(increment(0)) is Rcode.NOERROR
    assert arm.serial() > before

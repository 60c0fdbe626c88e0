"""The region's journal: what is written can be read, merged and followed."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from evenkeel.adapters.journal import FileJournal, JournalReader, journal_folder
from evenkeel.model.events import Event, EventKind


def write(folder: Path, name: str, *events: Event, tail: bytes = b"") -> None:
    folder.mkdir(exist_ok=True)
    lines = b"".join(msgspec.json.encode(event) + b"\n" for event in events)
    with (folder / name).open("ab") as file:
        file.write(lines + tail)


def event(at_ms: int, process: str = "enactor-a", detail: str = "") -> Event:
    return Event(at_ms, process, EventKind.PUBLISHED, "db.demo.example.", 7, detail)


def test_an_event_comes_back_as_it_was_recorded(tmp_path: Path) -> None:
    journal = FileJournal(str(tmp_path), "planner-1")
    before_ms = time.time_ns() // 1_000_000
    journal.record(EventKind.PLAN_APPENDED, generation=7, detail="3 changed", lane="urgent")
    journal.close()
    (found,) = JournalReader(journal_folder(str(tmp_path))).poll()
    assert found == Event(found.at_ms, "planner-1", EventKind.PLAN_APPENDED, "", 7, "3 changed", {"lane": "urgent"})
    assert before_ms <= found.at_ms <= time.time_ns() // 1_000_000


def test_history_is_merged_over_processes_and_rotated_files_by_time(tmp_path: Path) -> None:
    write(tmp_path, "enactor-a.jsonl.2", event(1), event(4))
    write(tmp_path, "enactor-a.jsonl.1", event(6))
    write(tmp_path, "enactor-a.jsonl", event(9))
    write(tmp_path, "audit.jsonl", event(2, "audit"), event(5, "audit"), event(10, "audit"))
    assert [found.at_ms for found in JournalReader(tmp_path).history()] == [1, 2, 4, 5, 6, 9, 10]


def test_following_goes_on_where_the_history_ended(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", event(1))
    reader = JournalReader(tmp_path)
    assert [found.at_ms for found in reader.history()] == [1]
    assert reader.poll() == []
    write(tmp_path, "a.jsonl", event(3))
    write(tmp_path, "b.jsonl", event(2))  # a process that has only now begun
    assert [found.at_ms for found in reader.poll()] == [2, 3]
    assert reader.poll() == []


def test_a_rotation_in_between_loses_and_repeats_nothing(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", event(1))
    reader = JournalReader(tmp_path)
    reader.poll()
    write(tmp_path, "a.jsonl", event(2))
    (tmp_path / "a.jsonl").rename(tmp_path / "a.jsonl.1")
    write(tmp_path, "a.jsonl", event(3))
    assert [found.at_ms for found in reader.poll()] == [2, 3]
    assert reader.poll() == []


def test_a_line_that_is_still_being_written_waits_for_its_end(tmp_path: Path) -> None:
    line = msgspec.json.encode(event(1))
    write(tmp_path, "a.jsonl", tail=line[:20])
    reader = JournalReader(tmp_path)
    assert reader.poll() == []
    write(tmp_path, "a.jsonl", tail=line[20:] + b"\n")
    assert [found.at_ms for found in reader.poll()] == [1]
    assert reader.skipped == 0


def test_torn_and_foreign_lines_are_skipped_and_counted(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", event(1), tail=b'{"at_ms": 2, "proc\n\xff\xfe\x00\n[]\n\n{"kind": "no-such"}\n')
    write(tmp_path, "a.jsonl", event(3))
    reader = JournalReader(tmp_path)
    assert [found.at_ms for found in reader.poll()] == [1, 3]
    assert reader.skipped == 4


def test_an_endless_line_is_passed_over_in_bounded_memory(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", tail=b"x" * (3 * 1024 * 1024) + b"\n")
    write(tmp_path, "a.jsonl", event(3))
    assert [found.at_ms for found in JournalReader(tmp_path).history()] == [3]


def test_since_and_tail_leave_out_what_is_older(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", *(event(number) for number in range(1000)))
    assert [found.at_ms for found in JournalReader(tmp_path, since_ms=998).poll()] == [998, 999]
    tail = JournalReader(tmp_path, tail_octets=1000).poll()
    assert 1 <= len(tail) < 20
    assert tail[-1].at_ms == 999
    assert JournalReader(tmp_path, tail_octets=0).poll() == []


def test_no_journal_at_all_is_an_empty_one(tmp_path: Path) -> None:
    assert JournalReader(tmp_path / "absent").poll() == []
    assert list(JournalReader(tmp_path / "absent").history()) == []


def test_what_stands_is_told_once_a_minute_and_again_when_it_changes(tmp_path: Path) -> None:
    journal = FileJournal(str(tmp_path), "enactor-a")
    for generation, detail in [(1, "too much at once"), (1, "too much at once"), (2, "too much at once"), (2, "empty")]:
        journal.record(EventKind.REFUSED, endpoint="db.demo.example.", generation=generation, detail=detail)
    journal.record(EventKind.PUBLISHED, endpoint="db.demo.example.", generation=3)
    journal.record(EventKind.PUBLISHED, endpoint="db.demo.example.", generation=3)
    journal.close()
    told = [(event.kind, event.generation) for event in JournalReader(journal_folder(str(tmp_path))).history()]
    refused, published = EventKind.REFUSED, EventKind.PUBLISHED
    assert told == [(refused, 1), (refused, 2), (refused, 2), (published, 3), (published, 3)]

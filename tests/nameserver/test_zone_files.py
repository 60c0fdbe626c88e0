"""A zone's files: whatever the moment of death, what was appended is there, and what was torn is cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from evenkeel.adapters.nameserver.frames import frame, good_frame_after, read_frames
from evenkeel.adapters.nameserver.zone_files import CorruptZoneFile, ZoneFiles
from evenkeel.model.errors import InputError
from evenkeel.nameserver.history import Change, Delta, History, decoded, encode_delta, replay
from evenkeel.nameserver.zone_view import Node, Records
from evenkeel.wire.names import encode_name
from tests.nameserver.zones import APEX, as_nodes, twin

BEGIN = as_nodes(twin())


def delta(serial: int) -> Delta:
    """A commit that adds a name of its own."""
    name = encode_name(f"n{serial}.demo.example.")
    return Delta(serial, serial + 1, [Change(name, 1, 0, (), 60, (bytes((192, 0, 2, serial & 255)),))])


def after(*deltas: Delta) -> dict[bytes, Node[bytes]]:
    zone = {name: dict(node) for name, node in BEGIN.items()}
    for each in deltas:
        replay(zone, each)
    return dict(zone)


def created(folder: Path) -> ZoneFiles:
    files = ZoneFiles(folder, APEX)
    assert files.load(History(1 << 20)) is None
    files.create(BEGIN)
    return files


def reopened(folder: Path) -> tuple[ZoneFiles, dict[bytes, Node[bytes]], list[Delta]]:
    files = ZoneFiles(folder, APEX)
    history = History(1 << 20)
    zone = files.load(history)
    assert zone is not None
    return files, zone, list(decoded(history.since(7) or []))


def only(folder: Path, kind: str) -> Path:
    (path,) = folder.glob(f"{kind}-*")
    return path


def test_what_was_appended_is_there_after_reopening(tmp_path: Path) -> None:
    files = created(tmp_path)
    files.append([encode_delta(delta(7)), encode_delta(delta(8))])
    files.append([encode_delta(delta(9))])
    files.close()
    files, zone, deltas = reopened(tmp_path)
    assert zone == after(delta(7), delta(8), delta(9))
    assert deltas == [delta(7), delta(8), delta(9)]
    files.append([encode_delta(delta(10))])
    files.close()
    files, zone, _ = reopened(tmp_path)
    files.close()
    assert zone == after(*map(delta, range(7, 11)))


def test_a_journal_torn_at_any_octet_loses_only_what_was_being_written(tmp_path: Path) -> None:
    files = created(tmp_path)
    files.append([encode_delta(delta(7))])
    whole = files.journal_octets
    files.append([encode_delta(delta(8))])
    files.close()
    journal = only(tmp_path, "journal")
    octets = journal.read_bytes()
    for end in range(whole, len(octets)):
        journal.write_bytes(octets[:end])
        files, zone, _ = reopened(tmp_path)
        assert zone == after(delta(7))
        assert files.journal_octets == whole
        files.append([encode_delta(delta(8))])
        files.close()
        files, zone, _ = reopened(tmp_path)
        files.close()
        assert zone == after(delta(7), delta(8))


def test_a_torn_head_of_a_new_journal_is_written_again(tmp_path: Path) -> None:
    files = created(tmp_path)
    files.close()
    journal = only(tmp_path, "journal")
    octets = journal.read_bytes()
    for end in range(len(octets)):
        journal.write_bytes(octets[:end])
        files, zone, _ = reopened(tmp_path)
        files.append([encode_delta(delta(7))])
        files.close()
        files, zone, _ = reopened(tmp_path)
        files.close()
        assert zone == after(delta(7))


def test_damage_before_the_tail_is_reported_and_never_repaired_in_silence(tmp_path: Path) -> None:
    files = created(tmp_path)
    files.append([encode_delta(delta(7))])
    end_of_first = files.journal_octets
    files.append([encode_delta(delta(8))])
    files.close()
    journal = only(tmp_path, "journal")
    octets = bytearray(journal.read_bytes())
    octets[end_of_first - 3] ^= 0xFF
    journal.write_bytes(octets)
    with pytest.raises(CorruptZoneFile, match="mend"):
        ZoneFiles(tmp_path, APEX).load(History(1 << 20))


def test_rotation_keeps_every_commit_whether_or_not_its_snapshot_was_finished(tmp_path: Path) -> None:
    files = created(tmp_path)
    files.append([encode_delta(delta(7))])
    number = files.rotate()
    files.append([encode_delta(delta(8))])
    files.close()  # before the snapshot
    (tmp_path / "snapshot-00000002.draft").write_bytes(b"half")
    files, zone, deltas = reopened(tmp_path)
    assert zone == after(delta(7), delta(8))
    assert deltas == [delta(7), delta(8)]
    files.write_snapshot(number, after(delta(7)))
    files.append([encode_delta(delta(9))])
    files.close()
    files, zone, _ = reopened(tmp_path)
    files.close()
    assert zone == after(delta(7), delta(8), delta(9))
    assert not list(tmp_path.glob("*.draft"))


def test_only_two_snapshots_and_their_journals_stay(tmp_path: Path) -> None:
    files = created(tmp_path)
    zone = BEGIN
    for serial in range(7, 13):
        files.append([encode_delta(delta(serial))])
        zone = after(*map(delta, range(7, serial + 1)))
        files.write_snapshot(files.rotate(), zone)
    files.close()
    assert len(list(tmp_path.glob("snapshot-*"))) == 2
    assert len(list(tmp_path.glob("journal-*"))) == 2
    files, found, _ = reopened(tmp_path)
    files.close()
    assert found == zone


def test_a_damaged_snapshot_falls_back_to_the_one_before(tmp_path: Path) -> None:
    files = created(tmp_path)
    files.append([encode_delta(delta(7))])
    files.write_snapshot(files.rotate(), after(delta(7)))
    files.append([encode_delta(delta(8))])
    files.close()
    newest = sorted(tmp_path.glob("snapshot-*"))[-1]
    newest.write_bytes(newest.read_bytes()[:-5])
    files, zone, _ = reopened(tmp_path)
    files.close()
    assert zone == after(delta(7), delta(8))


def test_a_journal_without_any_snapshot_is_reported(tmp_path: Path) -> None:
    files = created(tmp_path)
    files.append([encode_delta(delta(7))])
    files.close()
    only(tmp_path, "snapshot").unlink()
    with pytest.raises(CorruptZoneFile, match="snapshot"):
        ZoneFiles(tmp_path, APEX).load(History(1 << 20))


def test_two_servers_cannot_have_the_same_files(tmp_path: Path) -> None:
    files = created(tmp_path)
    with pytest.raises(InputError, match="another nameserver"):
        ZoneFiles(tmp_path, APEX)
    files.close()


def test_files_of_another_zone_are_not_taken_for_this_one(tmp_path: Path) -> None:
    created(tmp_path).close()
    with pytest.raises(CorruptZoneFile, match="is expected"):
        ZoneFiles(tmp_path, encode_name("other.example.")).load(History(1 << 20))


def test_a_frame_is_found_behind_damage_only_where_it_is_whole() -> None:
    good = frame(b"payload")
    assert good_frame_after(b"x" * 20 + good, 0) == 20
    assert good_frame_after(b"x" * 20 + good[:-1], 0) == -1
    assert [payload for _, payload in read_frames(good + good + b"rest")] == [b"payload", b"payload"]


def test_history_is_bounded_and_answers_only_what_it_has_whole() -> None:
    history = History(octets_max=40)
    for serial in range(10):
        history.append(serial, serial + 1, bytes(10))
    assert history.octets <= 40
    assert history.since(2) is None
    assert len(history.since(6) or []) == 4
    history.append(20, 21, bytes(10))  # a gap
    assert history.since(9) is None
    assert len(history.since(20) or []) == 1


def test_empty_names_leave_the_replayed_zone() -> None:
    zone: dict[bytes, dict[str, Records[bytes]]] = {}
    replay(zone, delta(7))
    (change,) = delta(7).changes
    replay(zone, Delta(8, 9, [Change(change.name, 1, 60, change.new, 0, ())]))
    assert zone == {}

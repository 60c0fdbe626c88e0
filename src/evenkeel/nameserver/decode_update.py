"""An UPDATE message's sections as the records that the rules take (RFC 2136 sections 2.3 to 2.5).

Written for speed: a batch has thousands of records. What breaks the message's form raises; what is well-formed but
not allowed becomes a MALFORMED record in its place, because the rules answer in the order of the message.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from evenkeel.nameserver.update_rules import Edit, EditRecord, Need, NeedRecord, Update
from evenkeel.wire.names import POINTER, Malformed
from evenkeel.wire.octets import read_octets
from evenkeel.wire.rdata import TYPE_CODES, TYPE_NAMES
from evenkeel.wire.records import (
    ANY,
    CLASS_ANY,
    CLASS_IN,
    CLASS_NONE,
    FIXED,
    HEADER,
    is_meta,
    read_rdata_octets,
    type_name,
)

_SOA = TYPE_CODES["SOA"]
_A = TYPE_CODES["A"]
TTL_MAX_S = 0x7FFFFFFF  # RFC 2181 section 8: with the top bit set it counts as 0

NeedOctets = NeedRecord[bytes, bytes]
EditOctets = EditRecord[bytes, bytes]
_BAD_NEED: NeedOctets = (Need.MALFORMED, b"", "", None)
_BAD_EDIT: EditOctets = (Edit.MALFORMED, b"", "", 0, None)
_NEEDS_ANY = (Need.NAME_IN_USE, Need.RRSET_EXISTS)
_NEEDS_NONE = (Need.NAME_NOT_IN_USE, Need.RRSET_ABSENT)


@dataclass(frozen=True, slots=True)
class UpdateMessage:
    """`zone`: the name in the zone section; `zone_octets`: that section as it came, for the reply."""

    zone: bytes
    zone_octets: bytes
    update: Update[bytes, bytes]


def decode_update(message: bytes) -> UpdateMessage:
    """Decode `message`, without its TSIG record. Raises `Malformed`: FORMERR."""
    try:
        return _decode(message)
    except (IndexError, struct.error) as error:
        raise Malformed(f"update of {len(message)} octets ends within a record") from error


def read_zone_section(message: bytes, seen: dict[int, bytes]) -> tuple[bytes, int]:
    """The zone's name and the offset after the section (RFC 2136 section 2.3). Raises `Malformed`, `IndexError`."""
    zone, at = read_octets(message, HEADER.size, seen)
    type_, class_ = struct.unpack_from("!HH", message, at)
    if message[4:6] != b"\0\1" or type_ != _SOA or class_ != CLASS_IN:
        raise Malformed("the zone section has to be one SOA question of class IN")
    return zone, at + 4


def _decode(message: bytes) -> UpdateMessage:
    _, _, _, needs_count, edits_count, _ = HEADER.unpack_from(message)
    seen: dict[int, bytes] = {}
    zone, at = read_zone_section(message, seen)
    zone_octets = message[HEADER.size : at]
    needs: list[NeedOctets] = []
    for _ in range(needs_count):
        need, at = _need(message, at, seen)
        needs.append(need)
    return UpdateMessage(zone, zone_octets, Update(needs, _edits(message, at, edits_count, seen)))


def _need(message: bytes, at: int, seen: dict[int, bytes]) -> tuple[NeedOctets, int]:
    name, at = read_octets(message, at, seen)
    code, class_, ttl_s, octets = FIXED.unpack_from(message, at)
    at += 10
    end = at + octets
    if ttl_s:
        return _BAD_NEED, end
    if class_ == CLASS_IN:
        if is_meta(code):
            return _BAD_NEED, end
        rdata = read_rdata_octets(message, code, at, end, seen)
        return (Need.RRSET_HOLDS, name, TYPE_NAMES.get(code) or type_name(code), rdata), end
    if octets or class_ not in (CLASS_ANY, CLASS_NONE):
        return _BAD_NEED, end
    of_name, of_set = _NEEDS_ANY if class_ == CLASS_ANY else _NEEDS_NONE
    if code == ANY:
        return (of_name, name, "", None), end
    return (of_set, name, TYPE_NAMES.get(code) or type_name(code), None), end


def _edits(message: bytes, at: int, count: int, seen: dict[int, bytes]) -> list[EditOctets]:
    """The update section. The two forms that nearly all records have are read in line."""
    edits: list[EditOctets] = []
    unpack, known, types, octets_in_all = FIXED.unpack_from, seen.get, TYPE_NAMES.get, len(message)
    add, delete_rrset = Edit.ADD, Edit.DELETE_RRSET
    for _ in range(count):
        name = known((message[at] & 0x3F) << 8 | message[at + 1]) if message[at] >= POINTER else None
        if name is None:
            name, at = read_octets(message, at, seen)
        else:
            at += 2
        code, class_, ttl_s, octets = unpack(message, at)
        at += 10
        end = at + octets
        type_ = types(code)
        if type_ is not None and class_ == CLASS_IN and ttl_s <= TTL_MAX_S and end <= octets_in_all:
            is_address = code == _A and octets == 4
            rdata = message[at:end] if is_address else read_rdata_octets(message, code, at, end, seen)
            edits.append((add, name, type_, ttl_s, rdata))
        elif type_ is not None and class_ == CLASS_ANY and not ttl_s and not octets:
            edits.append((delete_rrset, name, type_, 0, None))
        else:
            edits.append(_edit(message, name, (code, class_, ttl_s), at, end, seen))
        at = end
    return edits


def _edit(
    message: bytes, name: bytes, fixed: tuple[int, int, int], at: int, end: int, seen: dict[int, bytes]
) -> EditOctets:
    code, class_, ttl_s = fixed
    if class_ == CLASS_ANY:
        if ttl_s or end != at or (is_meta(code) and code != ANY):
            return _BAD_EDIT
        if code == ANY:
            return (Edit.DELETE_NAME, name, "", 0, None)
        return (Edit.DELETE_RRSET, name, type_name(code), 0, None)
    if is_meta(code) or class_ not in (CLASS_IN, CLASS_NONE) or (class_ == CLASS_NONE and ttl_s):
        return _BAD_EDIT
    rdata = read_rdata_octets(message, code, at, end, seen)
    kind = Edit.ADD if class_ == CLASS_IN else Edit.DELETE_RECORD
    return (kind, name, type_name(code), ttl_s if ttl_s <= TTL_MAX_S else 0, rdata)

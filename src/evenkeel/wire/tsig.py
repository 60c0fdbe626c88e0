"""Transaction signatures with hmac-sha256 (RFC 8945), on raw octets.

A signature is the last record of a message's additional section. It covers, in this order: the request's MAC
(in a reply), the message as it was before the record was added, and the TSIG variables (section 4.3.3). From the
second message of a multi-message reply on it covers the previous MAC, every message since, and the timers only
(section 5.3.1).
"""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass, field

from evenkeel.model.errors import EvenkeelError
from evenkeel.wire.names import Malformed, encode_name, read_name, skip_name

ALGORITHM = "hmac-sha256."
MAC_OCTETS = 32
FUDGE_S = 300
BADSIG, BADKEY, BADTIME, BADTRUNC = 16, 17, 18, 22
ERROR_NAMES = {BADSIG: "BADSIG", BADKEY: "BADKEY", BADTIME: "BADTIME", BADTRUNC: "BADTRUNC"}
UNSIGNED_IN_A_ROW_MAX = 99  # between two signed messages of a transfer (RFC 8945 section 5.3.1)

_HEADER = struct.Struct("!6H")
_FIXED = struct.Struct("!HHIH")  # type, class, TTL, RDLENGTH
_TYPE_TSIG, _CLASS_ANY = 250, 255
_FIXED_OCTETS = _FIXED.pack(_TYPE_TSIG, _CLASS_ANY, 0, 0)[:-2]
_ALGORITHM_WIRE = encode_name(ALGORITHM)


@dataclass(frozen=True, slots=True)
class TsigKey:
    """A shared secret and the name by which both sides know it. The secret is never shown."""

    name: str
    secret: bytes = field(repr=False)

    @property
    def wire_name(self) -> bytes:
        return encode_name(self.name)


@dataclass(frozen=True, slots=True)
class Tsig:
    """The signature record of a message."""

    key_name: str
    algorithm: str
    time_s: int
    fudge_s: int
    mac: bytes
    original_id: int
    error: int
    other: bytes


class TsigFailure(EvenkeelError):
    """A signature that is missing or does not hold. `error` is the TSIG error code (RFC 8945 section 3)."""

    def __init__(self, error: int, what: str, tsig: Tsig | None = None) -> None:
        self.error = error
        self.tsig = tsig
        super().__init__(what)


def sign(
    message: bytes,
    key: TsigKey,
    time_s: int,
    *,
    request_mac: bytes = b"",
    fudge_s: int = FUDGE_S,
    error: int = 0,
    other: bytes = b"",
) -> tuple[bytes, bytes]:
    """`message` with its signature, and the MAC that its reply will cover. `time_s` is Unix time."""
    timers = _timers(time_s, fudge_s)
    variables = _variables(key.wire_name, timers, error, other)
    mac = _digest(key, request_mac, message, variables)
    return _append(message, key, timers, mac, error, other), mac


def unsigned_error(message: bytes, tsig: Tsig, error: int) -> bytes:
    """A reply to a request whose key or MAC was bad: the record with an empty MAC (RFC 8945 section 5.3.2)."""
    rdata = encode_name(tsig.algorithm) + _timers(tsig.time_s, tsig.fudge_s) + b"\0\0"
    rdata += struct.pack("!HHH", tsig.original_id, error, 0)
    return _with_record(message, encode_name(tsig.key_name), rdata)


def split(message: bytes, signed_by: bytes = b"") -> tuple[bytes, Tsig | None]:
    """The message as it was signed, and its signature; None where it has none.

    `signed_by` is the wire name of the key that is expected: then a signature of it is found from the message's end,
    without a walk through its records. A mistake there can only make a signature fail, as it covers all before it.
    Raises `Malformed`, also for a TSIG record that is not the last one (RFC 8945 section 5.2).
    """
    try:
        start = find_signature(message, signed_by) if signed_by else -1
        return _split_at(message, start) if start >= 0 else _split(message)
    except (IndexError, struct.error) as error:
        raise Malformed(f"message of {len(message)} octets ends within a record") from error


def find_signature(message: bytes, wire_name: bytes) -> int:
    """Where the last record begins, if it looks like a signature by the key of that lowercase wire name; else -1."""
    fixed = message.rfind(_FIXED_OCTETS, _HEADER.size)
    start = fixed - len(wire_name)
    rdata = fixed + _FIXED.size
    if start < _HEADER.size or message[10:12] == b"\0\0" or message[start:fixed].lower() != wire_name:
        return -1
    return start if rdata + int.from_bytes(message[rdata - 2 : rdata], "big") == len(message) else -1


def _split_at(message: bytes, start: int) -> tuple[bytes, Tsig]:
    tsig = _read(message, start)
    additional = int.from_bytes(message[10:12], "big") - 1
    head = tsig.original_id.to_bytes(2, "big") + message[2:10] + additional.to_bytes(2, "big")
    return head + message[_HEADER.size : start], tsig


def _split(message: bytes) -> tuple[bytes, Tsig | None]:
    counts = _HEADER.unpack_from(message)
    at = _HEADER.size
    for _ in range(counts[2]):
        at = skip_name(message, at) + 4
    last = -1
    records = counts[3] + counts[4] + counts[5]
    for remaining in range(records, 0, -1):
        start = at
        at = skip_name(message, at)
        rtype, _, _, rdlength = _FIXED.unpack_from(message, at)
        if rtype == _TYPE_TSIG:
            if remaining != 1 or not counts[5]:
                raise Malformed("a TSIG record stands elsewhere than last in the additional section")
            last = start
        at += _FIXED.size + rdlength
    if at > len(message):
        raise Malformed("the last record runs past the end of the message")
    if last < 0:
        return message, None
    return _split_at(message, last)


def _read(message: bytes, at: int) -> Tsig:
    seen: dict[int, str] = {}
    key_name, at = read_name(message, at, seen)
    _, rclass, ttl, rdlength = _FIXED.unpack_from(message, at)
    if rclass != _CLASS_ANY or ttl:
        raise Malformed(f"TSIG record of class {rclass} and TTL {ttl}, 255 and 0 are required")
    at += _FIXED.size
    end = at + rdlength
    algorithm, at = read_name(message, at, seen)
    high, low, fudge_s, mac_octets = struct.unpack_from("!HIHH", message, at)
    mac = message[at + 10 : at + 10 + mac_octets]
    at += 10 + mac_octets
    original_id, error, other_octets = struct.unpack_from("!HHH", message, at)
    if at + 6 + other_octets != end:
        raise Malformed("TSIG record's lengths do not add up")
    other = message[at + 6 : end]
    return Tsig(key_name, algorithm, high << 32 | low, fudge_s, mac, original_id, error, other)


def verify(message: bytes, key: TsigKey, now_s: int, *, request_mac: bytes = b"") -> tuple[bytes, Tsig]:
    """The message without its signature, once that holds. Raises `TsigFailure` or `Malformed`.

    A reply whose TSIG error field is set still raises, with that code, after its MAC was looked at: so a peer's
    BADKEY, BADSIG or BADTIME is told from our own verdict by `tsig.error`.
    """
    bare, tsig = split(message, key.wire_name)
    if tsig is None:
        raise TsigFailure(BADSIG, f"unsigned message, a signature of key {key.name!r} is required")
    _check_key(tsig, key)
    if tsig.error in (BADKEY, BADSIG) and not tsig.mac:
        raise TsigFailure(tsig.error, f"peer says {ERROR_NAMES[tsig.error]} to key {key.name!r}", tsig)
    variables = _variables(key.wire_name, _timers(tsig.time_s, tsig.fudge_s), tsig.error, tsig.other)
    _check_mac(tsig, key, _digest(key, request_mac, bare, variables))
    if tsig.error:
        name = ERROR_NAMES.get(tsig.error, str(tsig.error))
        raise TsigFailure(tsig.error, f"peer says {name} to key {key.name!r}", tsig)
    _check_time(tsig, now_s)
    return bare, tsig


def _check_key(tsig: Tsig, key: TsigKey) -> None:
    if tsig.key_name != key.name:
        raise TsigFailure(BADKEY, f"signed by key {tsig.key_name!r}, not by {key.name!r}", tsig)
    if tsig.algorithm != ALGORITHM:
        raise TsigFailure(BADKEY, f"key {key.name!r} used with {tsig.algorithm!r}, not {ALGORITHM!r}", tsig)


def _check_mac(tsig: Tsig, key: TsigKey, expected: bytes) -> None:
    if len(tsig.mac) != MAC_OCTETS:
        raise TsigFailure(BADTRUNC, f"MAC of {len(tsig.mac)} octets, {MAC_OCTETS} are required", tsig)
    if not hmac.compare_digest(tsig.mac, expected):
        raise TsigFailure(BADSIG, f"the MAC of key {key.name!r} does not hold", tsig)


def _check_time(tsig: Tsig, now_s: int) -> None:
    if abs(now_s - tsig.time_s) > tsig.fudge_s:
        raise TsigFailure(BADTIME, f"signed at {tsig.time_s}, now is {now_s}, allowed are {tsig.fudge_s} s", tsig)


class StreamSigner:
    """Signs the messages of one multi-message reply, each in turn."""

    def __init__(self, key: TsigKey, request_mac: bytes) -> None:
        self._key = key
        self._mac = request_mac
        self._first = True

    def sign(self, message: bytes, time_s: int) -> bytes:
        timers = _timers(time_s, FUDGE_S)
        covered = _variables(self._key.wire_name, timers, 0, b"") if self._first else timers
        self._first = False
        self._mac = _digest(self._key, self._mac, message, covered)
        return _append(message, self._key, timers, self._mac, 0, b"")


class StreamVerifier:
    """Verifies a multi-message reply. What stands before `pending` is authentic."""

    def __init__(self, key: TsigKey, request_mac: bytes) -> None:
        self._key = key
        self._mac = request_mac
        self._unsigned = b""
        self._first = True
        self.pending = 0  # messages since the last signed one: 0 at the end of a sound transfer

    def feed(self, message: bytes, now_s: int) -> bytes:
        """The message without its signature. Raises `TsigFailure` or `Malformed`."""
        if self._first:
            bare, tsig = verify(message, self._key, now_s, request_mac=self._mac)
            self._first = False
            self._mac = tsig.mac
            return bare
        bare, found = split(message)
        if found is None:
            self.pending += 1
            if self.pending > UNSIGNED_IN_A_ROW_MAX:
                raise TsigFailure(BADSIG, f"{self.pending} unsigned messages in a row")
            self._unsigned += bare
            return bare
        _check_key(found, self._key)
        timers = _timers(found.time_s, found.fudge_s)
        _check_mac(found, self._key, _digest(self._key, self._mac, self._unsigned + bare, timers))
        _check_time(found, now_s)
        self._mac = found.mac
        self._unsigned = b""
        self.pending = 0
        return bare


def _timers(time_s: int, fudge_s: int) -> bytes:
    return struct.pack("!HIH", time_s >> 32 & 0xFFFF, time_s & 0xFFFFFFFF, fudge_s)


def _variables(wire_name: bytes, timers: bytes, error: int, other: bytes) -> bytes:
    tail = struct.pack("!HH", error, len(other)) + other
    return wire_name + b"\x00\xff\x00\x00\x00\x00" + _ALGORITHM_WIRE + timers + tail


def _digest(key: TsigKey, prior_mac: bytes, message: bytes, covered: bytes) -> bytes:
    mac = hmac.new(key.secret, digestmod="sha256")
    if prior_mac:
        mac.update(len(prior_mac).to_bytes(2, "big") + prior_mac)
    mac.update(message)
    mac.update(covered)
    return mac.digest()


def _append(message: bytes, key: TsigKey, timers: bytes, mac: bytes, error: int, other: bytes) -> bytes:
    errors = struct.pack("!HH", error, len(other)) + other
    rdata = b"".join((_ALGORITHM_WIRE, timers, len(mac).to_bytes(2, "big"), mac, message[:2], errors))
    return _with_record(message, key.wire_name, rdata)


def _with_record(message: bytes, wire_name: bytes, rdata: bytes) -> bytes:
    additional = int.from_bytes(message[10:12], "big") + 1
    fixed = _FIXED.pack(_TYPE_TSIG, _CLASS_ANY, 0, len(rdata))
    return b"".join((message[:10], additional.to_bytes(2, "big"), message[12:], wire_name, fixed, rdata))

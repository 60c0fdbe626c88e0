"""From a message to its reply, without a socket: what the server says to whom.

    QUERY    answered at once from ready answers; AXFR and IXFR become work, for those who may have the zone
    UPDATE   without TSIG: REFUSED; with one: work for the zone's commits
    others   NOTIMP

Strangers get nothing that pays: a reply over UDP is never larger than 1232 octets or what the client offered,
TXT and ANY never larger than 512, anything outside the zones is REFUSED with the question alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from evenkeel.model.records import Rcode
from evenkeel.nameserver.answers import OPT_RECORD, UDP_OCTETS_MAX, Ring, ServedZone
from evenkeel.nameserver.decode_update import UpdateMessage, decode_update
from evenkeel.nameserver.ready_packets import ReadyPackets
from evenkeel.nameserver.request import MESSAGE_OCTETS_MAX, UDP_OCTETS_DEFAULT, Request, parse_request
from evenkeel.wire.names import Malformed
from evenkeel.wire.octets import suffixes
from evenkeel.wire.records import ANY, AXFR, CLASS_IN, HEADER, IXFR, is_meta
from evenkeel.wire.tsig import (
    BADKEY,
    BADTIME,
    Tsig,
    TsigFailure,
    TsigKey,
    find_signature,
    sign,
    split,
    unsigned_error,
    verify,
)

OPCODE_QUERY, OPCODE_UPDATE = 0, 5
SIGNATURE_OCTETS_MAX = 400  # room that a TSIG record may take in a reply
_QR, _TC, _RD = 0x8000, 0x0200, 0x0100
_BADVERS_RECORD = b"\0\0\x29" + UDP_OCTETS_MAX.to_bytes(2, "big") + b"\1\0\0\0\0\0"  # the code's upper bits: 16 >> 4


class Signer(NamedTuple):
    """Who signed a request, and the MAC that the reply has to cover."""

    key: TsigKey
    mac: bytes


@dataclass(frozen=True, slots=True)
class UpdateWork:
    """An UPDATE that claims a signature; `Responder.admit` looks at it when its turn comes."""

    message: bytes


@dataclass(frozen=True, slots=True)
class AdmittedUpdate:
    """An UPDATE by someone who may. `reply` makes the message that says how it ended."""

    zone: ServedZone
    decoded: UpdateMessage
    reply: Callable[[Rcode], bytes]


@dataclass(frozen=True, slots=True)
class TransferWork:
    """A transfer that was granted. `serial`: what an IXFR's client has; -1 asks for all of the zone."""

    zone: ServedZone
    message_id: bytes
    question_octets: bytes
    serial: int
    signer: Signer | None


Work = UpdateWork | TransferWork


@dataclass(slots=True)
class Counts:
    """What was said, since the start."""

    ready: int = 0  # answered by the shortest way
    queries: int = 0  # answered by the long way
    updates: int = 0
    dropped: int = 0  # not even answered: too short, or itself a reply
    truncated: int = 0
    tsig_failures: int = 0
    rcodes: list[int] = field(default_factory=lambda: [0] * 24)  # of queries answered by the long way
    update_rcodes: list[int] = field(default_factory=lambda: [0] * 24)


class Responder:
    """Holds the zones and their keys. `may_transfer(zone, host)`: whether that peer may have the zone unsigned."""

    def __init__(
        self,
        zones: Mapping[bytes, ServedZone],
        keys: Mapping[bytes, TsigKey],
        may_transfer: Callable[[bytes, str], bool],
        now_s: Callable[[], int],
        packets: ReadyPackets,
    ) -> None:
        self._zones = zones
        self.packets = packets
        self._zone_keys = keys  # by zone
        self._keys = {key.name: key for key in keys.values()}
        self._wire_names = {key.wire_name: key for key in keys.values()}
        self._may_transfer = may_transfer
        self._now_s = now_s
        self.counts = Counts()

    def respond(self, message: bytes, host: str, is_tcp: bool) -> bytes | Work | None:
        """The reply to `message` from `host`, work to be done for it, or None: no reply. Never raises."""
        counts = self.counts
        if len(message) < HEADER.size or message[2] & 0x80:
            counts.dropped += 1
            return None
        opcode = message[2] >> 3 & 15
        if opcode == OPCODE_QUERY:
            counts.queries += 1
            try:
                return self._query(message, host, is_tcp)
            except Malformed:
                return self._bare(message, Rcode.FORMERR)
        if opcode == OPCODE_UPDATE:
            counts.updates += 1
            if message[10:12] == b"\0\0":
                counts.update_rcodes[Rcode.REFUSED] += 1
                return _header_only(message, Rcode.REFUSED)
            return UpdateWork(message)
        return self._bare(message, Rcode.NOTIMP)

    def _bare(self, message: bytes, rcode: Rcode) -> bytes:
        self.counts.rcodes[rcode] += 1
        return _header_only(message, rcode)

    # --- queries --------------------------------------------------------------------------------------

    def _query(self, message: bytes, host: str, is_tcp: bool) -> bytes | Work | None:
        request = parse_request(message)
        if request.edns_version:
            self.counts.rcodes[Rcode.BADVERS] += 1
            return _question_only(message, request, Rcode.NOERROR, _BADVERS_RECORD)
        signer = None
        if request.is_signed:
            signed = self._verified(message)
            if isinstance(signed, bytes):
                return signed
            _, signer = signed
        reply = self._answer(message, request, host, is_tcp, signer)
        if signer is not None and isinstance(reply, bytes):
            return sign(reply, signer.key, self._now_s(), request_mac=signer.mac)[0]
        return reply

    def _answer(
        self, message: bytes, request: Request, host: str, is_tcp: bool, signer: Signer | None
    ) -> bytes | Work | None:
        zone = self.zone_of(request.name)
        if zone is None or request.class_ != CLASS_IN:
            return self._refused(message, request)
        if request.type in (AXFR, IXFR):
            return self._transfer(message, request, zone, host, is_tcp, signer)
        if is_meta(request.type) and request.type != ANY:
            return self._bare(message, Rcode.FORMERR)
        ring = zone.ring(request.question)
        self.counts.rcodes[ring.rcode] += 1
        return self._fitted(message, request, ring, is_tcp, signer is not None)

    def zone_of(self, name: bytes) -> ServedZone | None:
        """The nearest zone at or above `name`."""
        for suffix in suffixes(name):
            zone = self._zones.get(suffix)
            if zone is not None:
                return zone
        return None

    def _fitted(self, message: bytes, request: Request, ring: Ring, is_tcp: bool, is_signed: bool) -> bytes:
        reply = compose(message, request.question_octets, ring, request.has_edns)
        if is_tcp:
            limit = MESSAGE_OCTETS_MAX
        elif ring.is_bulky and not is_signed:
            limit = UDP_OCTETS_DEFAULT
        else:
            limit = min(UDP_OCTETS_MAX, request.udp_octets)
        if len(reply) + (SIGNATURE_OCTETS_MAX if is_signed else 0) <= limit:
            if request.is_plain and ring.is_kept and not is_tcp:
                self.packets.keep(message, request.question_octets, ring, request.has_edns, limit)
            return reply
        self.counts.truncated += 1
        return truncated(message, request.question_octets, ring, request.has_edns)

    def _refused(self, message: bytes, request: Request) -> bytes:
        self.counts.rcodes[Rcode.REFUSED] += 1
        return _question_only(message, request, Rcode.REFUSED, OPT_RECORD if request.has_edns else b"")

    def _transfer(
        self, message: bytes, request: Request, zone: ServedZone, host: str, is_tcp: bool, signer: Signer | None
    ) -> bytes | Work:
        apex = zone.store.apex
        if request.name != apex:
            self.counts.rcodes[Rcode.NOTAUTH] += 1
            return _question_only(message, request, Rcode.NOTAUTH, b"")
        if not (self._holds_key(apex, signer) or (signer is None and self._may_transfer(apex, host))):
            return self._refused(message, request)
        if is_tcp:
            serial = request.serial if request.type == IXFR else -1
            return TransferWork(zone, message[:2], request.question_octets, serial, signer)
        if request.type == AXFR:
            return self._bare(message, Rcode.FORMERR)  # RFC 5936 section 4.2: no AXFR over UDP
        # RFC 1995 section 2: the SOA alone tells a client over UDP to come back over TCP.
        ring = zone.ring(apex + b"\0\6\0\1")
        return compose(message, request.question_octets, ring, request.has_edns)

    def _holds_key(self, zone: bytes, signer: Signer | None) -> bool:
        key = self._zone_keys.get(zone)
        return signer is not None and key is not None and signer.key.name == key.name

    # --- updates --------------------------------------------------------------------------------------

    def admit(self, work: UpdateWork) -> AdmittedUpdate | bytes:
        """The update, once its signature and zone hold; else the reply that says why not. Never raises."""
        message = work.message
        try:
            signed = self._verified(message)
            if isinstance(signed, bytes):
                self.counts.update_rcodes[Rcode.NOTAUTH] += 1
                return signed
            bare, signer = signed
        except Malformed:
            self.counts.update_rcodes[Rcode.FORMERR] += 1
            return _header_only(message, Rcode.FORMERR)
        return self._admit_signed(message, bare, signer)

    def _admit_signed(self, message: bytes, bare: bytes, signer: Signer | None) -> AdmittedUpdate | bytes:
        def reply(rcode: Rcode, zone_octets: bytes = b"") -> bytes:
            self.counts.update_rcodes[rcode] += 1
            body = _header_only(message, rcode, questions=1 if zone_octets else 0) + zone_octets
            return body if signer is None else sign(body, signer.key, self._now_s(), request_mac=signer.mac)[0]

        if signer is None:
            return reply(Rcode.REFUSED)
        try:
            decoded = decode_update(bare)
        except Malformed:
            return reply(Rcode.FORMERR)
        zone = self._zones.get(decoded.zone)
        if zone is None:
            return reply(Rcode.NOTAUTH, decoded.zone_octets)
        if not self._holds_key(decoded.zone, signer):
            return reply(Rcode.REFUSED, decoded.zone_octets)
        return AdmittedUpdate(zone, decoded, lambda rcode: reply(rcode, decoded.zone_octets))

    # --- signatures (RFC 8945 section 5.2) --------------------------------------------------------------

    def _verified(self, message: bytes) -> tuple[bytes, Signer | None] | bytes:
        """The message as it was signed, and by whom; or the reply to a signature that does not hold."""
        key = self._signing_key(message)
        if key is None:
            _, tsig = split(message)
            if tsig is None:
                return message, None
            key = self._keys.get(tsig.key_name)
            if key is None:
                return self._tsig_error(message, tsig, BADKEY, None)
        try:
            bare, tsig = verify(message, key, self._now_s())
        except TsigFailure as failure:
            if failure.tsig is None:
                return message, None
            return self._tsig_error(message, failure.tsig, failure.error, key)
        return bare, Signer(key, tsig.mac)

    def _signing_key(self, message: bytes) -> TsigKey | None:
        """The key, where the message ends in a signature by one that is known; looked for from the end."""
        for wire_name, key in self._wire_names.items():
            if find_signature(message, wire_name) >= 0:
                return key
        return None

    def _tsig_error(self, message: bytes, tsig: Tsig, error: int, key: TsigKey | None) -> bytes:
        self.counts.tsig_failures += 1
        body = _header_only(message, Rcode.NOTAUTH)
        if error != BADTIME or key is None:
            return unsigned_error(body, tsig, error)
        # The MAC held, so the reply is signed, with the client's own time, and says what time it is here.
        other = self._now_s().to_bytes(6, "big")
        return sign(body, key, tsig.time_s, request_mac=tsig.mac, fudge_s=tsig.fudge_s, error=error, other=other)[0]


# --- putting replies together ---------------------------------------------------------------------------


def compose(message: bytes, question_octets: bytes, ring: Ring, has_edns: bool) -> bytes:
    """The next reply of `ring` to `message`, whatever its size."""
    head = ring.heads[(message[2] & 1) | (2 if has_edns else 0)]
    tail = ring.tail()
    if has_edns:
        return b"".join((message[:2], head, question_octets, tail, OPT_RECORD))
    return b"".join((message[:2], head, question_octets, tail))


def truncated(message: bytes, question_octets: bytes, ring: Ring, has_edns: bool) -> bytes:
    """No records at all, and the sign to come back over TCP (RFC 2181 section 9)."""
    flags = int.from_bytes(ring.heads[message[2] & 1][:2], "big") | _TC
    counts = HEADER.pack(0, flags, 1, 0, 0, 1 if has_edns else 0)[2:]
    return message[:2] + counts + question_octets + (OPT_RECORD if has_edns else b"")


def _header_only(message: bytes, rcode: Rcode, questions: int = 0) -> bytes:
    flags = _QR | (message[2] & 0x78) << 8 | (message[2] & 1) << 8 | rcode
    return message[:2] + HEADER.pack(0, flags, questions, 0, 0, 0)[2:]


def _question_only(message: bytes, request: Request, rcode: Rcode, additional: bytes) -> bytes:
    head = _header_only(message, rcode, questions=1)
    return b"".join((head[:10], b"\0\1" if additional else b"\0\0", request.question_octets, additional))

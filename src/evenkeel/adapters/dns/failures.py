"""How a DNS server can fail its client, and what to do about it."""

from __future__ import annotations

from evenkeel.model.errors import Unreachable, WriteRejected
from evenkeel.model.records import Rcode
from evenkeel.wire.tsig import BADKEY, BADSIG, BADTIME, ERROR_NAMES

_KEY_MENDS = {
    BADKEY: "give the server a key of that name (BIND: key statement; Knot: key section)",
    BADSIG: "the secrets of server and client differ; copy one to the other",
    BADTIME: "the clocks of server and client differ by more than 300 s; set them right",
}
_RCODE_MENDS = {
    Rcode.REFUSED: (
        "let the key update and transfer the zone (BIND: allow-update, allow-transfer, and check-names ignore for "
        "addresses under names with underscores; Knot: acl with action update and transfer)"
    ),
    Rcode.NOTAUTH: "the server is not the primary of that zone, or does not know it; see the zone's `primary`",
    Rcode.NOTIMP: "this server takes no dynamic updates (a secondary?); see the zone's `primary`",
    Rcode.SERVFAIL: "see the server's log (disk full, zone not loaded)",
}


class NotSent(Unreachable):
    """The server could not be reached before anything was sent: nothing can have changed."""


class OutcomeUnknown(Unreachable):
    """The connection was lost, or no sound reply came in time: what was sent may have been applied, or may yet be."""


class ServerRefused(Unreachable):
    """The server answered with an error that is no verdict on a prerequisite: nothing changed."""

    def __init__(self, rcode: int, what: str) -> None:
        self.rcode = rcode
        name = rcode_name(rcode)
        mend = _RCODE_MENDS.get(rcode)  # type: ignore[call-overload] # an int that is no Rcode finds nothing
        super().__init__(f"{what} answered {name}" + (f"; mend: {mend}" if mend else ""))


class LoneWriteRefused(ServerRefused, WriteRejected):
    """The server refused one transaction that went by itself: it is to blame, not the server."""


class KeyRejected(ServerRefused):
    """The server did not accept our signature. Names the key and the mend."""

    def __init__(self, tsig_error: int, key_name: str, what: str) -> None:
        self.tsig_error = tsig_error
        super().__init__(Rcode.NOTAUTH, what)
        name = ERROR_NAMES.get(tsig_error, str(tsig_error))
        mend = _KEY_MENDS.get(tsig_error, "see the server's log")
        self.args = (f"{what} answered NOTAUTH, {name}: TSIG key {key_name!r} is not accepted; mend: {mend}",)


def rcode_name(rcode: int) -> str:
    return Rcode(rcode).name if rcode in Rcode.__members__.values() else f"RCODE{rcode}"

"""One probe of one target over a socket that never blocks: TCP, HTTP or HTTPS.

The whole exchange is a state machine that `step` moves as far as the socket lets it: connecting, handshake, sending,
reading. It ends once, with an `Observation`. Nothing a peer sends can make it read more than
`HEAD_OCTETS_MAX` octets or more than `READS_MAX` times, nor raise.

A probe ends its connection with a reset (SO_LINGER of zero), as health checkers commonly do: it leaves no TIME_WAIT
behind, so thousands of probes a second do not use up this machine's ports.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass

from evenkeel.adapters.probes.http_reply import HEAD_OCTETS_MAX, MalformedReply, read_head
from evenkeel.endpoints.vantage_view import Target
from evenkeel.endpoints.verdicts import Observation, Outcome
from evenkeel.model.errors import InputError, InternalError
from evenkeel.model.health import ProbeKind

READS_MAX = 256
TIMEOUT_SHARE_MAX = 0.9  # of the interval: a turn is over before the next one, or every other would be lost
GOOD_STATUSES = range(200, 400)
_CHUNK_OCTETS = 4096
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_HTTP_PORT, _HTTPS_PORT = 80, 443

_OURS = {
    errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL, errno.ENETDOWN, errno.ENETUNREACH,
    errno.EPERM, errno.EACCES, errno.EAFNOSUPPORT, errno.EADDRINUSE, errno.EAGAIN,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Call:
    """All that one target's probes have in common, worked out once."""

    family: socket.AddressFamily
    address: tuple[str, int]
    request: bytes  # empty for a TCP probe
    tls: ssl.SSLContext | None
    server_name: str
    timeout_s: float


def call_for(target: Target, tls: ssl.SSLContext | None = None) -> Call:
    """How to probe `target`.

    Raises `InputError` on an address that is not a literal, and on a path or host that would break out of a request.
    """
    probe = target.probe
    family = socket.AF_INET6 if ":" in target.address else socket.AF_INET
    try:
        socket.inet_pton(family, target.address)
    except OSError as error:
        raise InputError.one(
            f"load balancer {target.load_balancer}", f"{target.address!r} is not an address", "write an IP literal"
        ) from error
    host = probe.host or (f"[{target.address}]" if family == socket.AF_INET6 else target.address)
    is_http = probe.kind in (ProbeKind.HTTP, ProbeKind.HTTPS)
    return Call(
        family=family,
        address=(target.address, probe.port),
        request=_request(target, host) if is_http else b"",
        tls=tls if probe.kind is ProbeKind.HTTPS else None,
        server_name=probe.host or target.address,
        timeout_s=min(probe.timeout_s, probe.interval_s * TIMEOUT_SHARE_MAX),
    )


def _request(target: Target, host: str) -> bytes:
    probe = target.probe
    for what, text in (("path", probe.path), ("host", host)):
        if not text or not text.isascii() or not text.isprintable() or " " in text or text[0] == ".":
            raise InputError.one(
                f"load balancer {target.load_balancer}, probe {what}",
                f"{text!r} cannot stand in an HTTP request",
                "use printable ASCII without spaces and without a leading dot",
            )
    ordinary = _HTTPS_PORT if probe.kind is ProbeKind.HTTPS else _HTTP_PORT
    port = "" if probe.port == ordinary else f":{probe.port}"
    return (
        f"GET {probe.path} HTTP/1.1\r\nHost: {host}{port}\r\nUser-Agent: evenkeel-probe\r\n"
        "Accept: */*\r\nConnection: close\r\n\r\n"
    ).encode("ascii")


class Exchange:
    """One probe under way. `on_done` is called exactly once, unless `abandon` comes first."""

    __slots__ = ("_call", "_descriptor", "_is_connected", "_loop", "_on_done", "_reads", "_received", "_sent",
                 "_socket", "_waits", "started_s")  # fmt: skip

    def __init__(self, loop: asyncio.AbstractEventLoop, call: Call, on_done: Callable[[Exchange, Observation], None]):
        self.started_s = loop.time()
        self._loop = loop
        self._call = call
        self._on_done = on_done
        self._socket: socket.socket | None = None
        self._descriptor = -1
        self._waits = ""
        self._is_connected = False
        self._sent = 0
        self._reads = 0
        self._received = bytearray()

    @property
    def timeout_s(self) -> float:
        return self._call.timeout_s

    def begin(self) -> None:
        """Start connecting; may end the exchange at once."""
        try:
            self._socket = opened = socket.socket(self._call.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            self._descriptor = opened.fileno()
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            code = opened.connect_ex(self._call.address)
        except OSError as error:
            self._finish(_from_os_error(error))
            return
        if code not in (0, errno.EINPROGRESS):
            self._finish(_from_os_error(OSError(code, errno.errorcode.get(code, str(code)))))
            return
        self._wait_for("write")

    def last_look(self) -> Observation | None:
        """At the deadline: take what came while nobody looked. None where the exchange ended by it."""
        if self._socket is None:
            return None
        try:
            if not self._is_connected:
                self._socket.getpeername()
        except OSError:
            return Observation(Outcome.TIMEOUT, detail="no connection")
        self.step()
        return Observation(Outcome.TIMEOUT, detail="no reply") if self._socket is not None else None

    def end(self, seen: Observation) -> None:
        """End it with `seen`."""
        self._finish(seen)

    def abandon(self) -> None:
        """Close without a result."""
        self._close()

    def step(self) -> None:
        """Go on as far as the socket lets us."""
        try:
            seen = self._advance()
        except (BlockingIOError, ssl.SSLWantReadError):
            self._wait_for("read")
        except ssl.SSLWantWriteError:
            self._wait_for("write")
        except ssl.SSLZeroReturnError:
            self._finish(Observation(Outcome.CLOSED, detail="before its reply was whole"))
        except ssl.SSLError as error:
            self._finish(Observation(Outcome.TLS, detail=_tls_detail(error)))
        except MalformedReply as error:
            self._finish(Observation(Outcome.MALFORMED, detail=str(error)))
        except OSError as error:
            self._finish(_from_os_error(error))
        else:
            self._finish(seen)

    def _advance(self) -> Observation:
        """The result; raises what says why there is none yet, or never will be."""
        opened = self._socket
        if opened is None:
            raise InternalError("a probe went on after its end")
        if not self._is_connected:
            code = opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, errno.errorcode.get(code, str(code)))
            self._is_connected = True
            if self._call.tls is not None:
                opened = self._wrap(opened, self._call.tls)
        if isinstance(opened, ssl.SSLSocket) and not self._sent:
            opened.do_handshake()
        while self._sent < len(self._call.request):
            self._sent += self._send(opened)
        return self._read(opened) if self._call.request else Observation(Outcome.READY)

    def _wrap(self, opened: socket.socket, tls: ssl.SSLContext) -> ssl.SSLSocket:
        # Wrapping hands the descriptor over: the loop must not watch it under the old object meanwhile.
        self._unwait()
        wrapped = tls.wrap_socket(opened, do_handshake_on_connect=False, server_hostname=self._call.server_name)
        self._socket = wrapped
        self._descriptor = wrapped.fileno()
        return wrapped

    def _send(self, opened: socket.socket) -> int:
        try:
            return opened.send(self._call.request[self._sent :])
        except BlockingIOError:
            raise ssl.SSLWantWriteError from None

    def _read(self, opened: socket.socket) -> Observation:
        while True:
            chunk = opened.recv(_CHUNK_OCTETS)
            self._reads += 1
            if not chunk:
                return Observation(Outcome.CLOSED, detail=f"after {len(self._received)} octets")
            self._received += chunk[: HEAD_OCTETS_MAX - len(self._received)]
            reply = read_head(self._received)
            if reply is None:
                if self._reads >= READS_MAX:
                    raise MalformedReply(f"head in more than {READS_MAX} pieces")
                continue
            if reply.status not in GOOD_STATUSES:
                return Observation(Outcome.STATUS, detail=f"HTTP {reply.status}")
            if reply.capacity < 0 and reply.load < 0 and not reply.draining:
                return _READY
            return Observation(Outcome.READY, reply.capacity, reply.load, reply.draining)

    def _wait_for(self, what: str) -> None:
        if self._waits == what:
            return
        self._unwait()
        self._waits = what
        (self._loop.add_reader if what == "read" else self._loop.add_writer)(self._descriptor, self.step)

    def _unwait(self) -> None:
        if self._waits == "read":
            self._loop.remove_reader(self._descriptor)
        elif self._waits == "write":
            self._loop.remove_writer(self._descriptor)
        self._waits = ""

    def _close(self) -> None:
        self._unwait()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _finish(self, seen: Observation) -> None:
        self._close()
        self._on_done(self, seen)


_READY = Observation(Outcome.READY)
_BY_ERRNO = {
    errno.ECONNREFUSED: Outcome.REFUSED,
    errno.ECONNRESET: Outcome.RESET,
    errno.EPIPE: Outcome.RESET,
    errno.ECONNABORTED: Outcome.RESET,
    errno.ETIMEDOUT: Outcome.TIMEOUT,
}


def _from_os_error(error: OSError) -> Observation:
    code = error.errno or 0
    if code in _OURS:
        return Observation(Outcome.LOCAL, detail=errno.errorcode.get(code, str(code)))
    if code in _BY_ERRNO:
        return Observation(_BY_ERRNO[code])
    return Observation(Outcome.UNREACHABLE, detail=errno.errorcode.get(code, str(error)))


def _tls_detail(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate: {error.verify_message}"
    return str(error.reason or error)


def tls_context(verify: bool, authorities_file: str = "") -> ssl.SSLContext:
    """For HTTPS probes. Verification uses the system's authorities, or those in `authorities_file` (PEM).

    Raises `InputError` where that file cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=authorities_file or None)
    except (OSError, ssl.SSLError) as error:
        raise InputError.one(authorities_file, f"no certificates can be read: {error}", "name a PEM file") from error
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context

"""Many datagrams by one system call: Linux's recvmmsg(2) and sendmmsg(2), on memory that is laid out once.

A system call for each datagram in and each datagram out is most of what an answer costs. The kernel's structures are
written here octet by octet, for Linux with 64-bit pointers; `is_available` says whether this is such a place.

    struct mmsghdr (64 octets): name 8, length 4 + 4, iovec 8, count 8, control 8, its length 8, flags 4 + 4,
                                length 4 + 4 (the numbers after a plus are padding)
    struct iovec   (16 octets): base 8, length 8
"""

from __future__ import annotations

import ctypes
import socket
import struct
import sys
from collections.abc import Sequence

BATCH = 64
RECEIVE_SLOT = 4096  # octets of a request; UPDATEs that are larger come over TCP
SEND_SLOT = 1280
NAME_SLOT = 28  # sockaddr_in6, the larger one
MSG_DONTWAIT = 0x40

_MMSGHDR = struct.Struct("@QIIQQQQIIII")
_IOVEC = struct.Struct("@QQ")
_NAME_OCTETS = {socket.AF_INET: 16, socket.AF_INET6: 28}
LENGTH_AT = 14  # of a datagram, in 4-octet words of its mmsghdr
LENGTH_STRIDE = _MMSGHDR.size // 4


def is_available() -> bool:
    """Whether the two calls are there, with the layout above."""
    if sys.platform != "linux" or ctypes.sizeof(ctypes.c_void_p) != 8 or _MMSGHDR.size != 64:
        return False
    libc = ctypes.CDLL(None)
    return hasattr(libc, "recvmmsg") and hasattr(libc, "sendmmsg")


def _address(area: bytearray) -> int:
    """Where `area` stands in memory; it can no longer be resized, which keeps it there."""
    return ctypes.addressof((ctypes.c_char * len(area)).from_buffer(area))


class DatagramBatch:
    """One socket's batches. What `receive` brought holds until its next call.

    Read `received`, `lengths` and `names` directly: a call for each datagram would cost as much as the rest.
    Datagram k stands in `received` from `k * RECEIVE_SLOT` on, its length in `lengths[k * LENGTH_STRIDE + LENGTH_AT]`,
    its sender's sockaddr in `names` from `k * NAME_SLOT` on.
    """

    def __init__(self, bound: socket.socket) -> None:
        libc = ctypes.CDLL(None)
        self._receive, self._send = libc.recvmmsg, libc.sendmmsg
        self._descriptor = bound.fileno()
        self._is_v4 = bound.family == socket.AF_INET
        self.names = bytearray(NAME_SLOT * BATCH)
        self._received_area, self._sent_area = bytearray(RECEIVE_SLOT * BATCH), bytearray(SEND_SLOT * BATCH)
        self.received = memoryview(self._received_area)
        receive_headers = self._headers(self._received_area, RECEIVE_SLOT, NAME_SLOT)
        send_headers = self._headers(self._sent_area, SEND_SLOT, _NAME_OCTETS[bound.family])
        self._areas = (*receive_headers, *send_headers)  # what the kernel is pointed at has to stay
        self._first_to_fill = ctypes.c_void_p(_address(receive_headers[0]))
        self._send_at = _address(send_headers[0])
        self._first_to_send = ctypes.c_void_p(self._send_at)
        self.lengths = memoryview(receive_headers[0]).cast("I")
        self._send_names = memoryview(send_headers[0]).cast("Q")
        self._send_vectors = memoryview(send_headers[1]).cast("Q")
        self._names_at = _address(self.names)

    def _headers(self, area: bytearray, slot: int, name_octets: int) -> tuple[bytearray, bytearray]:
        headers, vectors = bytearray(_MMSGHDR.size * BATCH), bytearray(_IOVEC.size * BATCH)
        area_at, vectors_at, names_at = _address(area), _address(vectors), _address(self.names)
        for k in range(BATCH):
            _IOVEC.pack_into(vectors, _IOVEC.size * k, area_at + slot * k, slot)
            name_at, vector_at = names_at + NAME_SLOT * k, vectors_at + _IOVEC.size * k
            _MMSGHDR.pack_into(headers, _MMSGHDR.size * k, name_at, name_octets, 0, vector_at, 1, 0, 0, 0, 0, 0, 0)
        return headers, vectors

    def receive(self) -> int:
        """How many datagrams came, at most `BATCH`; 0 where none waits. Never blocks."""
        count: int = self._receive(self._descriptor, self._first_to_fill, BATCH, MSG_DONTWAIT, None)
        return max(count, 0)

    def send(self, replies: Sequence[tuple[int, bytes]]) -> None:
        """Each of at most `SEND_SLOT` octets, to the sender of the datagram with that number; at most `BATCH`.

        One that cannot be sent is left out: UDP may lose it anyway.
        """
        area, vectors, names, names_at = self._sent_area, self._send_vectors, self._send_names, self._names_at
        at = 0
        for place, (to, octets) in enumerate(replies):
            length = len(octets)
            area[at : at + length] = octets
            vectors[2 * place + 1] = length
            names[8 * place] = names_at + NAME_SLOT * to
            at += SEND_SLOT
        done, count = 0, len(replies)
        while done < count:
            first = self._first_to_send if not done else ctypes.c_void_p(self._send_at + _MMSGHDR.size * done)
            done += max(1, self._send(self._descriptor, first, count - done, MSG_DONTWAIT))

    def sender(self, k: int) -> bytes:
        """The address of the sender of datagram `k`: 4 octets, or 16."""
        at = NAME_SLOT * k
        return bytes(self.names[at + 4 : at + 8] if self._is_v4 else self.names[at + 8 : at + 24])

    def peer(self, k: int) -> tuple[str, int]:
        """Host and port of the sender of datagram `k`, as the socket module has them."""
        at = NAME_SLOT * k
        port = int.from_bytes(self.names[at + 2 : at + 4], "big")
        if self._is_v4:
            return socket.inet_ntop(socket.AF_INET, self.sender(k)), port
        host = socket.inet_ntop(socket.AF_INET6, self.sender(k))
        (scope,) = struct.unpack_from("=I", self.names, at + 24)
        return (f"{host}%{socket.if_indextoname(scope)}" if scope else host), port

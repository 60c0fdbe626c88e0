"""Heads of HTTP replies from peers that nobody vouches for."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenkeel.adapters.probes.http_reply import HEAD_OCTETS_MAX, HttpReply, MalformedReply, read_head


@pytest.mark.parametrize(
    ("head", "reply"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nbody", HttpReply(200)),
        (b"HTTP/1.0 204 \r\n\r\n", HttpReply(204)),
        (b"HTTP/1.1 503\r\nA: b\r\n\r\n", HttpReply(503)),
        (b"HTTP/1.1 200 OK\n\n", HttpReply(200)),
        (b"HTTP/1.1 200 OK\r\nevenkeel-capacity: 120.5\r\nEVENKEEL-LOAD:7\r\n\r\n", HttpReply(200, 120.5, 7.0)),
        (b"HTTP/1.1 200 OK\r\nEvenkeel-Drain: 1\r\n\r\n", HttpReply(200, draining=True)),
        (b"HTTP/1.1 200 OK\r\nEvenkeel-Drain: 0\r\n\r\n", HttpReply(200)),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", HttpReply(200)),
        (b"HTTP/1.1 200 OK\r\nX-Evenkeel-Load: 3\r\n\r\n", HttpReply(200)),
        (b"HTTP/1.1 200 OK\r\n\r\nEvenkeel-Load: 3\r\n\r\n", HttpReply(200)),  # in the body: not a header
    ],
)
def test_reads_status_and_what_the_target_reports(head: bytes, reply: HttpReply) -> None:
    assert read_head(head) == reply


@pytest.mark.parametrize("value", [b"nan", b"inf", b"-1", b"1e400", b"", b"lots", b"1" * 64])
def test_a_quantity_that_is_none_counts_as_not_reported(value: bytes) -> None:
    assert read_head(b"HTTP/1.1 200 OK\r\nEvenkeel-Capacity: " + value + b"\r\n\r\n") == HttpReply(200)


@pytest.mark.parametrize("beginning", [b"", b"H", b"HTTP/1.", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nA: b\r\n"])
def test_waits_for_the_rest(beginning: bytes) -> None:
    assert read_head(beginning) is None


@pytest.mark.parametrize(
    "octets",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x03\x00\x02\x02\x50",
        b"\x00" * 7,
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 999 Odd\r\n\r\n",
        b"HTTP/1.1 two hundred\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 4000,
        b"HTTP/1.1 200 " + b"x" * HEAD_OCTETS_MAX,
        b"HTTP/1.1 100 Continue\r\n\r\nrubbish",
    ],
)
def test_says_malformed_as_soon_as_it_is(octets: bytes) -> None:
    with pytest.raises(MalformedReply):
        read_head(octets)


@given(
    st.one_of(
        st.binary(max_size=200),
        st.lists(
            st.sampled_from(
                [b"HTTP/1.1 200 OK", b"HTTP/1.1 100 C", b"\r\n", b"\n", b"Evenkeel-Load: ", b"\xff", b"1e9"]
            ),
            max_size=30,
        ).map(b"".join),
    )
)
def test_any_octets_give_a_reply_a_wait_or_malformed(octets: bytes) -> None:
    with contextlib.suppress(MalformedReply):
        reply = read_head(octets)
        assert reply is None or 200 <= reply.status <= 599


@given(st.binary(max_size=60), st.integers(0, 80))
def test_what_is_decided_early_stays_decided(tail: bytes, cut: int) -> None:
    """Reading in pieces gives what reading at once gives."""
    whole = b"HTTP/1.1 200 OK\r\nEvenkeel-Capacity: 5\r\n\r\n" + tail
    early = read_head(whole[:cut])
    assert early is None or early == read_head(whole)

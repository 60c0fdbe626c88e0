"""Texts of region.toml that stand for something else: names, addresses, host:port pairs.

Each function takes what TOML gave, of whatever type, and returns the value in evenkeel's own form, or raises
`BadText` with what is wrong and the mend. They are the one door for such texts, so everything past them is canonical:
domain names absolute and lowercase, addresses in their shortest form (RFC 5952).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from difflib import get_close_matches

from evenkeel.model.errors import EvenkeelError, InputError
from evenkeel.model.names import absolute
from evenkeel.model.region import HostPort

PORT_MAX = 65535
_OPTIONS_SHOWN = 24
_OPTIONS_COMPARED = 1_000
LABEL_FORM = r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?"
KEY_NAME_FORM = r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?"
_LABEL = re.compile(LABEL_FORM + r"\Z")
_KEY_NAME = re.compile(KEY_NAME_FORM + r"\Z")
_ACCOUNT = re.compile(r"[A-Za-z0-9-]{1,63}\Z")
_HTTP_PATH = re.compile(r"/[\x21-\x7e]{0,1023}\Z")
_HTTP_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]{0,255}\Z")
_BETWEEN_BRACKETS = re.compile(r"\[([^\]]*)\](?::(.*))?\Z")


class BadText(EvenkeelError):
    """A text that does not stand for what its key asks for."""

    def __init__(self, what: str, mend: str) -> None:
        self.what = what
        self.mend = mend
        super().__init__(what)


def plain(text: str) -> str:
    """`text` with what does not print told by its code point: a report must not steer a terminal."""
    return "".join(letter if letter.isprintable() else f"\\u{ord(letter):04x}" for letter in text)


def shown(value: object) -> str:
    """`value` as TOML would write it, cut to a readable length."""
    match value:
        case bool():
            text = "true" if value else "false"
        case str():
            text = '"' + plain(value.replace("\\", "\\\\").replace('"', '\\"')) + '"'
        case dict():
            text = "a table" if value else "an empty table"
        case list():
            text = "[" + ", ".join(shown(item) for item in value[:8]) + ("]" if len(value) <= 8 else ", ...")
        case _:
            text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def did_you_mean(given: str, options: Collection[str], lead: str) -> str:
    """The mend for an unknown word: the one it resembles, else some of those there are."""
    is_short = len(options) <= _OPTIONS_COMPARED  # comparing costs tens of microseconds an option
    close = get_close_matches(given.lower().replace("_", "-"), options, n=1) if is_short else []
    if close:
        return f"did you mean `{close[0]}`?"
    first = sorted(options)[:_OPTIONS_SHOWN]
    return f"{lead}: {', '.join(first) or 'none'}" + (", ..." if len(options) > len(first) else "")


def label(value: object) -> str:
    """A name of evenkeel's own: of a region, an az, a load balancer. Part of process, file and metric names."""
    if isinstance(value, str) and _LABEL.match(value):
        return value
    raise BadText(f"{shown(value)} is not a name", "use 1 to 40 lowercase letters, digits and inner hyphens")


def key_name(value: object) -> str:
    """A TSIG key's name; the secret stands in a file of that name."""
    if isinstance(value, str) and _KEY_NAME.match(value) and ".." not in value:
        return value
    raise BadText(
        f"{shown(value)} is not a key name", "use 1 to 64 lowercase letters, digits and inner dots or hyphens"
    )


def domain_name(value: object) -> str:
    """An absolute lowercase domain name; the final dot may be left out."""
    if not isinstance(value, str):
        raise BadText(f"{shown(value)} is not a domain name", 'write a text such as "db.demo.example"')
    try:
        return absolute(value)
    except InputError as error:
        raise BadText(error.problems[0].what, error.problems[0].mend) from error


def ipv4_address(value: object) -> str:
    """An IPv4 address that clients can be sent to."""
    return _address(value, 4)


def ipv6_address(value: object) -> str:
    """An IPv6 address that clients can be sent to."""
    return _address(value, 6)


def _address(value: object, version: int) -> str:
    example = "192.0.2.10" if version == 4 else "2001:db8::10"
    try:
        address = ipaddress.ip_address(value) if isinstance(value, str) else None
    except ValueError:
        address = None
    if address is None:
        raise BadText(f"{shown(value)} is not an address", f'write one such as "{example}"')
    if address.version != version:
        raise BadText(
            f"{shown(value)} is an IPv{address.version} address in `ipv{version}`",
            f"move it to `ipv{address.version}`",
        )
    fault = _fault(address)
    if fault:
        raise BadText(f"{shown(value)} is {fault}", "use a unicast address that clients can reach")
    return str(address)


def _fault(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """Why no client can be sent to `address`; "" where one can."""
    if address.is_unspecified:
        return "the unspecified address"
    if address.is_multicast:
        return "a multicast address"
    if address.is_link_local:
        return "a link-local address, which means nothing on another link"
    if isinstance(address, ipaddress.IPv4Address):
        return "an address of the reserved block 240.0.0.0/4" if address.is_reserved else ""
    if address.scope_id is not None:
        return "an address with a zone index, which DNS cannot carry"
    return "an IPv4 address in IPv6 clothes" if address.ipv4_mapped is not None else ""


def host(value: object) -> str:
    """An address literal or a host name, canonical; names without the final dot."""
    if isinstance(value, str):
        try:
            address = ipaddress.ip_address(value)
        except ValueError:
            return domain_name(value)[:-1]
        if not address.is_multicast:
            return str(address)
        raise BadText(f"{shown(value)} is a multicast address", "use the host's own address")
    raise BadText(f"{shown(value)} is not a host", 'write an address or a name, such as "127.0.0.1"')


def host_port(value: object, port_default: int = 0) -> HostPort:
    """`192.0.2.1:53`, `[2001:db8::1]:53` or `ns1.example.net:53`. `port_default` 0: the port must be there."""
    if not isinstance(value, str):
        raise BadText(f"{shown(value)} is not host:port", 'write a text such as "127.0.0.1:5300"')
    bracketed = _BETWEEN_BRACKETS.match(value)
    if bracketed:
        host_text, port_text = bracketed[1], bracketed[2] or ""
    elif value.count(":") > 1:
        raise BadText(f"{shown(value)} is an IPv6 address without brackets", 'write it as "[2001:db8::1]:53"')
    else:
        host_text, _, port_text = value.partition(":")
    return HostPort(host(host_text), _port(value, port_text, port_default))


def _port(value: str, port_text: str, port_default: int) -> int:
    if not port_text and port_default:
        return port_default
    if port_text.isascii() and port_text.isdigit() and 0 < int(port_text[:6]) <= PORT_MAX:
        return int(port_text)
    what = f"{shown(value)} has no port" if not port_text else f"{shown(value)} has the port {shown(port_text)}"
    raise BadText(what, f"end it with a colon and a port of 1 to {PORT_MAX}")


def zone_server(value: object) -> HostPort:
    """A DNS server: host and port, 53 where the port is left out."""
    return host_port(value, port_default=53)


def http_path(value: object) -> str:
    """The path and query of a probe's request."""
    if isinstance(value, str) and _HTTP_PATH.match(value):
        return value
    raise BadText(f"{shown(value)} is not a path", 'begin it with "/", then at most 1023 visible ASCII characters')


def http_host(value: object) -> str:
    """What a probe sends as Host, and checks a certificate against. It is sent, not resolved."""
    if isinstance(value, str) and _HTTP_HOST.match(value):
        return value
    raise BadText(f"{shown(value)} is not a host", 'write a name such as "db.demo.example"')


def account(value: object) -> str:
    """What stands for {account} in a template: part of one label."""
    if isinstance(value, str) and _ACCOUNT.match(value):
        return value.lower()
    raise BadText(f"{shown(value)} is not an account", "use 1 to 63 letters, digits and hyphens; it becomes a label")

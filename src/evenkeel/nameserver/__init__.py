"""Authoritative DNS: zone contents, RFC 2136 transactions, precompiled answers; pure, no sockets."""

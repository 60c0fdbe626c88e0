"""Zones on real servers, by standard DNS: updates (RFC 2136), transfers (RFC 5936, 1995), signatures (RFC 8945).

`zone_client.ZoneClient` is what others use: it joins `committer` (transactions out, many in one message;
`turns` decides which may share one), `follower` (the zone's content in, kept fresh by `transfers`) and `view` (that
content, endpoint by endpoint, each a `held`) over `connection` (signed, pipelined exchanges), which `line` makes and
makes again. `resolve` asks a server as clients do. `keys` reads TSIG secrets.
"""

"""Zones on real servers, by standard DNS: updates (RFC 2136), transfers (RFC 5936, 1995), signatures (RFC 8945).

`zone_client.ZoneClient` is what others use: it joins `committer` (transactions out, many in one message),
`follower` (the zone's content in, kept fresh by transfers) and `view` (that content, endpoint by endpoint) over
`connection` (signed, pipelined exchanges). `resolve` asks a server as clients do. `keys` reads TSIG secrets.
"""

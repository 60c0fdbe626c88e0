"""Agent links: how the hosts of an az and its manager talk, over TCP with mutual TLS or over a NATS server.

Both carry opaque frames and say for certain whose they are; what a frame means is its reader's business. One
conformance body holds both to `base`.
"""

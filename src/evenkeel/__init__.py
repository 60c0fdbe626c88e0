"""evenkeel: a region's control plane that stays on an even keel.

The general layout, lowest layer first; imports run downwards only, and ``tests/architecture`` holds it:

    model                       frozen values: names, records, plans, fences, policies, events, errors
    ports  admission            what the systems ask of the world; overload control that they share
    endpoints  nameserver       the systems, pure: the DNS automation, the authoritative server's core
    adapters  twins             the real world; its pure stand-ins
    region                      reads region.toml, wires components, supervises processes
    cli                         the faces
    testing                     real servers and fault helpers for tests, benchmarks and users
"""

__version__ = "0.1.0"

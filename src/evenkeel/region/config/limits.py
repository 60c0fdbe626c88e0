"""How large a region may be; a larger fleet is several regions."""

from __future__ import annotations

ENDPOINTS_MAX = 200_000
LOAD_BALANCERS_MAX = 20_000
ZONES_MAX = 1_000
GROUPS_MAX = 1_000
TEMPLATES_MAX = 1_000
AZS_MAX = 16
MANAGERS_MAX = 4  # of one az: one has it, the others stand by
BACKENDS_MAX = 64
PROCESSES_MAX = 64
ADDRESSES_MAX = 8  # of one family, at one load balancer
HOSTS_MAX = 256  # demo hosts an az; hosts that join from elsewhere are not counted
ACCOUNTS_MAX = 1_000
DAY_S = 86_400

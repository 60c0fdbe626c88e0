"""Fleet leases that come back at the physical limit. Pure: tables of numpy, no clock, no input or output, no asyncio.

Messages in; messages and store writes out. A driver (live: micro-batches; rehearsal: windows of tens of thousands)
feeds a manager what came and the time, sends what it answers, and does the work it hands out.

    arrays        the types of arrays, and the batches that a manager takes and gives
    lease_table   who is leased, since when, until when, in a lease clock that can stand still
    pace          how often hosts without a lease may poll (RECOVERY.md, the sweep, 3 and 8)
    terms         how long a lease is, and when its next renewal comes (6)
    sweep_table   the lease table with what the sweep knows of each host besides
    calling       which host is called next, and which calls are under way (2)
    progress      ETA, and how far above the physical limit a recovery runs
    launches      launches beside a recovery: their share, their deadlines, honest refusals (7)
    sweep         the manager that puts these together, with amnesty (1), the queue (4) and the estimate (5) of
                  `evenkeel.admission`
    retries       the managers that wait to be asked: October 2025's, and the designs that others use
    manager       what both kinds have in common, and which a policy names
    hosts         the hosts' side: what they believe, what they obey
    takeover      the workflow by which a second manager takes an az over
    standby       when a manager that waits may do so

docs/explanation/recovery-contract.md says what is promised, and why it holds.
"""

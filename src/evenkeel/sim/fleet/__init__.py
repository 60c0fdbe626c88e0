"""A fleet in virtual time, as tables: the managers and hosts of `evenkeel.fleet`, with a worker, a network and a store
stood in for.

    wheel      hosts by the time of their next action
    scene      what is rehearsed: sizes, capacities over time, faults, by name
    worker     the manager's machine: units of work a second
    run        windows of virtual time, one after the other
    scenes     the recoveries that the sweep is held to, and the designs beside it
    night      a night without a store: October 2025, act two

Windows are as short as a sweep's tick while there is a recovery, and as long as a second while there is none.
"""

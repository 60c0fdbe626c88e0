"""Virtual time: a region's own workflows, run through faults by a scheduler, the same for the same seed.

Layout, lowest first:

    scheduler   the clock, tasks, what they wait on
    chance      seeded streams by name; latencies as tables
    trace       what happened, in order, and its digest
    network     exchanges between processes and hosts, and what befalls them
    barriers    a workflow held in mid-step
    drags       a process slow on some endpoints, or unlucky with locks
    process     tasks, a disk, crash and pause
    world       all of these for one run
    invariants  what must hold of a zone; also for drills and chaos in the real region
    zone_host   the zone's primary: the twin's rules, watched at every commit
    plan_host   the plan store: the twin, with push
    ports       the workflows' ports over these
    watching    the judge, and answers over time
    automation  the drivers of Enactor, Planner and audit
    balancers   load balancers and the quorum's word on them
    folding     many endpoints alike as one
    script      a scenario as values
    acting      makes its steps happen
    run         a region and a script in, what happened out

docs/explanation/rehearsal.md says what a rehearsal shows, and what it cannot.
"""

"""The explorer: every interleaving of the code that runs, its verdict, and the shortest trace where it fails.

Layout, lowest first:

    replay      a workflow over stub ports: the calls it makes, given the replies that it got
    automaton   a workflow's reply histories, tabulated and merged into a finite automaton
    model       what the search asks of a system: ids of local and service states, and one table of steps
    protocol    anybody's workflows over anybody's services, as such a model; `said` is what its steps were
    automation  the DNS automation over its twins, as such a model
    generations plans without end: states by the order of plan generations
    packing     a global state as a few machine words
    tables      the table of steps, as arrays
    kernel      the search's inner loop: compiled where numba is there; `vectors` is the same in numpy
    search      breadth first, level by level, within bounds
    recovery    from every state, is the goal still within reach
    trace       the way from the start to a state; `story`, `mermaid`, `page` show it to people, by `beats`
    takeover    how an az of the fleet changes hands, as a protocol; `planners`: Planners over one plan store
    subject     checks such a protocol, and tells of it in the words of `takeover_story` and `planners_story`

docs/explanation/check.md says what a verdict proves, and why each reduction is sound.
"""

"""Rehearsals of a region: scenario files, the region wired into the simulator, verdicts, and the search over seeds.

Layout, lowest first:

    shapes       the tables of a scenario file
    moments      times and spans as a scenario writes them
    reading      from a file to a `Script`, or to every mistake in it
    assumptions  named unknowns, and the region and script with one of them changed
    policies     what the region's policy is called, and the weakened ones
    rehearse     one run, and what it comes to
    chaos        random faults of a seed
    shrink       the fewest faults that still break an invariant
    search       many seeds in parallel processes
    validate     a live region's journal against the twins
"""

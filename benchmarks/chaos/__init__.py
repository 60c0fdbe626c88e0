"""Faults at random against a whole region of real processes, with the counts that must be zero at the end.

`python -m benchmarks.chaos --minutes 30` spends a third of its time on each of the embedded nameserver, BIND and Knot.
Everything is on loopback, bounded in count and time, and ends by itself.
"""

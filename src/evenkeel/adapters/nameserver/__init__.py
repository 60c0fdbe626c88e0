"""The embedded nameserver's hands: sockets, disk and timers around the pure core in `evenkeel.nameserver`."""

"""The real world: sockets, files, clocks, servers. One folder or module a thing that is adapted."""

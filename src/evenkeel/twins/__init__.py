"""Pure stand-ins: (state, request) -> (state, reply); the conformance suite holds them to the real servers."""

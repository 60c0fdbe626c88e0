"""A host's agent: keeps its lease, and runs just those instances that the lease covers."""

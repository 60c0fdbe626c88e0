"""What the systems ask of the world. A workflow imports these and `model`, and nothing that does input or output.

Each `await` of a workflow is one call of a port. What was read for a later compare stays in the port as an
opaque ticket, so a workflow's local state is its reply history and nothing else (DESIGN.md).
"""

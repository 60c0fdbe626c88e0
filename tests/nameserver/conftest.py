"""The machine may be busy with other things: how long an example takes says nothing."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("evenkeel", deadline=None)
settings.load_profile("evenkeel")

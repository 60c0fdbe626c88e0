"""What `evenkeel up` says about itself: `<state_dir>/up.json`, and the lock that only one of them holds."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from evenkeel.model.errors import InputError, Refusal


class ComponentState(msgspec.Struct, frozen=True):
    """One component, as its supervisor sees it. `pid` is 0 while it is not running."""

    pid: int
    state: str  # "waiting", "running", "backing-off", "stopped"
    restarts: int
    since_ms: int
    metrics: str = ""


class UpState(msgspec.Struct, frozen=True):
    """The whole of it. `pid` is the supervisor's."""

    pid: int
    region: str
    started_ms: int
    components: dict[str, ComponentState]


def compiled_path(state_dir: str) -> Path:
    """Where `evenkeel up` puts the compiled region that its components start from."""
    return Path(state_dir) / "region.compiled"


def write_up_state(state_dir: str, state: UpState) -> None:
    """Whole or not at all. Raises `OSError`."""
    path = _path(state_dir)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(state)) + b"\n")
    draft.replace(path)


def read_up_state(state_dir: str) -> UpState | None:
    """None where nothing has been started, or the file says nothing."""
    try:
        return msgspec.json.decode(_path(state_dir).read_bytes(), type=UpState)
    except (OSError, msgspec.MsgspecError):
        return None


def is_up(state_dir: str) -> bool:
    """Whether a supervisor holds the lock now."""
    with contextlib.suppress(Refusal, OSError), only_one(state_dir):
        return False
    return Path(state_dir).is_dir()


@contextlib.contextmanager
def only_one(state_dir: str) -> Iterator[None]:
    """Holds the state folder's lock, which the kernel frees on any death. Raises `Refusal` where another has it."""
    try:
        Path(state_dir).mkdir(mode=0o750, parents=True, exist_ok=True)
        descriptor = os.open(Path(state_dir) / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise InputError.one(
            "[region] state-dir", f"{state_dir!r} cannot be used: {error.strerror}", "name a folder that you may write"
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = read_up_state(state_dir)
            raise Refusal(
                f"the region is up already (pid {other.pid if other else 'unknown'}, state in {state_dir}); "
                "stop that one first, or give this region a state-dir of its own"
            ) from None
        yield
    finally:
        os.close(descriptor)


def _path(state_dir: str) -> Path:
    return Path(state_dir) / "up.json"

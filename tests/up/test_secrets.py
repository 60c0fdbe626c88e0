"""Tokens and TSIG secrets on disk."""

from __future__ import annotations

import base64
import stat
import threading
from pathlib import Path

import pytest

from evenkeel.adapters.secrets import make_missing_secrets, read_secret, secret_path
from evenkeel.model.errors import InputError


def test_a_secret_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    assert make_missing_secrets(state, ["health", "tsig-evenkeel"]) == ("health", "tsig-evenkeel")
    secret = read_secret(state, "tsig-evenkeel")
    assert len(base64.b64decode(secret, validate=True)) == 32
    assert stat.S_IMODE(secret_path(state, "tsig-evenkeel").stat().st_mode) == 0o600
    assert make_missing_secrets(state, ["health", "tsig-evenkeel"]) == ()
    assert read_secret(state, "tsig-evenkeel") == secret
    assert read_secret(state, "health") != secret
    assert sorted(path.name for path in secret_path(state, "").iterdir()) == ["health", "tsig-evenkeel"]


def test_of_several_makers_at_once_one_wins_for_all(tmp_path: Path) -> None:
    makers = [threading.Thread(target=make_missing_secrets, args=(str(tmp_path), ["health"])) for _ in range(8)]
    for maker in makers:
        maker.start()
    seen = set()
    for maker in makers:
        maker.join()
        seen.add(read_secret(str(tmp_path), "health"))
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("prepare", "told"),
    [
        (lambda path: None, "cannot be read"),
        (lambda path: (path.write_text("abc"), path.chmod(0o640)), "other users may read it (mode 0640)"),
        (lambda path: (path.write_text("\n"), path.chmod(0o600)), "the file is empty"),
    ],
    ids=["missing", "open", "empty"],
)
def test_a_secret_that_cannot_be_trusted_is_refused_with_the_mend(tmp_path: Path, prepare: object, told: str) -> None:
    path = secret_path(str(tmp_path), "health")
    path.parent.mkdir()
    assert callable(prepare)
    prepare(path)
    with pytest.raises(InputError) as refused:
        read_secret(str(tmp_path), "health")
    assert told in str(refused.value)
    assert "mend: " in str(refused.value)
    assert "abc" not in str(refused.value)

"""The built wheel, not the tree: it holds everything, and the command runs from it."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import evenkeel

SOURCE = Path(evenkeel.__file__).parent
ROOT = SOURCE.parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(folder), str(ROOT)],
        check=True,
        capture_output=True,
        timeout=120,
    )
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_every_module_and_says_that_it_is_typed(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {f"evenkeel/{path.relative_to(SOURCE)}" for path in SOURCE.rglob("*.py")}
    assert modules - names == set()
    assert "evenkeel/py.typed" in names
    assert not [name for name in names if name.startswith(("tests/", "docs/")) or name.endswith(".pyc")]


def test_the_command_runs_from_the_wheel_alone(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    told = subprocess.run(
        [sys.executable, "-P", "-c", "import evenkeel.cli.main as m; print(m.__file__); m.main()", "--version"],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        check=True,
        cwd=tmp_path,
    ).stdout.splitlines()
    assert told == [f"{tmp_path}/evenkeel/cli/main.py", f"evenkeel {evenkeel.__version__}"]
    entries = next(tmp_path.glob("evenkeel-*.dist-info/entry_points.txt")).read_text()
    assert "evenkeel = evenkeel.cli.main:main" in entries

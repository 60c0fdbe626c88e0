"""Imports run one way, downwards (DESIGN.md, Layers); read from the source of the tree itself."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import evenkeel

ROOT = Path(evenkeel.__file__).parent

# Lowest first. Packages on one row are systems or peers that do not import one another.
LAYERS: list[set[str]] = [
    {"model"},
    {"ports", "admission", "wire"},
    {"endpoints", "fleet", "nameserver"},
    {"adapters", "twins"},
    {"sim", "check", "api"},
    {"region"},
    {"cli", "ui"},
    {"testing"},  # helpers for tests and benchmarks; nothing below imports it
]
# Peers on one row that may speak: an adapter may stand on wire's codecs, a pure port on nothing but model.
# The command line prints what `ui` composes.
PEERS_MAY_IMPORT: set[tuple[str, str]] = {("cli", "ui")}
RANK = {package: rank for rank, row in enumerate(LAYERS) for package in row}
FILES = sorted(ROOT.rglob("*.py"))


def imported_packages(path: Path) -> set[str]:
    """First-level evenkeel packages that `path` imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        modules: list[str] = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        for module in modules:
            parts = module.split(".")
            if parts[0] == "evenkeel" and len(parts) > 1 and parts[1] in RANK:
                found.add(parts[1])
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_from_layers_below_its_own(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    if package not in RANK:
        assert path.parent == ROOT, f"{package} is on no layer: add it to LAYERS"
        return
    for other in imported_packages(path) - {package}:
        allowed = RANK[other] < RANK[package] or (package, other) in PEERS_MAY_IMPORT
        assert allowed, f"{path.relative_to(ROOT)} ({package}) imports {other}"


def test_workflows_import_no_asyncio_clock_or_chance() -> None:
    forbidden = {"asyncio", "time", "datetime", "random", "secrets", "socket", "threading", "os"}
    for path in sorted((ROOT / "endpoints").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name.split(".")[0] for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module.split(".")[0]]
            assert not forbidden & set(names), f"{path.name} imports {forbidden & set(names)}"

"""An Enactor has to come up when most of a region is gone: what its process imports is held here (DESIGN.md)."""

from __future__ import annotations

import subprocess
import sys

FORBIDDEN = ("numpy", "pydantic", "typer", "rich", "fastapi", "uvicorn", "sqlite3", "psycopg", "plotly", "numba")
PROBE = """
import sys
import evenkeel.region.run_component, evenkeel.region.processes.enactor
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""


def test_an_enactor_imports_neither_numpy_nor_a_web_framework_nor_a_store() -> None:
    ran = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True, timeout=60)
    imported = set(ran.stdout.split())
    assert "evenkeel" in imported
    assert not imported & set(FORBIDDEN)

"""The notebooks of the documentation run, and print what is stored in them but for numbers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from run_notebooks import code_cells, run_notebook

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "docs" / "notebooks").glob("*.ipynb"))


def printed(notebook: dict[str, Any]) -> list[str]:
    """Return what the cells print, without numbers, which differ in their last digits between machines."""
    texts = ["".join(output.get("text", [])) for cell in code_cells(notebook) for output in cell["outputs"]]
    return [re.sub(r"[-\d.\s]+", " ", text) for text in texts]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_runs_and_says_what_is_stored(path: Path) -> None:
    stored = json.loads(path.read_text(encoding="utf-8"))
    assert any(cell["outputs"] for cell in code_cells(stored))
    assert printed(run_notebook(path)) == printed(stored)

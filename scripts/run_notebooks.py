r"""Run the notebooks of the documentation and store what their cells print and draw.

    python scripts/run_notebooks.py docs/notebooks/*.ipynb

Cells run one after the other in one namespace, without a Jupyter server. A cell that ends in an expression shows its
value; a matplotlib figure is stored as a picture.
"""

from __future__ import annotations

import argparse
import ast
import base64
import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from whyface.files.integrity import write_atomic

Cell = dict[str, Any]
DPI = 60


def code_cells(notebook: dict[str, Any]) -> Iterator[Cell]:
    """Yield the cells that are run."""
    yield from (cell for cell in notebook["cells"] if cell["cell_type"] == "code")


def run_cell(source: str, names: dict[str, Any]) -> list[dict[str, Any]]:
    """Run a cell in a namespace; return its outputs in the format of notebooks."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    value: Any = None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "<cell>", "exec"), names)
        if last is not None:
            assert isinstance(last, ast.Expr)
            value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": lines_of(printed.getvalue())})
    if value is not None:
        outputs.append({"output_type": "display_data", "metadata": {}, "data": shown(value)})
    return outputs


def shown(value: Any) -> dict[str, Any]:
    """Return a figure as a picture, and anything else as text."""
    if not hasattr(value, "savefig"):
        return {"text/plain": lines_of(repr(value))}
    picture = io.BytesIO()
    value.savefig(picture, format="png", dpi=DPI, metadata={"Software": None})
    return {"image/png": base64.b64encode(picture.getvalue()).decode(), "text/plain": ["<Figure>"]}


def lines_of(text: str) -> list[str]:
    """Split text as notebooks store it."""
    return text.splitlines(keepends=True)


def run_notebook(path: Path) -> dict[str, Any]:
    """Run all cells of a notebook; return it with its new outputs."""
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    names: dict[str, Any] = {"__name__": "__main__"}
    for count, cell in enumerate(code_cells(notebook), start=1):
        cell["outputs"] = run_cell("".join(cell["source"]), names)
        cell["execution_count"] = count
    return notebook


def main() -> None:
    """Run the notebooks given and write them back."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", type=Path, nargs="+")
    for path in parser.parse_args().notebooks:
        text = json.dumps(run_notebook(path), indent=1, ensure_ascii=False)
        write_atomic(path, f"{text}\n".encode())
        print(path)


if __name__ == "__main__":
    main()

"""Only one module imports ONNX Runtime, so that its telemetry is off wherever it is loaded."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOOR = ROOT / "src" / "whyface" / "onnx_runtime.py"
FOLDERS = [ROOT / name for name in ("src", "scripts", "studies", "benchmarks", "examples", "tests")]


def imported(source: str) -> set[str]:
    """Give the packages that Python source imports, wherever it does."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module.split(".")[0])
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in (
            "import_module",
            "__import__",
        ):
            found |= {str(part.value).split(".")[0] for part in ast.walk(node) if isinstance(part, ast.Constant)}
    return found


@pytest.mark.parametrize(
    "source",
    [
        "import onnxruntime",
        "def f():\n    import numpy, onnxruntime as ort",
        "from onnxruntime import InferenceSession",
        "from onnxruntime.quantization import quantize_static",
        "import importlib\nimportlib.import_module('onnxruntime.transformers')",
        "__import__('onnxruntime')",
    ],
)
def test_every_way_to_import_is_seen(source: str) -> None:
    assert "onnxruntime" in imported(source)
    assert "onnxruntime" not in imported(source.replace("onnxruntime", "whyface.onnx_runtime"))


def test_nothing_but_the_door_imports_onnx_runtime() -> None:
    files = [path for folder in FOLDERS for path in sorted(folder.rglob("*.py"))]
    assert DOOR in files
    assert len(files) > 100
    # Parsing takes long, and what does not have the name does not import it.
    texts = {path: path.read_text(encoding="utf-8") for path in files if path != DOOR}
    named = {path: text for path, text in texts.items() if "onnxruntime" in text}
    assert named
    assert [path for path, text in named.items() if "onnxruntime" in imported(text)] == []


def test_telemetry_is_off_whatever_the_environment_says() -> None:
    code = (
        "import os, sys\n"
        "from whyface.onnx_runtime import onnx_runtime\n"
        "assert 'onnxruntime' not in sys.modules\n"
        "seen = []\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'onnxruntime':\n"
        "            seen.append(os.environ['ORT_DISABLE_TELEMETRY'])\n"
        "sys.meta_path.insert(0, Finder())\n"
        "assert onnx_runtime().__name__ == 'onnxruntime'\n"
        "print(seen)\n"
    )
    environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['1']"

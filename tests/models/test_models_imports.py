from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from helpers.tiny_networks import write_tiny

MODULES = ("embedder", "preprocessing", "onnx_tap", "onnx_embedder", "catalogue")


def test_the_core_modules_import_nothing_heavy() -> None:
    lines = [f"import whyface.models.{name}" for name in MODULES]
    lines += ["import sys", "whyface.models.catalogue.known_models()"]
    lines += ["print(sorted({'torch', 'onnx', 'onnxruntime', 'matplotlib', 'safetensors'} & set(sys.modules)))"]
    result = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"


def test_running_a_network_needs_no_onnx_package(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.onnx")
    code = (
        "import sys; sys.modules['onnx'] = None; sys.modules['torch'] = None\n"
        "import numpy as np\n"
        "from whyface.models.onnx_embedder import OnnxEmbedder\n"
        f"e = OnnxEmbedder({str(path)!r}, grid='map', threads=1)\n"
        "print(e.grid(np.zeros((1, 3, 112, 112), np.uint8)).shape)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "(1, 2, 7, 7)"

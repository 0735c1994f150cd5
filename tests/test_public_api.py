"""The public names: typed, lazy, complete in ``dir()``, and cheap to import."""

from __future__ import annotations

import importlib
import pydoc
import subprocess
import sys
from pathlib import Path

import pytest

import whyface

PACKAGES = sorted(path.parent.name for path in Path(whyface.__file__).parent.glob("*/__init__.pyi"))
EXPECTED = {
    "METHODS",
    "Explanation",
    "Face",
    "Gallery",
    "OnnxEmbedder",
    "PairMethod",
    "TorchEmbedder",
    "Verification",
    "Verifier",
    "WhyfaceError",
    "find_faces",
    "fit_xcos",
    "list_grids",
    "load_face",
    "open_method",
    "open_words",
    "register_method",
    "verify",
}


def test_the_public_names() -> None:
    assert set(whyface.__all__) >= EXPECTED
    assert set(dir(whyface)) >= EXPECTED


@pytest.mark.parametrize("package", ["", *PACKAGES])
def test_every_name_is_there(package: str) -> None:
    pytest.importorskip("torch", reason="some names need the extra torch")
    module = importlib.import_module(f"whyface.{package}".rstrip("."))
    assert module.__all__
    for name in module.__all__:
        found = getattr(module, name)
        # A function must not be hidden by the module of the same name.
        assert name == "__version__" or not isinstance(found, type(sys)), name
    assert set(module.__all__) <= set(dir(module))


def test_importing_whyface_imports_nothing_else() -> None:
    code = (
        "import sys, whyface\n"
        "print(sorted({'numpy', 'cv2', 'PIL', 'onnxruntime', 'torch', 'rich', 'typer'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_names_of_a_missing_extra_are_told() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import whyface\n"
        "assert not hasattr(whyface, 'fit_xcos')\n"
        "try:\n    whyface.TorchEmbedder\nexcept AttributeError as error:\n    print(error)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'whyface[train]'" in result.stdout


def test_help_shows_the_functions() -> None:
    text = pydoc.plain(pydoc.render_doc(whyface))
    assert "verify(" in text
    assert "class Verifier" in text


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="verfy"):
        whyface.verfy  # type: ignore[attr-defined] # noqa: B018

"""SECURITY.md lists every place where bytes of others are parsed."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
SOURCE: Final = ROOT / "src" / "whyface"

CALLS: Final = frozenset(
    {
        *(("json", "loads"), ("json", "load"), ("yaml", "safe_load"), ("yaml", "load"), ("yaml", "safe_load_all")),
        *(("tarfile", "open"), ("zipfile", "ZipFile"), ("gzip", "open"), ("pickle", "loads"), ("pickle", "load")),
        *(("pickle", "Unpickler"), ("pickletools", "genops"), ("torch", "load"), ("joblib", "load")),
        *(("onnx", "load"), ("onnx", "load_model"), ("onnx", "load_model_from_string"), ("onnx", "load_from_string")),
        *(
            ("Image", "open"),
            ("cv2", "imread"),
            ("cv2", "imdecode"),
            ("cv2", "VideoCapture"),
            ("pillow_heif", "open_heif"),
        ),
        *(("np", "load"), ("np", "fromfile"), ("np", "memmap"), ("np", "loadtxt"), ("np", "genfromtxt")),
        *(("csv", "reader"), ("csv", "DictReader"), ("sqlite3", "connect"), ("runtime", "InferenceSession")),
        *(("base64", "b64decode"), ("uvicorn", "Config"), ("uvicorn", "Server")),
        *(("parquet", "read_table"), ("parquet", "ParquetFile"), ("onnxruntime", "InferenceSession")),
    }
)
NAMES: Final = frozenset({"safe_open", "load_file", "open_memmap", "open_heif", "InferenceSession", "ElementTree"})


def parsers(source: str) -> set[str]:
    """Name the parsers that a module uses."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            base = node.value.id if isinstance(node.value, ast.Name) else getattr(node.value, "attr", "")
            if (base, node.attr) in CALLS or node.attr in NAMES:
                found.add(f"{base}.{node.attr}")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in NAMES:
            found.add(node.func.id)
    return found


def listed() -> set[str]:
    page = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    readers = page.partition("## Readers of foreign bytes")[2]
    return set(re.findall(r"`(?!tests/)([a-z_/]+\.py)`", readers))


def test_no_parser_is_called_outside_the_list() -> None:
    using = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if parsers(path.read_text(encoding="utf-8"))
    }
    assert using <= listed(), "name it in SECURITY.md with its guard, or better, use the reader that is there"


def test_every_module_of_the_list_is_there() -> None:
    assert {name for name in listed() if not (SOURCE / name).is_file()} == set()
    own = {
        "data/recordio.py",
        "data/protocols.py",
        "models/onnx_tap.py",
        "models/onnx_limits.py",
        "gallery/vector_table.py",
    }
    assert {name for name in listed() - own if not parsers((SOURCE / name).read_text(encoding="utf-8"))} == set()


@pytest.mark.parametrize(
    "source",
    ["json.loads(x)", "np.load(path)", "with safe_open(x) as f: pass", "read = yaml.load", "a.pickle.loads(b)"],
)
def test_parsers_are_seen(source: str) -> None:
    assert parsers(source)


def test_what_is_no_parser_is_not() -> None:
    assert not parsers("json.dumps(x)\nparse_json(x)\nnp.save(a, b)\nImage.new('L', (1, 1))")


@pytest.mark.parametrize("page", ["SECURITY.md", "docs/reference/privacy.md"])
def test_every_test_that_a_page_names_is_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    named = set(re.findall(r"`(tests/[a-z_/]+\.py)`", text))
    assert named
    for name in named:
        assert "def test_" in (ROOT / name).read_text(encoding="utf-8"), name


def test_every_line_of_the_privacy_page_names_its_test() -> None:
    text = (ROOT / "docs" / "reference" / "privacy.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("|")][2:]
    assert len(rows) >= 6
    for row in rows:
        assert re.search(r"`tests/[a-z_/]+\.py`", row.split("|")[3]), row

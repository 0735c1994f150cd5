"""The modules, names and files that the documents mention are there."""

from __future__ import annotations

import ast
import re
import textwrap
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("docs/**/*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "NOTICE"])
CODE = re.compile(r"^( *)```python\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
DOTTED = re.compile(r"`(whyface(?:\.\w+)+)`")
FILE = re.compile(r"(?<![\w./-])(?:benchmarks|docs|scripts|src|studies|tests)/[\w/.-]*\w\.(?:json|md|py|png|yaml)\b")
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)[^)]*\)")
NO_MODULES = {"whyface.methods"}  # a group of entry points
MADE_WHEN_BUILT = {"docs/api/index.md", "docs/reference/command-line.md"}


def imports(code: str) -> set[str]:
    """List the dotted names of whyface that a piece of code imports."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{name.name}" for name in node.names}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return {name for name in found if name.split(".")[0] == "whyface"}


def is_there(name: str) -> bool:
    """Say whether a dotted name is a module or something in one."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:cut]))
        except ModuleNotFoundError as error:
            if error.name not in {".".join(parts[:end]) for end in range(1, cut + 1)}:
                raise
            continue
        for part in parts[cut:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


def is_file(path: Path) -> bool:
    """Say whether a file is there, or will be in the built site."""
    return path.exists() or path.relative_to(ROOT).as_posix() in MADE_WHEN_BUILT


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_names_and_files_of_a_document(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    names = set(DOTTED.findall(text)) - NO_MODULES
    for _, code in CODE.findall(text):
        names |= imports(textwrap.dedent(code))
    assert [name for name in sorted(names) if not is_there(name)] == []
    files = {ROOT / path for path in FILE.findall(LINK.sub("", text))}
    files |= {document.parent / path for path in LINK.findall(text)}
    assert [str(path) for path in sorted(files) if not is_file(path.resolve())] == []


def test_the_check_knows_what_is_not_there() -> None:
    assert is_there("whyface.faces.face.Face")
    assert not is_there("whyface.faces.face.Countenance")
    assert not is_there("whyface.no_such_module.thing")
    assert imports("from whyface.faces.face import Face, X\nimport whyface.gallery\nimport os") == {
        "whyface.faces.face.Face",
        "whyface.faces.face.X",
        "whyface.gallery",
    }

"""The house: data flows one way, no circles, no oversized rooms."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src" / "whyface"
LAYERS = (
    ("errors", "onnx_runtime", "demo", "engines"),
    ("files",),
    ("faces",),
    ("models",),
    ("xcos",),
    ("explain",),
    ("words",),
    ("data",),
    ("evaluate",),
    ("gallery",),
    ("identify",),
    ("bench",),
    ("batch",),
    ("train",),
    ("figures",),
    ("page",),
    ("verification",),
    ("set_verification",),
    ("record_check",),
    ("folder_search",),
    ("albums",),
    ("service",),
    ("commands",),
    ("cli",),
    ("__main__",),
)
KINDS = {
    *("XcosModel", "XcosNetwork", "FcNetwork", "OnnxEmbedder", "TorchEmbedder", "PlacedGridHead", "PlacedFcHead"),
    *("XcosScore", "CosineScore", "XcosComparison", "CosineComparison", "MobileFaceNet", "ScaledPixels", "LayerTrunk"),
}
"""Classes of models and their parts: code asks them to do something instead of asking which of them it has."""
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}


def modules() -> dict[str, Path]:
    found = {}
    for path in SOURCE.rglob("*.py"):
        dotted = ".".join(("whyface", *path.relative_to(SOURCE).with_suffix("").parts))
        found[dotted.removesuffix(".__init__")] = path
    return found


@cache
def nodes_of(path: Path) -> tuple[ast.Import | ast.ImportFrom | ast.Call, ...]:
    """Return what the tests here look at; parsing takes longer than all of them."""
    tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return tuple(node for node in tree if isinstance(node, ast.Import | ast.ImportFrom | ast.Call))


def imports_of(path: Path, known: dict[str, Path]) -> set[str]:
    """Name every module of the package that a file imports: at the top, inside functions and for type checks."""
    found = set()
    for node in nodes_of(path):
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.split(".")[0] == "whyface":
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in known else node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "whyface"}
    return found - {"whyface"}


def layer_of(module: str) -> int:
    return RANK[module.split(".")[1]]


def test_every_package_has_a_layer() -> None:
    tops = {name.split(".")[1] for name in modules() if name != "whyface"}
    assert tops == set(RANK)


def test_imports_point_down() -> None:
    known = modules()
    upward = [
        f"{module} -> {imported}"
        for module, path in known.items()
        if module != "whyface"
        for imported in imports_of(path, known)
        if layer_of(imported) > layer_of(module)
    ]
    assert not upward


def test_there_is_no_circle() -> None:
    known = modules()
    # A package's own __init__ names its modules lazily; that is no import of theirs.
    arrows = {name: imports_of(path, known) for name, path in known.items() if path.name != "__init__.py"}
    while True:
        leaves = {name for name, targets in arrows.items() if not targets & arrows.keys()}
        if not leaves:
            break
        arrows = {name: targets for name, targets in arrows.items() if name not in leaves}
    assert not arrows, f"these modules import each other, or are imported by such: {sorted(arrows)}"


def test_no_module_is_too_long() -> None:
    long = {path.name: count for path in SOURCE.rglob("*.py") if (count := len(path.read_text().splitlines())) > 400}
    assert not long


def test_few_branches_ask_which_kind_of_model_it_is() -> None:
    found = [
        f"{name}:{node.lineno}"
        for name, path in modules().items()
        for node in nodes_of(path)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance"
        if KINDS & {part.id for part in ast.walk(node.args[1]) if isinstance(part, ast.Name)}
    ]
    assert len(found) <= 5, found

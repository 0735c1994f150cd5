"""The page on very large galleries: a gallery in parts finds what one gallery finds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from helpers.gallery_models import TinyGrids, faces
from whyface.gallery.gallery import Gallery
from whyface.xcos.model import XcosModel

PAGE = Path(__file__).parents[2] / "docs/how-to/scale.md"


def test_the_best_of_the_parts_are_the_best_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = XcosModel(TinyGrids(), weighed=True)
    monkeypatch.setattr("whyface.xcos.open_xcos", lambda _: model)
    code, _ = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    page: dict[str, Any] = {}
    exec(code, page)  # the page's own code
    features = model.grid(faces(31, seed=3))
    folders = []
    for start in (0, 10, 20):
        folders.append(tmp_path / f"part-{start}")
        with Gallery.create(folders[-1], model) as part:
            part.add(features[start : start + 10], [f"person {start + i}" for i in range(10)], "made up")
    with Gallery.create(tmp_path / "all", model) as whole:
        whole.add(features[:30], [f"person {i}" for i in range(30)], "made up")
        (expected,) = whole.search(features[30:], k=7)
    found = page["search_parts"](folders, features[30:], 7)
    assert [(one.name, one.score) for one in found] == [(one.name, one.score) for one in expected]

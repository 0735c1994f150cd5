"""The page on very large galleries: a gallery in parts finds what one gallery finds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.gallery_models import TinyGrids, faces
from whyface.gallery.gallery import Gallery
from whyface.models.catalogue import DEFAULT_MODEL
from whyface.xcos.model import XcosModel, open_xcos

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


@pytest.mark.slow
def test_the_pages_lines_for_ray_find_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'whyface[ray]'")
    code, far = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    model = open_xcos(DEFAULT_MODEL)
    features = model.grid(np.random.default_rng(0).integers(0, 256, (31, 3, 112, 112), dtype=np.uint8))
    names = [f"person {number}" for number in range(30)]
    folders = [tmp_path / f"part-{start}" for start in (0, 10, 20)]
    for start, folder in zip((0, 10, 20), folders, strict=True):
        with Gallery.create(folder, model) as part:
            part.add(features[start : start + 10], names[start : start + 10], "made up")
    with Gallery.create(tmp_path / "all", model) as whole:
        whole.add(features[:30], names, "made up")
        (expected,) = whole.search(features[30:], k=5)
    page: dict[str, Any] = {"folders": folders, "features": features[30:]}
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        exec(code, page)  # the page's own code
        exec(far, page)
    finally:
        ray.shutdown()
    assert [(one.name, one.score) for one in page["best"]] == [(one.name, one.score) for one in expected]

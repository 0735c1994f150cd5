"""Scoring a protocol with tiny networks whose answers are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.tiny_networks import write_tiny
from whyface.data.pair_lists import read_pair_list
from whyface.data.protocols import PairProtocol
from whyface.evaluate.scoring import score_embedder, score_grids, summarise_scores
from whyface.faces.pictures import FolderPictures
from whyface.models.onnx_embedder import OnnxEmbedder
from whyface.xcos.comparison import comparisons
from whyface.xcos.model import XcosModel


@pytest.fixture
def protocol(tmp_path: Path) -> PairProtocol:
    colours = {"ann": (200, 0, 0), "bob": (0, 0, 200), "cat": (0, 90, 0), "dan": (90, 90, 0)}
    for person, colour in colours.items():
        for number in (1, 2):
            path = tmp_path / "faces" / person / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (112, 112), tuple(c // number for c in colour)).save(path)
    lines = [f"{p}/1.png {p}/2.png 1" for p in colours] + [
        f"{a}/1.png {b}/2.png 0" for a, b in (("ann", "bob"), ("ann", "cat"), ("bob", "dan"), ("cat", "dan"))
    ]
    (tmp_path / "pairs.txt").write_text("\n".join(lines) + "\n")
    return read_pair_list(tmp_path / "pairs.txt", folds=2)


def test_cosine_and_uniform_grid_agree_on_flat_faces(tmp_path: Path, protocol: PairProtocol) -> None:
    embedder = OnnxEmbedder(write_tiny(tmp_path / "net.onnx"), grid="map")
    with FolderPictures(tmp_path / "faces") as source:
        cosine = score_embedder(embedder, source, protocol)
        scores, means = score_grids(comparisons(XcosModel(embedder)), source, protocol)
    assert set(scores) == {"u"}
    np.testing.assert_allclose(scores["u"], cosine, atol=1e-5)
    np.testing.assert_allclose(cosine[protocol.genuine], 1, atol=1e-5)
    np.testing.assert_allclose(means["u"], 1 / 49, atol=1e-6)
    red_blue = 27 / np.sqrt(17 * 45)
    assert np.isclose(cosine[~protocol.genuine], red_blue, atol=1e-3).any()


def test_summary_of_perfect_scores(tmp_path: Path, protocol: PairProtocol) -> None:
    scores = np.where(protocol.genuine, 0.9, 0.1).astype(np.float32)
    report = summarise_scores({"u": scores}, protocol, "toy")["u"]
    assert report["accuracy"] == 100
    assert report["eer"] == 0
    assert [point["name"] for point in report["operating_points"]] == ["EER", "FMR 1e-2", "FMR 1e-3"]
    assert report["tar_at_far_1e-3"] is None, "four impostor pairs cannot tell"
    assert report["operating_points"][2]["note"]

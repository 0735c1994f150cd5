"""The whole chain on real data: official protocols, aligned pictures, a known network, published accuracies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from whyface.data.pair_lists import read_cfp_pairs, read_lfw_pairs
from whyface.data.protocols import PairProtocol
from whyface.evaluate.rates import fold_accuracy, tar_at_fmr
from whyface.evaluate.scoring import embed_all, pair_scores
from whyface.faces.pictures import PictureSource, open_pictures
from whyface.models.onnx_embedder import OnnxEmbedder

SHARED = Path(__file__).resolve().parents[3] / "shared"
DATA = SHARED / "data"
MODEL = SHARED / "weights" / "mobilefacenet-ms1m.onnx"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (DATA.is_dir() and MODEL.is_file()), reason="needs ../shared beside the repository"),
]


@pytest.fixture(scope="module")
def embedder() -> OnnxEmbedder:
    return OnnxEmbedder(MODEL, threads=1)


@pytest.fixture(scope="module")
def lfw() -> Iterator[PictureSource]:
    with open_pictures(DATA / "lfw-aligned-112.tar") as source:
        yield source


@pytest.fixture(scope="module")
def cfp() -> Iterator[PictureSource]:
    with open_pictures(DATA / "cfp-aligned-112.tar") as source:
        yield source


def check(
    embedder: OnnxEmbedder, source: PictureSource, protocol: PairProtocol, known: float, tolerance: float
) -> tuple[float, float]:
    """Compare the accuracy in percent with the known one and return it with the TAR at FMR 1e-3."""
    rows = embed_all(embedder, source, protocol.pictures, mirror=True)
    scores = pair_scores(rows, protocol.left, protocol.right)
    accuracy = 100 * fold_accuracy(scores, protocol.genuine, protocol.fold).mean
    assert accuracy == pytest.approx(known, abs=tolerance)
    return accuracy, 100 * tar_at_fmr(scores, protocol.genuine, 1e-3)


# The known figures were measured before the pictures were packed as JPEG, which moves a few pairs across the
# threshold: 99.33, 99.41 and 87.76 % are what these files give.
def test_lfw(embedder: OnnxEmbedder, lfw: PictureSource) -> None:
    protocol = read_lfw_pairs(DATA / "lfw-pairs.txt")
    accuracy, tar = check(embedder, lfw, protocol, known=99.40, tolerance=0.1)
    assert accuracy == pytest.approx(99.33, abs=0.04)
    assert tar == pytest.approx(98.57, abs=0.2)


def test_cfp_frontal(embedder: OnnxEmbedder, cfp: PictureSource) -> None:
    accuracy, _ = check(embedder, cfp, read_cfp_pairs(cfp, "FF"), known=99.49, tolerance=0.1)
    assert accuracy == pytest.approx(99.41, abs=0.04)


def test_cfp_profile(embedder: OnnxEmbedder, cfp: PictureSource) -> None:
    accuracy, _ = check(embedder, cfp, read_cfp_pairs(cfp, "FP"), known=87.46, tolerance=0.4)
    assert accuracy == pytest.approx(87.76, abs=0.1)


@pytest.mark.parametrize(
    ("file", "pairs", "folds"),
    [("lfw-pairs.txt", 6000, 10), ("lfw-pairsDevTrain.txt", 2200, 1), ("lfw-pairsDevTest.txt", 1000, 1)],
)
def test_official_lfw_lists(file: str, pairs: int, folds: int, lfw: PictureSource) -> None:
    protocol = read_lfw_pairs(DATA / file)
    assert len(protocol.genuine) == pairs
    assert protocol.genuine.sum() == pairs // 2
    assert np.bincount(protocol.fold).tolist() == [pairs // folds] * folds
    assert set(protocol.pictures) <= set(lfw.names())
    assert (protocol.genuine == (protocol.people_left == protocol.people_right)).all()


@pytest.mark.parametrize("split", ["FF", "FP"])
def test_official_cfp_splits(split: str, cfp: PictureSource) -> None:
    protocol = read_cfp_pairs(cfp, "FF" if split == "FF" else "FP")
    assert np.bincount(protocol.fold).tolist() == [700] * 10
    assert set(protocol.pictures) <= set(cfp.names())

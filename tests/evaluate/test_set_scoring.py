"""Scores of sets with networks whose answers are worked out by hand, and against all n x m pairs one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from helpers.picture_files import encoded, flat, shared_data, write_tree
from helpers.tiny_networks import write_tiny
from whyface.data.protocols import build_protocol
from whyface.data.video_sets import SetProtocol
from whyface.errors import InputError
from whyface.evaluate.scoring import mirrored
from whyface.evaluate.set_scoring import Aggregation, score_sets
from whyface.faces.pictures import FolderPictures, TarPictures
from whyface.models.embedder import Batch, l2_normalise
from whyface.models.preprocessing import RAW
from whyface.xcos.model import XcosModel
from whyface.xcos.open_model import OpenedModel, open_model

# The tiny network maps (r, g, b) to (r + 2 g + 3 b, 4 r + 5 g + 6 b): red to (1, 4), green to (2, 5), blue to (3, 6).
RED, GREEN, BLUE = (100, 0, 0), (0, 100, 0), (0, 0, 100)
U_RED, U_GREEN, U_BLUE = (np.array(v) / np.linalg.norm(v) for v in ((1.0, 4.0), (2.0, 5.0), (3.0, 6.0)))


def toy(tmp_path: Path) -> tuple[FolderPictures, SetProtocol]:
    """Set a: red and green; set b: blue; set c: red, dark blue, blue."""
    files = {"a/1": RED, "a/2": GREEN, "b/1": BLUE, "c/1": RED, "c/2": (0, 0, 50), "c/3": BLUE}
    root = write_tree(tmp_path / "sets", {f"{name}.png": flat(colour) for name, colour in files.items()})
    pairs = [("a", "b", True, 0), ("a", "c", False, 0), ("b", "c", False, 1)]
    protocol = build_protocol("toy", pairs, {"a": "p", "b": "p", "c": "q"})
    frames = tuple(tuple(f"{n}.png" for n in files if n.startswith(one)) for one in "abc")
    return FolderPictures(root), SetProtocol(protocol, frames)


def test_cosine_of_mean_embeddings_by_hand(tmp_path: Path) -> None:
    source, protocol = toy(tmp_path)
    model = open_model(str(write_tiny(tmp_path / "net.onnx")))
    means = [U_RED + U_GREEN, U_BLUE, U_RED + 2 * U_BLUE]
    a, b, c = (mean / np.linalg.norm(mean) for mean in means)
    found = score_sets(model, source, protocol, aggregation="grids")
    assert found["cosine"] == pytest.approx([a @ b, a @ c, b @ c], abs=1e-6)


def test_mean_of_all_cosines_by_hand(tmp_path: Path) -> None:
    source, protocol = toy(tmp_path)
    model = open_model(str(write_tiny(tmp_path / "net.onnx")))
    a, b, c = [U_RED, U_GREEN], [U_BLUE], [U_RED, U_BLUE, U_BLUE]
    expected = [np.mean([x @ y for x in one for y in other]) for one, other in ((a, b), (a, c), (b, c))]
    found = score_sets(model, source, protocol, aggregation="scores")
    assert found["cosine"] == pytest.approx(expected, abs=1e-6)


def test_mean_grids_are_not_normalised_first(tmp_path: Path) -> None:
    """A dark frame has short features and counts less: set c is red + 1.5 blue, not red + 2 blue."""
    source, protocol = toy(tmp_path)
    model = open_model(str(write_tiny(tmp_path / "net.onnx")), attention="u", grid="map")
    a, b, c = (np.array(v) / np.linalg.norm(v) for v in ((3.0, 9.0), (3.0, 6.0), (1 + 4.5, 4 + 9.0)))
    found = score_sets(model, source, protocol, aggregation="grids")
    assert found["u"] == pytest.approx([a @ b, a @ c, b @ c], abs=1e-6)


class Noise:
    """A grid network that is a seeded random linear map of 16 x 16 blocks."""

    name, sha256 = "noise", "0" * 64

    def embed(self, batch: Batch) -> NDArray[np.float32]:
        return l2_normalise(self.grid(batch).reshape(len(batch), -1))

    def grid(self, batch: Batch) -> NDArray[np.float32]:
        blocks = batch.astype(np.float64).reshape(len(batch), 3, 7, 16, 7, 16).mean(axis=(3, 5)) - 128
        weights = np.random.default_rng(1).normal(size=(5, 3))
        features: NDArray[np.float32] = np.einsum("dc,nchw->ndhw", weights, blocks).astype(np.float32)
        return features


class PairSoftmax:
    """Attention that depends on both grids, in place of the learned graph."""

    def run(self, one: NDArray[np.float32], other: NDArray[np.float32]) -> tuple[NDArray[Any], ...]:
        similarity = np.einsum("nchw,nchw->nhw", one, other) / (
            np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
        )
        weights = np.exp(3 * similarity)
        weights /= weights.sum(axis=(1, 2), keepdims=True)
        return similarity, weights, (similarity * weights).sum(axis=(1, 2))


@pytest.fixture
def noisy(tmp_path: Path) -> tuple[OpenedModel, FolderPictures, SetProtocol]:
    rng = np.random.default_rng(7)
    sizes = {"a": 70, "b": 3, "c": 1, "d": 2}
    frames = tuple(tuple(f"{one}/{k:02d}.png" for k in range(size)) for one, size in sizes.items())
    names = [name for names in frames for name in names]
    blocks = {name: rng.integers(0, 256, (7, 7, 3)).astype(np.uint8).repeat(16, 0).repeat(16, 1) for name in names}
    root = write_tree(tmp_path / "noise", {name: encoded(pixels) for name, pixels in blocks.items()})
    pairs = [("a", "b", True, 0), ("b", "c", False, 0), ("c", "d", False, 1), ("a", "d", False, 1)]
    protocol = build_protocol("noise", pairs, {"a": "p", "b": "p", "c": "q", "d": "r"})
    correlated = rng.random((7, 7)).astype(np.float32)
    network = XcosModel(Noise(), pair=PairSoftmax(), correlated=correlated)  # type: ignore[arg-type]
    scoring = OpenedModel("noise", network, None, {}, RAW)
    return scoring, FolderPictures(root), SetProtocol(protocol, frames)


def brute_force(
    model: XcosModel, source: FolderPictures, protocol: SetProtocol, kind: Any, *, mirror: bool = False
) -> list[float]:
    def grids(number: int) -> NDArray[np.float32]:
        faces = np.stack([source.read(name).transpose(2, 0, 1) for name in protocol.frames[number]])
        return model.grid(mirrored(faces) if mirror else faces)

    scores = []
    for left, right in zip(protocol.pairs.left, protocol.pairs.right, strict=True):
        first, second = grids(int(left)), grids(int(right))
        scores.append(
            np.mean([model.compare_grids(x[None], y[None], kind).score[0] for x in first for y in second]).item()
        )
    return scores


@pytest.mark.parametrize("cache_bytes", [2**30, 0])
@pytest.mark.parametrize("mirror", [False, True])
def test_mean_of_scores_is_that_of_all_pairs_of_frames(
    noisy: tuple[OpenedModel, FolderPictures, SetProtocol], mirror: bool, cache_bytes: int
) -> None:
    model, source, protocol = noisy
    found = score_sets(model, source, protocol, aggregation="scores", mirror=mirror, cache_bytes=cache_bytes)
    assert list(found) == ["u", "p", "l"]
    assert isinstance(model.model, XcosModel)
    for kind, values in found.items():
        expected = np.array(brute_force(model.model, source, protocol, kind))
        if mirror:
            expected = (expected + brute_force(model.model, source, protocol, kind, mirror=True)) / 2
        np.testing.assert_allclose(values, expected, atol=2e-6)


def test_mean_of_grids_in_batches(noisy: tuple[OpenedModel, FolderPictures, SetProtocol]) -> None:
    model, source, protocol = noisy
    seen: list[tuple[int, int]] = []
    found = score_sets(model, source, protocol, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (76, 76)
    assert isinstance(model.model, XcosModel)
    network = model.model
    means = [
        network.grid(np.stack([source.read(n).transpose(2, 0, 1) for n in names])).mean(axis=0)[None]
        for names in protocol.frames
    ]
    for kind in network.attentions:
        expected = [
            network.compare_grids(means[a], means[b], kind).score[0]
            for a, b in zip(protocol.pairs.left, protocol.pairs.right, strict=True)
        ]
        np.testing.assert_allclose(found[kind], expected, atol=2e-6)


@pytest.mark.parametrize("aggregation", ["grids", "scores"])
def test_sets_of_one_picture_are_pictures(
    noisy: tuple[OpenedModel, FolderPictures, SetProtocol], aggregation: Aggregation
) -> None:
    model, source, protocol = noisy
    single = protocol.at_most(1)
    found = score_sets(model, source, single, aggregation=aggregation)
    assert isinstance(model.model, XcosModel)
    for kind, values in found.items():
        np.testing.assert_allclose(values, brute_force(model.model, source, single, kind), atol=2e-6)


def test_unknown_aggregation(noisy: tuple[OpenedModel, FolderPictures, SetProtocol]) -> None:
    with pytest.raises(InputError, match="grids, scores"):
        score_sets(*noisy, aggregation="mean")  # type: ignore[arg-type]


def test_more_pictures_of_real_people_tell_more() -> None:
    """Sets made of several LFW pictures of one person are easier to tell apart than single pictures."""
    with TarPictures(shared_data("lfw-aligned-112.tar")) as source:
        by_person: dict[str, list[str]] = {}
        for name in source.names():
            by_person.setdefault(name.split("/")[1], []).append(name)
        people = [person for person, names in by_person.items() if len(names) >= 8][:12]
        frames, rows, who = [], [], {}
        for number, person in enumerate(people):
            for part in (0, 1):
                who[f"{person}/{part}"] = person
            following = people[(number + 1) % len(people)]
            rows += [(f"{person}/0", f"{person}/1", True, number % 2), (f"{person}/0", f"{following}/1", False, 0)]
        pairs = build_protocol("sets", rows, who)
        for video in pairs.pictures:
            person, half = video.split("/")
            frames.append(tuple(by_person[person][4 * int(half) : 4 * int(half) + 4]))
        protocol = SetProtocol(pairs, tuple(frames))
        model = open_model("xcos-mobilefacenet")

        def gap(sets: SetProtocol, aggregation: Aggregation) -> float:
            scores = score_sets(model, source, sets, aggregation=aggregation)["l"]
            return float((scores[pairs.genuine].min() - scores[~pairs.genuine].max()).item())

        assert gap(protocol, "grids") > max(0, gap(protocol.at_most(1), "grids"))
        assert gap(protocol, "scores") > 0

from __future__ import annotations

import io
from itertools import chain, repeat

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from whyface.errors import DataError, InputError, ModelError
from whyface.evaluate.scoring import embed_all, pair_scores
from whyface.files.progress import progress_bar
from whyface.models.embedder import Batch


class ManyPictures:
    """Pictures made up on the fly: the number in the name is the grey level; the left half is darker."""

    def names(self) -> tuple[str, ...]:
        return tuple(str(level) for level in range(10))

    def read(self, name: str) -> NDArray[np.uint8]:
        if not name.isdecimal():
            raise DataError(f"no picture {name}")
        pixels = np.full((112, 112, 3), int(name), np.uint8)
        pixels[:, :56] //= 2
        return pixels

    def read_bytes(self, name: str) -> bytes:
        raise DataError(name)

    def close(self) -> None:
        pass

    def __enter__(self) -> ManyPictures:
        return self

    def __exit__(self, *args: object) -> None:
        pass


class HalvesEmbedder:
    """Means of the left and of the right half, scaled to unit length."""

    name = "halves"
    sha256 = "0" * 64

    def __init__(self) -> None:
        self.batches: list[int] = []

    def embed(self, batch: Batch) -> NDArray[np.float32]:
        assert batch.dtype == np.uint8
        assert batch.shape[1:] == (3, 112, 112)
        self.batches.append(len(batch))
        halves = np.stack([batch[..., :56].mean((1, 2, 3)), batch[..., 56:].mean((1, 2, 3))], axis=1) + 1e-3
        return np.asarray(halves / np.linalg.norm(halves, axis=1, keepdims=True), np.float32)


class FixedEmbedder(HalvesEmbedder):
    def __init__(self, answers: list[NDArray[np.float32]]) -> None:
        super().__init__()
        self.answers = answers

    def embed(self, batch: Batch) -> NDArray[np.float32]:
        return self.answers.pop(0)


def test_streams_in_batches_and_keeps_the_order() -> None:
    embedder = HalvesEmbedder()
    seen: list[tuple[int, int]] = []
    names = ["200", "0", "100", "0", "50"]
    rows = embed_all(embedder, ManyPictures(), names, batch=2, progress=lambda done, total: seen.append((done, total)))
    assert embedder.batches == [2, 2, 1]
    assert seen == [(2, 5), (4, 5), (5, 5)]
    assert rows.shape == (5, 2)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows[1], rows[3])
    np.testing.assert_allclose(rows[0], np.array([1, 2]) / np.sqrt(5), atol=1e-5)


def test_mirror_adds_the_mirror_image() -> None:
    rows = embed_all(HalvesEmbedder(), ManyPictures(), ["200"], mirror=True)
    # (1, 2) and (2, 1) average to equal halves.
    np.testing.assert_allclose(rows, [[np.sqrt(0.5)] * 2], atol=1e-6)


def test_bad_calls() -> None:
    with pytest.raises(InputError, match="no pictures"):
        embed_all(HalvesEmbedder(), ManyPictures(), [])
    with pytest.raises(InputError, match="at least 1"):
        embed_all(HalvesEmbedder(), ManyPictures(), ["1"], batch=0)
    with pytest.raises(DataError, match="no picture x"):
        embed_all(HalvesEmbedder(), ManyPictures(), ["1", "x"])


def test_bad_embedders() -> None:
    one = np.ones((1, 3), np.float32)
    for answers, message in (
        ([np.ones((2, 3), np.float32)], r"shape \(2, 3\) for 1 faces"),
        ([np.ones(3, np.float32)], "shape"),
        ([one * np.nan], "not finite"),
        ([one, np.ones((1, 4), np.float32)], "changed its dimension from 3 to 4"),
    ):
        with pytest.raises(ModelError, match=message):
            embed_all(FixedEmbedder(answers), ManyPictures(), ["1", "2"], batch=1)


def test_pair_scores() -> None:
    rows = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
    scores = pair_scores(rows, np.array([0, 0, 1]), np.array([0, 1, 2]))
    np.testing.assert_allclose(scores, [1, 0, 0.8], atol=1e-6)
    assert scores.dtype == np.float64


def test_progress_stays_silent_when_quick() -> None:
    out = io.StringIO()
    with progress_bar("embedding", console=Console(file=out, force_terminal=True), clock=lambda: 0.0) as report:
        report(1, 2)
        report(2, 2)
    assert out.getvalue() == ""


def test_progress_appears_after_a_while() -> None:
    out = io.StringIO()
    # The bar also looks at the clock by itself, so that a long step shows.
    times = chain([0.0, 1.0], repeat(3.0))
    console = Console(file=out, force_terminal=True, width=80)
    with progress_bar("embedding", console=console, clock=lambda: next(times)) as report:
        report(1, 3)
        assert out.getvalue() == ""
        report(2, 3)
        report(3, 3)
    assert "embedding" in out.getvalue()


def test_progress_ends_with_the_error_inside() -> None:
    console = Console(file=io.StringIO(), force_terminal=True)
    with pytest.raises(ValueError, match="stop"), progress_bar("x", console=console, after=0.0) as report:
        report(1, 2)
        raise ValueError("stop")


def test_progress_writes_nothing_into_a_file() -> None:
    out = io.StringIO()
    with progress_bar("x", console=Console(file=out), after=0.0) as report:
        report(1, 2)
    assert out.getvalue() == ""

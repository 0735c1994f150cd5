"""A model and methods whose right answers are known, for tests of the bench."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from whyface.bench.base import PairChunk, Subject
from whyface.data.protocols import PairProtocol, build_protocol
from whyface.explain.pair_method import PairMaps, PairMethod
from whyface.models.embedder import Batch, Embedder
from whyface.xcos.comparison import COSINE
from whyface.xcos.grid import AttentionKind
from whyface.xcos.model import XcosMaps

SHA = "0" * 64


class PixelModel:
    """Mean product of grey values minus 128 over a window, 1 at most; all other pixels do not matter."""

    name = "pixels"
    sha256 = SHA
    kind: str = COSINE
    attention: AttentionKind | None = None

    def __init__(self, window: tuple[slice, slice] = (slice(None), slice(None))) -> None:
        self.window = window

    def embed(self, batch: Batch) -> NDArray[np.float32]:
        grey = batch.astype(np.float64).mean(axis=1)[:, self.window[0], self.window[1]].reshape(len(batch), -1) - 128
        features: NDArray[np.float32] = (grey / (128 * np.sqrt(grey.shape[1]))).astype(np.float32)
        return features

    def features(self, batch: Batch) -> NDArray[np.float32]:
        return self.embed(batch)

    def scores(self, first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
        scores: NDArray[np.float32] = (first * second).sum(axis=1)
        return scores

    def maps(self, first: NDArray[np.float32], second: NDArray[np.float32]) -> XcosMaps | None:
        return None

    @property
    def embedder(self) -> Embedder:
        return self


class ProductMethod(PairMethod):
    """The exact map of :class:`PixelModel`: what each pixel adds to the cosine."""

    name = "product"
    embedder: PixelModel
    calls = 0

    def maps(self, first: Batch, second: Batch) -> PairMaps:
        self.calls += 1
        one, two = self.embedder.embed(first), self.embedder.embed(second)
        shape = np.zeros((112, 112))[self.embedder.window].shape
        full = np.zeros((len(first), 112, 112), np.float32)
        full[:, self.embedder.window[0], self.embedder.window[1]] = (one * two).reshape(-1, *shape)
        return PairMaps(self.embedder.scores(one, two), full, full.copy(), forward=2)


class FlatMethod(ProductMethod):
    """A map that says nothing."""

    name = "flat"

    def maps(self, first: Batch, second: Batch) -> PairMaps:
        found = super().maps(first, second)
        return PairMaps(found.score, np.zeros_like(found.map_a), np.zeros_like(found.map_b), forward=2)


class Pictures:
    """Smooth random pictures of some people; pictures of one person differ by a little noise."""

    def __init__(self, people: int = 6, pictures: int = 3, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.pictures: dict[str, NDArray[np.uint8]] = {}
        for person in range(people):
            base = rng.integers(0, 256, (14, 14, 3)).repeat(8, axis=0).repeat(8, axis=1)
            for number in range(pictures):
                noisy = base + rng.normal(0, 10, base.shape)
                self.pictures[f"{person}/{number}"] = noisy.clip(0, 255).astype(np.uint8)

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self.pictures))

    def read(self, name: str) -> NDArray[np.uint8]:
        return self.pictures[name]

    def read_bytes(self, name: str) -> bytes:
        raise NotImplementedError

    def close(self) -> None:
        pass

    def __enter__(self) -> Pictures:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def protocol(self) -> PairProtocol:
        """Genuine pairs of neighbouring pictures, impostor pairs of neighbouring people."""
        people = sorted({name.split("/")[0] for name in self.pictures})
        pairs = [(f"{p}/0", f"{p}/1", True, 0) for p in people]
        pairs += [(f"{p}/0", f"{q}/2", False, 0) for p, q in pairwise(people)]
        return build_protocol("toy", pairs, {name: name.split("/")[0] for name in self.pictures})


def chunk_of(pictures: Pictures, numbers: list[int], seed: int = 0) -> PairChunk:
    """Read pairs of the toy protocol as one chunk."""
    from whyface.bench.base import read_chunks

    wanted = np.asarray(numbers, np.intp)
    (chunk,) = read_chunks(pictures.protocol(), pictures, wanted, size=len(numbers), seed=seed)
    return chunk


def subject_of(method: type[ProductMethod] = ProductMethod, threshold: float = 0.05, **kwargs: object) -> Subject:
    """Put a method on the toy model."""
    model = PixelModel(**kwargs)  # type: ignore[arg-type]
    return Subject(method(model), model, threshold)

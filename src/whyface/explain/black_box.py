"""The base of black-box methods: change a face and see how the score changes."""

from __future__ import annotations

import queue
from abc import abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.explain.pair_method import PairMaps, PairMethod, check_pairing
from whyface.explain.provenance import ThresholdSource
from whyface.models.embedder import Batch, Embedder
from whyface.xcos.comparison import Comparison, CosineComparison, Features

if TYPE_CHECKING:
    from whyface.files.progress import ProgressCallback


Fill = float | str
"""A grey level in 0..255, or one of :data:`FILL_NAMES`."""

FILL_NAMES: Final = ("mean", "blur", "noise")
"""The face's mean colour; the face, strongly blurred; seeded uniform noise."""

_BLUR_SIGMA: Final = 12.0


def check_fill(fill: Fill) -> Fill:
    """Return the fill if it is valid. Raise InputError if it is neither a grey level nor a known name."""
    if isinstance(fill, str):
        if fill not in FILL_NAMES:
            raise InputError(f"unknown fill {fill!r}; use a grey level in 0..255 or one of {', '.join(FILL_NAMES)}")
    elif not 0 <= fill <= 255:
        raise InputError(f"a fill must be a grey level in 0..255, got {fill:g}")
    return fill


def fill_picture(face: NDArray[Any], fill: Fill, seed: int = 0) -> NDArray[Any]:
    """Return the picture that replaces the covered pixels of a face.

    Parameters
    ----------
    face
        (3, H, W), RGB, uint8 or float32 in 0..255.
    seed
        For ``"noise"``.

    Returns
    -------
    Picture of the same shape and dtype.
    """
    check_fill(fill)
    if not isinstance(fill, str):
        return np.full_like(face, _as(face, np.asarray(fill)))
    make: dict[str, Callable[[], NDArray[Any]]] = {
        "mean": lambda: np.broadcast_to(face.mean(axis=(1, 2), dtype=np.float64, keepdims=True), face.shape),
        "blur": lambda: np.stack([cv2.GaussianBlur(plane, (0, 0), _BLUR_SIGMA) for plane in face]),
        "noise": lambda: np.random.default_rng(seed).uniform(0, 255, face.shape),
    }
    return _as(face, make[fill]())


def _as(face: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
    return (np.rint(values) if face.dtype == np.uint8 else values).astype(face.dtype)


class Painter(Protocol):
    """A set of changes of a face, numbered from 0."""

    def paint(self, row: NDArray[Any], index: int) -> None:
        """Change the face in ``row``, (3, H, W), in place."""
        ...

    def undo(self, row: NDArray[Any], index: int) -> None:
        """Undo the change in place."""
        ...


def painted_features(
    features: Callable[[Batch], Features],
    face: NDArray[Any],
    painter: Painter,
    count: int,
    *,
    batch_size: int = 64,
    workers: int = 1,
    advance: Callable[[int], None] | None = None,
) -> Features:
    """Run the network on ``count`` changed copies of a face.

    The face is not copied for each change: each row of a buffer is changed in place and restored afterwards. Return
    features (count, ...), in the order of the changes.

    Parameters
    ----------
    features
        The network: (n, 3, H, W) -> (n, ...).
    face
        (3, H, W), uint8 or float32.
    painter
        Makes and undoes the changes.
    batch_size
        Maximum number of faces in memory and in the network at once, over all workers.
    workers
        Threads that run the network. On a CPU, several single-threaded runs in parallel are faster than one
        multi-threaded run, since threads need not wait for each other after each layer.
    advance
        Called after each run with the number of faces in it.
    """
    workers = max(1, min(workers, batch_size, count))
    size = min(max(1, batch_size // workers), -(-count // workers))
    buffers: queue.SimpleQueue[NDArray[Any]] = queue.SimpleQueue()
    for _ in range(workers):
        buffers.put(np.repeat(face[None], size, axis=0))

    def run(start: int) -> Features:
        buffer = buffers.get()
        try:
            rows = range(min(size, count - start))
            for row in rows:
                painter.paint(buffer[row], start + row)
            made = features(buffer[: len(rows)])
            for row in rows:
                painter.undo(buffer[row], start + row)
            return made
        finally:
            buffers.put(buffer)

    starts = range(0, count, size)
    parts: list[Features] = []
    with ThreadPoolExecutor(workers) as pool:
        try:
            for made in pool.map(run, starts) if workers > 1 else map(run, starts):
                parts.append(made)
                if advance is not None:
                    advance(len(made))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return np.concatenate(parts)


OnePair = tuple[NDArray[np.float32], NDArray[np.float32], dict[str, Any]]


class BlackBoxMethod(PairMethod):
    """A method that needs only scores; see :class:`~whyface.explain.pair_method.PairMethod`.

    Raise InputError if an option is invalid.

    Parameters
    ----------
    embedder
        Any network.
    comparison
        The score to explain, such as xCos; by default the cosine of the embeddings.
    fill
        What replaces covered pixels: a grey level, ``"mean"`` (the face's mean colour, which preserves the
        brightness), ``"blur"`` or ``"noise"``.
    seed
        Seed of all random draws.
    workers
        Threads that run the network, see :func:`~whyface.explain.black_box.painted_features`.
    progress
        Called while a pair is explained, with the number of forward passes done and the total.
    """

    def __init__(
        self,
        embedder: Embedder,
        *,
        comparison: Comparison | None = None,
        fill: Fill = "mean",
        seed: int = 0,
        workers: int = 1,
        progress: ProgressCallback | None = None,
        threshold: float = 0.0,
        source: ThresholdSource | None = None,
        batch_size: int = 64,
    ) -> None:
        super().__init__(embedder, threshold=threshold, source=source, batch_size=batch_size)
        if workers < 1:
            raise InputError(f"there must be at least 1 worker, got {workers}")
        self.comparison: Comparison = CosineComparison(embedder) if comparison is None else comparison
        self.fill = check_fill(fill)
        self.seed = seed
        self.workers = workers
        self.progress = progress
        self._done = 0

    @property
    def settings(self) -> Mapping[str, Any]:
        """The fill, the seed and the score explained."""
        return {"score": self.comparison.kind, "fill": self.fill, "seed": self.seed}

    @property
    @abstractmethod
    def passes(self) -> int:
        """Number of forward passes per pair."""

    @abstractmethod
    def explain_one(self, faces: tuple[NDArray[Any], NDArray[Any]], plain: tuple[Features, Features]) -> OnePair:
        """Explain one pair. Return both maps, and details as JSON values."""

    def maps(self, first: Batch, second: Batch) -> PairMaps:
        """Explain N pairs of aligned faces, (N, 3, 112, 112) each."""
        check_pairing(first, second)
        scores, maps_a, maps_b, details = [], [], [], []
        for one, other in zip(first, second, strict=True):
            self._done = 0
            both = self.comparison.features(np.stack([one, other]))
            self._advance(2)
            plain = both[:1], both[1:]
            scores.append(self.comparison.scores(*plain)[0])
            map_a, map_b, found = self.explain_one((one, other), plain)
            maps_a.append(map_a)
            maps_b.append(map_b)
            details.append(found)
        return PairMaps(
            score=np.array(scores, np.float32),
            map_a=np.stack(maps_a).astype(np.float32),
            map_b=np.stack(maps_b).astype(np.float32),
            forward=self.passes,
            details=tuple(details) if any(details) else (),
        )

    def fill_of(self, face: NDArray[Any]) -> NDArray[Any]:
        """Return the picture that replaces the covered pixels of this face, (3, 112, 112)."""
        return fill_picture(face, self.fill, self.seed)

    def painted(self, face: NDArray[Any], painter: Painter, count: int) -> Features:
        """Run the network on changed copies of a face."""
        return painted_features(
            self.comparison.features,
            face,
            painter,
            count,
            batch_size=self.batch_size,
            workers=self.workers,
            advance=self._advance,
        )

    def _advance(self, count: int) -> None:
        self._done += count
        if self.progress is not None:
            self.progress(self._done, self.passes)

"""What methods have in common that look at a network from outside: change the face, see what happens to the score."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.explain.fills import Fill, check_fill, fill_picture
from whyface.explain.painted_faces import Painter, painted_features
from whyface.explain.pair_method import PairMaps, PairMethod, check_pairing
from whyface.explain.pair_scorer import CosineScorer, Features, PairScorer
from whyface.explain.provenance import ThresholdSource
from whyface.models.embedder import Batch, Embedder

if TYPE_CHECKING:
    from whyface.evaluate.progress import ProgressCallback

OnePair = tuple[NDArray[np.float32], NDArray[np.float32], dict[str, Any]]


class BlackBoxMethod(PairMethod):
    """A method that needs scores only; see :class:`~whyface.explain.pair_method.PairMethod`.

    Parameters
    ----------
    embedder
        Any network.
    scorer
        Explain this score, such as xCos's; by default the cosine of the embeddings.
    fill
        What shows where a face is covered: a grey level, ``"mean"`` (the face's mean colour, which leaves the
        brightness as it is), ``"blur"`` or ``"noise"``.
    seed
        For everything random.
    workers
        Threads that feed the network, see :func:`~whyface.explain.painted_faces.painted_features`.
    progress
        Called while one pair is explained, with the passes done and their number.

    Raises
    ------
    InputError
        If an option does not fit.
    """

    def __init__(
        self,
        embedder: Embedder,
        *,
        scorer: PairScorer | None = None,
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
        self.scorer: PairScorer = CosineScorer(embedder) if scorer is None else scorer
        self.fill = check_fill(fill)
        self.seed = seed
        self.workers = workers
        self.progress = progress
        self._done = 0

    @property
    def settings(self) -> Mapping[str, Any]:
        """Fill, seed and the score that is explained."""
        return {"score": type(self.scorer).__name__, "fill": self.fill, "seed": self.seed}

    @property
    @abstractmethod
    def passes(self) -> int:
        """How many faces go through the network for one pair."""

    @abstractmethod
    def explain_one(self, faces: tuple[NDArray[Any], NDArray[Any]], plain: tuple[Features, Features]) -> OnePair:
        """Explain one pair.

        Parameters
        ----------
        faces
            (3, 112, 112) each.
        plain
            What the network makes of them, (1, ...) each.

        Returns
        -------
        Both maps, and details as JSON values.
        """

    def maps(self, first: Batch, second: Batch) -> PairMaps:
        """Explain N pairs of aligned faces, (N, 3, 112, 112) each."""
        check_pairing(first, second)
        scores, maps_a, maps_b, details = [], [], [], []
        for one, other in zip(first, second, strict=True):
            self._done = 0
            both = self.scorer.features(np.stack([one, other]))
            self._advance(2)
            plain = both[:1], both[1:]
            scores.append(self.scorer.scores(*plain)[0])
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
        """Make what shows where this face is covered, (3, 112, 112)."""
        return fill_picture(face, self.fill, self.seed)

    def painted(self, face: NDArray[Any], painter: Painter, count: int) -> Features:
        """Run the network on changed copies of a face."""
        return painted_features(
            self.scorer.features,
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

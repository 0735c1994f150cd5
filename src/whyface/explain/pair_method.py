"""The base of all explanation methods: pairs in, explanations with one map per face out."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.explain.explanation import Explanation
from whyface.explain.provenance import Cost, FaceInfo, ModelInfo, ThresholdSource
from whyface.explain.sentences import describe
from whyface.explain.verdict import FacePair, software_versions
from whyface.faces.face import stack_faces
from whyface.models.embedder import Batch, Embedder, check_batch

if TYPE_CHECKING:
    from whyface.files.progress import ProgressCallback


@dataclass(frozen=True, eq=False)
class PairMaps:
    """Maps of N pairs.

    Attributes
    ----------
    score
        (N,) float32: the score explained, by default the cosine of the embeddings.
    map_a, map_b
        (N, H, W) float32 each, signed: positive values support "same person". H, W are the method's own resolution,
        from 7 x 7 to 112 x 112.
    forward, backward
        Forward and backward passes per pair, counted in faces.
    details
        Further results for each pair, as JSON values; empty or one mapping per pair.
    """

    score: NDArray[np.float32]
    map_a: NDArray[np.float32]
    map_b: NDArray[np.float32]
    forward: int
    backward: int = 0
    details: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        count = len(self.score)
        for name in ("map_a", "map_b"):
            array = getattr(self, name)
            if array.ndim != 3 or len(array) != count or array.dtype != np.float32:
                raise InputError(
                    f"{name} must be float32 (N, H, W) with a map for each of the {count} scores, "
                    f"got {array.dtype} {array.shape}"
                )
        if self.details and len(self.details) != count:
            raise InputError(f"{len(self.details)} details do not belong to {count} pairs")


class PairMethod(ABC):
    """A method that explains the comparison of two faces by one map per face.

    Parameters
    ----------
    embedder
        The network to explain.
    threshold
        Match iff score > threshold.
    source
        Origin of the threshold; by default: set by the user.
    batch_size
        Maximum number of faces in the network at once, which bounds the memory.

    Raises
    ------
    InputError
        If ``batch_size`` is not positive.
    """

    name: ClassVar[str]
    """Name in reports and on the command line."""

    def __init__(
        self,
        embedder: Embedder,
        *,
        threshold: float = 0.0,
        source: ThresholdSource | None = None,
        batch_size: int = 64,
    ) -> None:
        if batch_size < 1:
            raise InputError(f"the batch size must be at least 1, got {batch_size}")
        self.embedder = embedder
        self.threshold = threshold
        self.source = ThresholdSource(kind="user", name="set by the user") if source is None else source
        self.batch_size = batch_size

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings that determine the maps, as JSON values."""
        return {}

    @abstractmethod
    def maps(self, first: Batch, second: Batch) -> PairMaps:
        """Explain N pairs of aligned faces.

        Parameters
        ----------
        first, second
            (N, 3, 112, 112) each, RGB, 0..255.
        """

    def triplet(self, probe: Batch, mate: Batch, non_mate: Batch) -> NDArray[np.float32]:
        """Explain N triplets: what in each probe speaks for its mate rather than for its non-mate.

        Unless a method has a triplet of its own, it is the map of probe and mate minus that of probe and non-mate. Of
        several photos of a mate or non-mate, the mean counts: of their maps, or where a method has a triplet of its
        own, of what their features add to the score, as with the mean of their embeddings.

        Parameters
        ----------
        probe
            (N, 3, 112, 112), RGB, 0..255.
        mate, non_mate
            The same, or M photos of each, (N, M, 3, 112, 112).

        Returns
        -------
        Maps of the probes (N, H, W): positive for the mate, negative for the non-mate.
        """
        of_mate, of_other = (
            np.mean([self.maps(probe, photo).map_a for photo in photos_of(role)], axis=0) for role in (mate, non_mate)
        )
        return np.asarray(of_mate - of_other, np.float32)

    def __call__(self, pair: FacePair) -> Explanation:
        """Explain one pair."""
        return self.explain([pair])[0]

    def explain(
        self, pairs: Sequence[FacePair], *, at_once: int = 1, progress: ProgressCallback | None = None
    ) -> list[Explanation]:
        """Explain several pairs.

        Parameters
        ----------
        pairs
            Aligned faces.
        at_once
            Number of pairs per call of :meth:`maps`.
        progress
            Called after each call with the number of pairs done and the total.

        Raises
        ------
        InputError
            If there are no pairs.
        """
        if not pairs:
            raise InputError("there are no pairs to explain; give at least one")
        explanations: list[Explanation] = []
        for start in range(0, len(pairs), max(1, at_once)):
            part = pairs[start : start + max(1, at_once)]
            began = time.perf_counter()
            first, second = (check_batch(stack_faces([pair[side] for pair in part])) for side in (0, 1))
            found = self.maps(first, second)
            seconds = (time.perf_counter() - began) / len(part)
            explanations += [self._explanation(pair, found, row, seconds) for row, pair in enumerate(part)]
            if progress is not None:
                progress(len(explanations), len(pairs))
        return explanations

    def _explanation(self, pair: FacePair, found: PairMaps, row: int, seconds: float) -> Explanation:
        settings = dict(self.settings)
        if found.details:
            settings["details"] = dict(found.details[row])
        explanation = Explanation(
            score=float(found.score[row]),
            threshold=self.threshold,
            threshold_source=self.source,
            method=self.name,
            cost=Cost(forward=found.forward, backward=found.backward, seconds=seconds),
            model=ModelInfo(self.embedder.name, self.embedder.sha256),
            map_a=found.map_a[row],
            map_b=found.map_b[row],
            settings=settings,
            versions=software_versions(),
            faces=(FaceInfo.from_face(pair[0]), FaceInfo.from_face(pair[1])),
        )
        return replace(explanation, sentences=describe(explanation))


def photos_of(role: Batch) -> list[Batch]:
    """Return the photos of N mates or non-mates, (N, 3, H, W) or (N, M, 3, H, W), as M batches of N faces."""
    return [role] if role.ndim == 4 else [np.ascontiguousarray(photo) for photo in role.swapaxes(0, 1)]


def check_pairing(first: Batch, second: Batch) -> None:
    """Raise InputError unless both sides have the same number of faces, at least one."""
    if len(first) != len(second):
        raise InputError(f"cannot pair {len(first)} faces with {len(second)}; give the same number of each")
    if not len(first):
        raise InputError("there are no pairs to explain; give at least one")


class BatchedPairMethod(PairMethod):
    """A method that runs the network on both faces of a pair at once: half as many pairs as faces in a batch."""

    @abstractmethod
    def batch_maps(self, first: Batch, second: Batch) -> PairMaps:
        """Explain 1 to ``batch_size // 2`` pairs; see :meth:`maps`."""

    def maps(self, first: Batch, second: Batch) -> PairMaps:
        """Explain N pairs of aligned faces, (N, 3, 112, 112) each, in batches of at most ``batch_size`` faces.

        Raise InputError if there are no pairs, or the two sides differ in number.
        """
        check_pairing(first, second)
        step = max(1, self.batch_size // 2)
        starts = range(0, len(first), step)
        return join_maps([self.batch_maps(first[at : at + step], second[at : at + step]) for at in starts])


def join_maps(parts: Sequence[PairMaps]) -> PairMaps:
    """Join the maps of several batches."""
    if len(parts) == 1:
        return parts[0]
    return replace(
        parts[0],
        score=np.concatenate([part.score for part in parts]),
        map_a=np.concatenate([part.map_a for part in parts]),
        map_b=np.concatenate([part.map_b for part in parts]),
        details=tuple(detail for part in parts for detail in part.details),
    )

"""Compare the pairs of a chunk: each photo is read and embedded once; an unusable one fails only its rows."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.batch.pair_source import PhotoPair
from whyface.errors import FaceError, PhotoError
from whyface.explain.verdict import FaceVerifier, doubt_about
from whyface.faces.face import Face, stack_faces
from whyface.faces.load import load_face
from whyface.faces.quality import FaceQuality
from whyface.faces.quality_meter import default_meter
from whyface.models.preprocessing import Preprocessing

KEPT: Final = 4096
"""Number of photos with cached features: 6 kB each for the default model."""

UNDECIDED: Final = "undecided"

_AT_ONCE: Final = 32


@dataclass(frozen=True)
class ComparerSettings:
    """How pairs are compared; enough to create the same comparer in another process.

    Attributes
    ----------
    model, attention, threshold, fmr, prior, directory, grid, preprocessing, accept_poor
        As for :class:`whyface.explain.verdict.FaceVerifier`.
    aligned
        Whether the photos are aligned 112 x 112 faces.
    maps
        Whether to keep S and W.
    """

    model: str
    attention: str | None = None
    threshold: float | None = None
    fmr: float | None = None
    prior: float | None = None
    directory: str | None = None
    grid: str | None = None
    preprocessing: Preprocessing | None = None
    aligned: bool = False
    maps: bool = False
    accept_poor: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        values = asdict(self)
        values["preprocessing"] = None if self.preprocessing is None else self.preprocessing.to_dict()
        return values


@dataclass(frozen=True, eq=False)
class PairResult:
    """The result of one pair.

    Everything but ``error`` is None where it failed. An undecided pair has its ``doubt`` and the unified quality of
    both faces, but no score; a pair that was decided in spite of a doubt has both.
    """

    pair: PhotoPair
    score: float | None = None
    verdict: str | None = None
    probability: float | None = None
    similarity: NDArray[np.float32] | None = None
    attention: NDArray[np.float32] | None = None
    error: str | None = None
    doubt: str | None = None
    quality_a: float | None = None
    quality_b: float | None = None

    @property
    def status(self) -> str:
        """``"decided"``, ``"undecided"``, ``"accepted"`` (decided in spite of a doubt) or ``"failed"``."""
        if self.error is not None:
            return "failed"
        if self.verdict == UNDECIDED:
            return UNDECIDED
        return "decided" if self.doubt is None else "accepted"


@dataclass(frozen=True, eq=False)
class _Photo:
    """What is kept of a photo: the features of its face and what they can tell."""

    features: NDArray[np.float32]
    quality: FaceQuality


class Comparer:
    """A model with its threshold and the cached features of recent photos.

    Parameters
    ----------
    settings
        How to compare.
    folder
        Folder that photo names are relative to.
    threads
        Threads of ONNX Runtime, for the face detector and the model.

    Raises
    ------
    ModelError, InputError
        As :class:`whyface.explain.verdict.FaceVerifier`.
    """

    def __init__(self, settings: ComparerSettings, folder: Path, *, threads: int | None = None) -> None:
        self.settings = settings
        self.folder = folder
        self.verifier = FaceVerifier(
            settings.model,
            attention=settings.attention,  # type: ignore[arg-type]
            threshold=settings.threshold,
            fmr=settings.fmr,
            model_directory=settings.directory,
            grid=settings.grid,
            preprocessing=settings.preprocessing,
            prior=settings.prior,
            accept_poor=settings.accept_poor,
            threads=threads,
        )
        self.threshold = self.verifier.method.threshold
        self.comparison = self.verifier.method.comparison
        self._kept: OrderedDict[str, _Photo | str] = OrderedDict()

    @property
    def sha256(self) -> str:
        """SHA-256 of the network."""
        return self.comparison.sha256

    def __call__(self, pairs: Sequence[PhotoPair]) -> list[PairResult]:
        """Compare pairs, in order."""
        photos = self._photos(list(dict.fromkeys(name for pair in pairs for name in (pair.a, pair.b))))
        results: list[PairResult | None] = []
        good: list[int] = []
        for index, pair in enumerate(pairs):
            reasons = [reason for name in (pair.a, pair.b) if isinstance(reason := photos[name], str)]
            if reasons:
                results.append(PairResult(pair, error="; ".join(dict.fromkeys(reasons))))
            else:
                good.append(index)
                results.append(None)
        for start in range(0, len(good), _AT_ONCE):
            part = good[start : start + _AT_ONCE]
            chosen = [pairs[index] for index in part]
            for index, result in zip(
                part, self._compare([(pair, photos[pair.a], photos[pair.b]) for pair in chosen]), strict=True
            ):
                results[index] = result
        return [result for result in results if result is not None]

    def _compare(self, pairs: Sequence[tuple[PhotoPair, _Photo | str, _Photo | str]]) -> list[PairResult]:
        known = [(pair, a, b) for pair, a, b in pairs if isinstance(a, _Photo) and isinstance(b, _Photo)]
        first = np.stack([a.features for _, a, _ in known])
        second = np.stack([b.features for _, _, b in known])
        found = self.comparison.maps(first, second)
        scores = self.comparison.scores(first, second) if found is None else found.score
        maps: list[tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]] = [(None, None)] * len(known)
        if found is not None and self.settings.maps:
            maps = list(zip(found.similarity, found.attention, strict=True))
        return [
            self._judged(pair, a.quality, b.quality, float(score), both)
            for (pair, a, b), score, both in zip(known, scores, maps, strict=True)
        ]

    def _judged(
        self,
        pair: PhotoPair,
        quality_a: FaceQuality,
        quality_b: FaceQuality,
        score: float,
        maps: tuple[NDArray[np.float32] | None, NDArray[np.float32] | None],
    ) -> PairResult:
        doubt = doubt_about([quality_a, quality_b])
        judged = PairResult(pair, doubt=doubt, quality_a=quality_a.unified, quality_b=quality_b.unified)
        if doubt is not None and not self.settings.accept_poor:
            return replace(judged, verdict=UNDECIDED)
        calibration = None if doubt is not None else self.verifier.calibration
        probability = None if calibration is None else calibration.probability(score, prior=self.verifier.prior)
        verdict = "match" if score > self.threshold else "no match"
        similarity, attention = maps
        return replace(
            judged,
            score=score,
            verdict=verdict,
            probability=probability,
            similarity=similarity,
            attention=attention,
        )

    def _photos(self, names: list[str]) -> dict[str, _Photo | str]:
        """Return the features and the quality of photos, or why there are none."""
        found: dict[str, _Photo | str] = {}
        waiting: dict[str, Face] = {}
        for name in names:
            if name in self._kept:
                self._kept.move_to_end(name)
                found[name] = self._kept[name]
                continue
            if not name:
                found[name] = "a photo's name is missing"
                continue
            try:
                face = self._load(name)
            except (PhotoError, FaceError) as error:
                found[name] = str(error).replace(str(self.folder / name), name)
                continue
            waiting[name] = face
            if len(waiting) == _AT_ONCE:
                found |= self._run(waiting)
                waiting = {}
        found |= self._run(waiting)
        for name, value in found.items():
            self._kept[name] = value
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return found

    def _load(self, name: str) -> Face:
        path = self.folder / name
        return load_face(path, aligned=self.settings.aligned, threads=self.verifier.threads)

    def _run(self, faces: dict[str, Face]) -> dict[str, _Photo]:
        if not faces:
            return {}
        rows = self.comparison.features(stack_faces(list(faces.values())))
        return {
            name: _Photo(row, face.quality or default_meter().measure(face.image))
            for (name, face), row in zip(faces.items(), rows, strict=True)
        }

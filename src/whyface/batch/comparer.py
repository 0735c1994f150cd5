"""Compare the pairs of a chunk: each photo is read and embedded once; an unusable one fails only its rows."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.batch.pair_source import PhotoPair
from whyface.errors import FaceError, PhotoError
from whyface.explain.verdict import FaceVerifier
from whyface.faces.load import load_face
from whyface.models.preprocessing import Preprocessing

KEPT: Final = 4096
"""Number of photos with cached features: 6 kB each for the default model."""

_AT_ONCE: Final = 32


@dataclass(frozen=True)
class ComparerSettings:
    """How pairs are compared; enough to create the same comparer in another process.

    Attributes
    ----------
    model, attention, threshold, fmr, prior, directory, grid, preprocessing
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

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        values = asdict(self)
        values["preprocessing"] = None if self.preprocessing is None else self.preprocessing.to_dict()
        return values


@dataclass(frozen=True, eq=False)
class PairResult:
    """The result of one pair; if it failed, all results except ``error`` are None."""

    pair: PhotoPair
    score: float | None = None
    verdict: str | None = None
    probability: float | None = None
    similarity: NDArray[np.float32] | None = None
    attention: NDArray[np.float32] | None = None
    error: str | None = None


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
            threads=threads,
        )
        self.threshold = self.verifier.method.threshold
        self.comparison = self.verifier.method.comparison
        self._kept: OrderedDict[str, NDArray[np.float32] | str] = OrderedDict()

    @property
    def sha256(self) -> str:
        """SHA-256 of the network."""
        return self.comparison.sha256

    def __call__(self, pairs: Sequence[PhotoPair]) -> list[PairResult]:
        """Compare pairs, in order."""
        features = self._features(list(dict.fromkeys(name for pair in pairs for name in (pair.a, pair.b))))
        results: list[PairResult | None] = []
        good: list[int] = []
        for index, pair in enumerate(pairs):
            reasons = [reason for name in (pair.a, pair.b) if isinstance(reason := features[name], str)]
            if reasons:
                results.append(PairResult(pair, error="; ".join(dict.fromkeys(reasons))))
            else:
                good.append(index)
                results.append(None)
        for start in range(0, len(good), _AT_ONCE):
            part = good[start : start + _AT_ONCE]
            chosen = [pairs[index] for index in part]
            for index, result in zip(part, self._compare(chosen, features), strict=True):
                results[index] = result
        return [result for result in results if result is not None]

    def _compare(self, pairs: list[PhotoPair], features: dict[str, NDArray[np.float32] | str]) -> list[PairResult]:
        first = np.stack([np.asarray(features[pair.a]) for pair in pairs])
        second = np.stack([np.asarray(features[pair.b]) for pair in pairs])
        found = self.comparison.maps(first, second)
        scores = self.comparison.scores(first, second) if found is None else found.score
        maps: list[tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]] = [(None, None)] * len(pairs)
        if found is not None and self.settings.maps:
            maps = list(zip(found.similarity, found.attention, strict=True))
        calibration = self.verifier.calibration
        return [
            PairResult(
                pair,
                float(score),
                "match" if score > self.threshold else "no match",
                None if calibration is None else calibration.probability(float(score), prior=self.verifier.prior),
                *both,
            )
            for pair, score, both in zip(pairs, scores, maps, strict=True)
        ]

    def _features(self, names: list[str]) -> dict[str, NDArray[np.float32] | str]:
        """Return the features of photos, or why there are none."""
        found: dict[str, NDArray[np.float32] | str] = {}
        waiting: dict[str, NDArray[np.uint8]] = {}
        for name in names:
            if name in self._kept:
                self._kept.move_to_end(name)
                found[name] = self._kept[name]
                continue
            if not name:
                found[name] = "a photo's name is missing"
                continue
            try:
                image = self._load(name)
            except (PhotoError, FaceError) as error:
                found[name] = str(error).replace(str(self.folder / name), name)
                continue
            waiting[name] = image.transpose(2, 0, 1)
            if len(waiting) == _AT_ONCE:
                found |= self._run(waiting)
                waiting = {}
        found |= self._run(waiting)
        for name, value in found.items():
            self._kept[name] = value
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return found

    def _load(self, name: str) -> NDArray[np.uint8]:
        path = self.folder / name
        return load_face(path, aligned=self.settings.aligned, threads=self.verifier.threads).image

    def _run(self, faces: dict[str, NDArray[np.uint8]]) -> dict[str, NDArray[np.float32]]:
        if not faces:
            return {}
        batch = np.stack(list(faces.values()))
        return dict(zip(faces, self.comparison.features(batch), strict=True))

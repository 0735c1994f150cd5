"""Compare the pairs of a chunk: each photo is read and embedded once; an unusable one fails only its rows."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.batch.pair_source import PhotoFace, PhotoPair
from whyface.errors import FaceError, PhotoError, shortened
from whyface.explain.childhood import child_warnings
from whyface.explain.trust import doubt_about, lesser_recognisability
from whyface.explain.verdict import FaceVerifier
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
    model, attention, threshold, fmr, prior, directory, grid, output, preprocessing, unchecked, providers,
    accept_poor
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
    output: str | None = None
    preprocessing: Preprocessing | None = None
    unchecked: bool = False
    providers: str = "cpu"
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
    both faces, but no score; a pair that was decided in spite of a doubt has both. ``faces_a`` and ``faces_b`` are the
    numbers of faces in the photos, ``same_picture`` says whether both crops have the same pixels, and ``warning`` what
    the verdict cannot be relied on for.
    """

    pair: PhotoPair
    score: float | None = None
    verdict: str | None = None
    probability: float | None = None
    probability_bound: str | None = None
    log10_lr: float | None = None
    similarity: NDArray[np.float32] | None = None
    attention: NDArray[np.float32] | None = None
    error: str | None = None
    doubt: str | None = None
    quality_a: float | None = None
    quality_b: float | None = None
    faces_a: int | None = None
    faces_b: int | None = None
    same_picture: bool | None = None
    warning: str | None = None

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
    """What is kept of a photo: its face's features, quality, SHA-256 and whether it looks like a child's; all faces."""

    features: NDArray[np.float32]
    quality: FaceQuality
    sha256: str
    faces: int
    young: bool


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
            output=settings.output,
            preprocessing=settings.preprocessing,
            unchecked=settings.unchecked,
            providers=settings.providers,
            prior=settings.prior,
            accept_poor=settings.accept_poor,
            threads=threads,
        )
        self.threshold = self.verifier.method.threshold
        self.comparison = self.verifier.method.comparison
        self._kept: OrderedDict[PhotoFace, _Photo | str] = OrderedDict()

    @property
    def sha256(self) -> str:
        """SHA-256 of the network."""
        return self.comparison.sha256

    def __call__(self, pairs: Sequence[PhotoPair]) -> list[PairResult]:
        """Compare pairs, in order."""
        photos = self._photos(list(dict.fromkeys(name for pair in pairs for name in pair.faces)))
        results: list[PairResult | None] = []
        good: list[int] = []
        for index, pair in enumerate(pairs):
            reasons = [reason for name in pair.faces if isinstance(reason := photos[name], str)]
            if reasons:
                results.append(PairResult(pair, error="; ".join(dict.fromkeys(reasons))))
            else:
                good.append(index)
                results.append(None)
        for start in range(0, len(good), _AT_ONCE):
            part = good[start : start + _AT_ONCE]
            chosen = [pairs[index] for index in part]
            known = [(pair, photos[pair.faces[0]], photos[pair.faces[1]]) for pair in chosen]
            for index, result in zip(part, self._compare(known), strict=True):
                results[index] = result
        return [result for result in results if result is not None]

    def face(self, key: PhotoFace) -> Face | str:
        """Return a photo's face, or why there is none."""
        name, index = key
        if not name:
            return "a photo's name is missing"
        if index and not index.isdecimal():
            return f"{name}: the number of a face must be 0 (the largest) or more, got {shortened(index)!r}"
        path, number = self.folder / name, int(index or 0)
        try:
            return load_face(path, aligned=self.settings.aligned, index=number, threads=self.verifier.threads)
        except (PhotoError, FaceError) as error:
            return str(error).replace(str(path), name)

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
            self._judged(pair, a, b, float(score), both)
            for (pair, a, b), score, both in zip(known, scores, maps, strict=True)
        ]

    def _judged(
        self,
        pair: PhotoPair,
        a: _Photo,
        b: _Photo,
        score: float,
        maps: tuple[NDArray[np.float32] | None, NDArray[np.float32] | None],
    ) -> PairResult:
        doubt = doubt_about([a.quality, b.quality])
        judged = PairResult(
            pair,
            doubt=doubt,
            quality_a=a.quality.unified,
            quality_b=b.quality.unified,
            faces_a=a.faces,
            faces_b=b.faces,
            same_picture=a.sha256 == b.sha256,
        )
        if doubt is not None and not self.settings.accept_poor:
            return replace(judged, verdict=UNDECIDED)
        calibration = None if doubt is not None else self.verifier.calibration
        probability, bound, log10_lr = None, None, None
        if calibration is not None:
            quality = lesser_recognisability([a.quality, b.quality])
            probability = calibration.probability(score, quality=quality, prior=self.verifier.prior)
            bound = calibration.bound(score, quality)
            log10_lr = calibration.likelihood(score, quality).log10
        verdict = "match" if score > self.threshold else "no match"
        similarity, attention = maps
        return replace(
            judged,
            score=score,
            verdict=verdict,
            probability=probability,
            probability_bound=bound,
            log10_lr=log10_lr,
            warning="; ".join(child_warnings(a.young, b.young)) or None,
            similarity=similarity,
            attention=attention,
        )

    def _photos(self, names: list[PhotoFace]) -> dict[PhotoFace, _Photo | str]:
        """Return the features and the quality of photos, or why there are none."""
        found: dict[PhotoFace, _Photo | str] = {}
        waiting: dict[PhotoFace, Face] = {}
        for key in names:
            if key in self._kept:
                self._kept.move_to_end(key)
                found[key] = self._kept[key]
                continue
            face = self.face(key)
            if isinstance(face, str):
                found[key] = face
                continue
            waiting[key] = face
            if len(waiting) == _AT_ONCE:
                found |= self._run(waiting)
                waiting = {}
        found |= self._run(waiting)
        for key, value in found.items():
            self._kept[key] = value
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return found

    def _run(self, faces: dict[PhotoFace, Face]) -> dict[PhotoFace, _Photo]:
        if not faces:
            return {}
        rows = self.comparison.features(stack_faces(list(faces.values())))
        young = self.verifier.method.look_young(rows).tolist()
        return {
            key: _Photo(row, face.quality or default_meter().measure(face.image), face.sha256, face.count, looks)
            for (key, face), row, looks in zip(faces.items(), rows, young, strict=True)
        }

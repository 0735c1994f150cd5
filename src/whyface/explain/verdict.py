"""The verdict about a pair as an explanation: by xCos with S and W, or by the cosine of two embeddings."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whyface import __version__
from whyface.errors import InputError, ModelError
from whyface.explain.childhood import ChildHead, child_warnings, find_child_head
from whyface.explain.explanation import Explanation
from whyface.explain.provenance import NO_GRID, Cost, FaceInfo, ModelInfo, ThresholdSource
from whyface.explain.record import Clock, Record, model_files, utc_now
from whyface.explain.sentences import describe
from whyface.explain.trust import measured, with_doubt, with_probability, with_warnings
from whyface.explain.usual import UsualSimilarity, find_usual
from whyface.faces.face import Face, stack_faces
from whyface.models.catalogue import DEFAULT_MODEL
from whyface.models.operating_point import DEFAULT_FMR, OperatingPoint
from whyface.models.preprocessing import Preprocessing, as_preprocessing
from whyface.xcos.comparison import COSINE, Features, SearchableComparison
from whyface.xcos.grid import AttentionKind
from whyface.xcos.open_model import known_entry, open_model

FacePair = tuple[Face, Face]


class VerdictMethod:
    """Explain pairs by the comparison behind the verdict: S, W and S * W, whose sum is the score.

    Nothing is approximated and nothing extra is computed. If embeddings are compared, the explanation has no maps.

    Parameters
    ----------
    comparison
        The model's comparison.
    threshold
        Match iff score > threshold.
    source
        Origin of the threshold.
    usual
        What similarity is usual at each place, or None.
    children
        Tells faces that look like a child's, for a warning; or None.
    points
        The model's measured thresholds.

    References
    ----------
    Lin et al., "xCos: An Explainable Cosine Metric for Face Verification Task", ACM TOMM 2021.
    """

    def __init__(
        self,
        comparison: SearchableComparison,
        *,
        threshold: float,
        source: ThresholdSource,
        usual: UsualSimilarity | None = None,
        children: ChildHead | None = None,
        points: Sequence[OperatingPoint] = (),
    ) -> None:
        self.comparison = comparison
        self.usual = usual
        self.children = children
        self.points = tuple(points)
        self.threshold = threshold
        self.source = source
        self.name = "cosine" if comparison.attention is None else "xcos"

    def __call__(self, pair: FacePair) -> Explanation:
        """Explain one pair."""
        return self.explain([pair])[0]

    def explain(self, pairs: Sequence[FacePair]) -> list[Explanation]:
        """Explain N pairs in one batch.

        Raises
        ------
        InputError
            If there are no pairs.
        """
        if not pairs:
            raise InputError("there are no pairs to explain; give at least one")
        start = time.perf_counter()
        # One batch for both sides: the backbone dominates the cost and is faster on larger batches.
        features = self.comparison.features(stack_faces([pair[side] for side in (0, 1) for pair in pairs]))
        first, second = features[: len(pairs)], features[len(pairs) :]
        return self.explain_features(pairs, first, second, start=start)

    def explain_features(
        self, pairs: Sequence[FacePair], first: Features, second: Features, *, start: float | None = None
    ) -> list[Explanation]:
        """Explain N pairs whose features are known.

        Parameters
        ----------
        pairs
            The faces that stand for the features.
        first, second
            Features of each side, (N, ...): those of the faces, or the means of sets.
        start
            When the work began, of ``time.perf_counter``; None: now.
        """
        start = time.perf_counter() if start is None else start
        maps = self.comparison.maps(first, second)
        scores = self.comparison.scores(first, second) if maps is None else maps.score
        seconds = (time.perf_counter() - start) / len(pairs)
        attention = self.comparison.attention
        young = self.look_young(np.concatenate([first, second])).tolist()
        explanations = []
        grid = NO_GRID if maps is None else (maps.similarity.shape[1], maps.similarity.shape[2])
        for row, pair in enumerate(pairs):
            explanation = Explanation(
                score=float(scores[row]),
                threshold=self.threshold,
                threshold_source=self.source,
                method=self.name,
                cost=Cost(forward=2, backward=0, seconds=seconds),
                model=ModelInfo(self.comparison.name, self.comparison.sha256),
                similarity=None if maps is None else maps.similarity[row],
                attention=None if maps is None else maps.attention[row],
                attention_kind=attention,
                telling=None if maps is None or self.usual is None else self.usual.judge(maps.similarity[row]),
                settings={} if attention is None else {"attention": attention},
                versions=software_versions(),
                operating_points=self.points,
                faces=(FaceInfo.from_face(pair[0], grid), FaceInfo.from_face(pair[1], grid)),
                warnings=child_warnings(young[row], young[len(pairs) + row]),
            )
            explanations.append(replace(explanation, sentences=describe(explanation)))
        return explanations

    def look_young(self, features: Features) -> NDArray[np.bool_]:
        """Return which faces look like a child's, (N,), from their features; none where no head is on record."""
        return np.zeros(len(features), np.bool_) if self.children is None else self.children(features)


class FaceVerifier:
    """Verify pairs of aligned faces with a model, its threshold and its calibration.

    Parameters
    ----------
    model
        Name of a known model (``whyface models`` lists them) or path of any ONNX network.
    attention
        ``"u"``, ``"p"`` or ``"l"``; None: the model's default. A model without an attention compares embeddings,
        unless uniform attention over its grid is requested.
    threshold
        Match iff score > threshold. None: the measured operating point for ``fmr``. An
        :class:`~whyface.models.operating_point.OperatingPoint` that you measured keeps its origin and error rates.
    fmr
        FMR of the operating point, 1e-2 or 1e-3 (the default) if measured.
    model_directory
        Folder of models that do not come with whyface.
    grid, output, preprocessing, unchecked
        For your own ONNX network, see :func:`whyface.xcos.open_model.open_model`.
    threads
        Threads of ONNX Runtime; None: ONNX Runtime's default.
    providers
        Where the network runs: ``"cpu"``, ``"cuda"``, or execution providers of ONNX Runtime.
    prior
        Prior probability that two photos show the same person, in (0, 1); by default that of the calibration data.
        Models without a calibration give no probability.
    accept_poor
        Decide also about faces that cannot support a verdict; the doubt then marks the verdict.
    clock
        Returns the time for records; by default that of the computer, in UTC.

    Attributes
    ----------
    method
        The verdict with its reasons, see :class:`VerdictMethod`.
    calibration
        From score to probability, or None.

    Raises
    ------
    ModelError
        If the model is unknown or unusable, or has no measured threshold.
    InputError
        If the options are mutually exclusive or out of range.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        *,
        attention: AttentionKind | None = None,
        threshold: float | OperatingPoint | None = None,
        fmr: float | None = None,
        model_directory: Path | str | None = None,
        grid: str | None = None,
        output: str | None = None,
        preprocessing: Preprocessing | str | None = None,
        unchecked: bool = False,
        threads: int | None = None,
        providers: str | Sequence[str] = "cpu",
        prior: float | None = None,
        accept_poor: bool = False,
        clock: Clock = utc_now,
    ) -> None:
        if threshold is not None and fmr is not None:
            raise InputError("give a threshold or an FMR, not both")
        given = threshold if isinstance(threshold, OperatingPoint) else None
        threshold = threshold.threshold if isinstance(threshold, OperatingPoint) else threshold
        if threshold is not None and not -1 <= threshold <= 1:
            raise InputError(f"a threshold must be in -1..1, got {threshold:g}")
        if prior is not None and not 0 < prior < 1:
            raise InputError(f"a prior is a probability between 0 and 1, such as 0.5, got {prior:g}")
        self.threads = threads
        self.providers = providers
        self.prior = prior
        self.accept_poor = accept_poor
        self.clock = clock
        pixels = as_preprocessing(preprocessing)
        self.request = {
            "model": str(model),
            "attention": attention,
            "threshold": threshold,
            "fmr": fmr,
            "grid": grid,
            "output": output,
            "preprocessing": None if pixels is None else pixels.to_dict(),
            "prior": prior,
            "accept_poor": accept_poor,
            "providers": providers if isinstance(providers, str) else list(providers),
            "threads": threads,
        }
        if given is not None:
            self.request["measured"] = given.to_dict()
        entry = known_entry(model, grid=grid, output=output, preprocessing=preprocessing)
        kind = attention or (entry.default_attention if entry is not None and entry.kind == "xcos" else None)
        # Report a threshold that is not on record before reading the files of a known model.
        measured = None
        untrained = kind is not None and (entry is None or (entry.kind == "cosine" and not entry.measured(kind)))
        if entry is not None and threshold is None and not untrained:
            measured = entry.operating_point(kind or COSINE, fmr=DEFAULT_FMR if fmr is None else fmr)
        self.calibration = None if entry is None else entry.confidence.get(kind or COSINE)
        if prior is not None and self.calibration is None:
            raise ModelError(f"{model}: no probability was calibrated for these scores; leave out the prior")
        opened = open_model(
            model,
            attention=kind,
            directory=model_directory,
            grid=grid,
            output=output,
            preprocessing=preprocessing,
            unchecked=unchecked,
            threads=threads,
            providers=providers,
        )
        if untrained:
            raise ModelError(
                f"{model}: attention {kind} over a map that was not trained for it has scores on a scale of its own, "
                "and no threshold for them is on record; measure one (whyface evaluate --record), or explain the "
                "network's own score: whyface explain --method places"
            )
        source = ThresholdSource("user", "set by the user")
        if measured is not None:
            threshold = measured.threshold
        if (point := given or measured) is not None:
            source = ThresholdSource.from_operating_point(point)
        if threshold is None:
            raise ModelError(
                f"{model}: no threshold was measured for this network; give one as a number, or measure it: whyface "
                "evaluate --record"
            )
        comparison = opened.comparison(kind)
        usual = None if comparison.attention is None else find_usual(entry, comparison.sha256)
        points = () if entry is None else entry.thresholds.get(kind or COSINE, ())
        self.method = VerdictMethod(
            comparison,
            threshold=threshold,
            source=source,
            usual=usual,
            children=find_child_head(entry, comparison.sha256),
            points=points,
        )
        self.files = model_files(opened, comparison.attention)

    def explain(self, face_a: Face, face_b: Face, *, note: str = "") -> Explanation:
        """Verify two aligned faces and say why, with a record; undecided where a face cannot support a verdict.

        Parameters
        ----------
        note
            The operator's note, kept in the record.
        """
        pair = measured(face_a), measured(face_b)
        files = (*self.files, *pair[0].made_with, *pair[1].made_with)
        record = Record.now(self.clock, files=files, request=self.request, note=note)
        return replace(self.judged(self.method(pair)), record=record)

    def judged(self, explanation: Explanation) -> Explanation:
        """Add probability and warnings to an explanation of this model, or leave it undecided."""
        explanation = with_probability(explanation, self.calibration, prior=self.prior)
        explanation = with_doubt(explanation, accept_poor=self.accept_poor)
        return with_warnings(explanation)


def software_versions() -> dict[str, str]:
    """Return the versions of the software that a result depends on."""
    versions = {"whyface": __version__, "python": platform.python_version()}
    for package in ("numpy", "onnxruntime", "opencv-python-headless", "pillow"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:  # e.g. another build of the same library
            continue
    return versions

"""Explain a pair of faces in words: maps, erasing, scores and the noise floor; and open all that this needs."""

from __future__ import annotations

from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyface.errors import DataError, FaceError, InputError
from whyface.explain.provenance import FaceInfo, ModelInfo, ThresholdSource
from whyface.explain.trust import doubt_about, measured
from whyface.explain.verdict import FaceVerifier, software_versions
from whyface.faces.face import FACE_SIZE, Face, stack_faces
from whyface.faces.pictures import open_pictures
from whyface.files.progress import ProgressCallback
from whyface.models.embedder import Batch
from whyface.words.attribute_model import AttributeEvidence, AttributeReader, attribute, match_names, open_attributes
from whyface.words.identity_evidence import (
    IdentityCells,
    IdentityClasses,
    chosen_classes,
    fit_classes,
    identity_cells,
    mean_class_map,
)
from whyface.words.noise_floor import noise_floor, random_blobs
from whyface.words.word_maps import (
    BATCH,
    Direction,
    ErasedFace,
    ErasedScores,
    counterfactual_map,
    erase_in_face,
    erased_faces,
    erased_pixels,
    erased_scores,
    joint_maps,
    to_pixels,
    word_places,
)
from whyface.words.word_report import SIDES, Where, Word, WordReport, WordSettings
from whyface.xcos.comparison import Comparison, Features, features_in_parts

FloatArray = NDArray[np.floating[Any]]
_ONE = np.full((1, 1), 1, np.float32)


class WordExplainer:
    """Explain pairs in words with a comparison, an attribute model and settings.

    Raise InputError if the settings need a part that is missing, or an attribute is unknown.

    Parameters
    ----------
    comparison
        The comparison behind the verdict.
    cells
        Evidence for identities by place (:func:`~whyface.words.identity_evidence.identity_cells`); None only without
        the counterfactual map (``kind="no counterfactual"``).
    attributes
        The attribute model.
    threshold, source
        Match iff score > threshold, and the origin of the threshold.
    settings
        See :class:`~whyface.words.word_report.WordSettings`.
    classes
        Classifier of people, for ``identity="topk"`` and ``"threshold"``.
    accept_poor
        Explain also faces that cannot support a verdict; the doubt then marks the report.
    """

    def __init__(
        self,
        comparison: Comparison,
        cells: IdentityCells | None,
        attributes: AttributeReader,
        *,
        threshold: float,
        source: ThresholdSource | None = None,
        settings: WordSettings | None = None,
        classes: IdentityClasses | None = None,
        accept_poor: bool = False,
    ) -> None:
        self.comparison = comparison
        self.cells = cells
        self.attributes = attributes
        self.threshold = threshold
        self.source = ThresholdSource(kind="user", name="set by the user") if source is None else source
        self.settings = WordSettings() if settings is None else settings
        self.classes = classes
        self.accept_poor = accept_poor
        if cells is None and self.settings.kind != "no counterfactual":
            raise InputError("a counterfactual map needs a model whose score splits by place")
        if classes is None and self.settings.identity != "similarity":
            raise InputError(
                f"identity {self.settings.identity!r} needs people to classify; give classes, or use 'similarity'"
            )
        heads = attributes.heads
        self.names = heads.names
        self._places = word_places(heads.names)
        if self.settings.names is None:
            self.allowed = heads.usable(sensitive=self.settings.sensitive)
        else:
            wanted = match_names(self.settings.names, heads.names)
            self.allowed = np.isin(heads.names, wanted)

    def __call__(self, face_a: Face, face_b: Face, *, progress: ProgressCallback | None = None) -> WordReport:
        """Explain a pair in words.

        Raise FaceError if a face cannot support a verdict, since reasons for it would be reasons for nothing; see
        ``accept_poor``.
        """
        face_a, face_b = measured(face_a), measured(face_b)
        doubt = doubt_about([face_a.quality, face_b.quality])
        refuse_poor(doubt, self.accept_poor)
        batch = stack_faces([face_a, face_b])
        evidence = self.attributes(batch, self.settings.heatmap)
        similarity = self.similarity(batch)
        direction: Direction = "alike" if similarity > self.threshold else "different"
        counterfactual, classes = self.counterfactual(batch[:1], batch[1:], direction)
        masks = self.masks(evidence, counterfactual)
        eraser, seed = self.settings.eraser, self.settings.seed
        erased = [erase_in_face(self.comparison, batch[side], masks[side], eraser, seed=seed) for side in (0, 1)]
        scores = erased_scores(self.comparison, erased[0], erased[1])
        present = evidence.present
        words = self._words(batch, masks, scores, present, evidence.probabilities, direction, erased, progress)
        network = self.attributes.network
        return WordReport(
            similarity=scores.similarity,
            threshold=self.threshold,
            threshold_source=self.source,
            words=words,
            names=self.names,
            probabilities=evidence.probabilities,
            present=present,
            scores=scores,
            masks=masks,
            counterfactual=counterfactual,
            model=ModelInfo(self.comparison.name, self.comparison.sha256),
            attributes=ModelInfo(network.name, network.sha256),
            settings=self.settings,
            versions=software_versions(),
            faces=(FaceInfo.from_face(face_a), FaceInfo.from_face(face_b)),
            classes=classes,
            doubt=doubt,
        )

    def counterfactual(
        self, first: Batch, second: Batch, direction: Direction
    ) -> tuple[NDArray[np.float32], tuple[tuple[str, ...], tuple[str, ...]]]:
        """Return D of A against B and of B against A, (2, h, w), and the classes of both, if there is a classifier."""
        if self.cells is None or self.settings.kind == "no counterfactual":
            return np.repeat(_ONE[None], 2, axis=0), ((), ())
        return self.counterfactual_of(self.cells.read(np.concatenate([first, second])), direction)

    def counterfactual_of(
        self, features: Features, direction: Direction
    ) -> tuple[NDArray[np.float32], tuple[tuple[str, ...], tuple[str, ...]]]:
        """Return the same as :meth:`counterfactual`, from the features of A and B (two rows)."""
        if self.cells is None or self.settings.kind == "no counterfactual":
            return np.repeat(_ONE[None], 2, axis=0), ((), ())
        swapped = features[::-1].copy()
        if self.settings.identity == "similarity" or self.classes is None:
            own, other = self.cells.own(features), self.cells.other(features, swapped)
            return self._counterfactual(own, other, direction), ((), ())
        chances = self.classes.chances(self.cells.embedding(features))
        settings = self.settings
        chosen = chosen_classes(
            chances,
            settings.identity if settings.identity == "topk" else "threshold",
            k=settings.k,
            share=settings.share,
        )
        read = partial(mean_class_map, self.cells, heatmap=settings.heatmap, average_maps=settings.average_maps)
        own, other = (
            np.stack([read(one[None], self.classes.weights[these]) for one, these in zip(features, whose, strict=True)])
            for whose in (chosen, chosen[::-1])
        )
        names = [tuple(self.classes.names[number] for number in side) for side in chosen]
        return self._counterfactual(own, other, direction), (names[0], names[1])

    def _counterfactual(self, own: FloatArray, other: FloatArray, direction: Direction) -> NDArray[np.float32]:
        """Return D of (2, h, w) each, at the resolution of the settings."""
        if self.settings.fine:
            own, other = to_pixels(own), to_pixels(other)
        return counterfactual_map(own, other, direction)

    def masks(self, evidence: AttributeEvidence, counterfactual: FloatArray) -> NDArray[np.bool_]:
        """Return the pixels to erase for each attribute in both faces, (2, K, 112, 112)."""
        return np.stack([self.masks_of(evidence.maps[side], counterfactual[side]) for side in (0, 1)])

    def masks_of(
        self, evidence: FloatArray, counterfactual: FloatArray, numbers: NDArray[np.intp] | None = None
    ) -> NDArray[np.bool_]:
        """Return the pixels to erase in one face, (K, 112, 112), for evidence (K, H, W) and D (h, w).

        ``numbers`` are the indices of the attributes of the evidence; all by default.
        """
        places = None if self.settings.anywhere else self._places if numbers is None else self._places[numbers]
        joint = joint_maps(counterfactual, evidence, self.settings.kind, places=places)
        return erased_pixels(joint, self.settings.threshold, places=places, least=self.settings.least)

    def similarity(self, batch: Batch) -> float:
        """Return the score of the two faces of a batch."""
        features = self.comparison.features(batch)
        return float(self.comparison.scores(features[:1], features[1:])[0])

    def _words(
        self,
        batch: Batch,
        masks: NDArray[np.bool_],
        scores: ErasedScores,
        present: NDArray[np.bool_],
        probabilities: NDArray[np.float32],
        direction: Direction,
        erased: list[ErasedFace],
        progress: ProgressCallback | None,
    ) -> tuple[Word, ...]:
        areas = masks.sum(axis=(2, 3))
        asked = np.ones_like(present) if self.settings.names is not None else present
        candidates: list[tuple[int, Where]] = []
        for number in np.flatnonzero(self.allowed):
            for side, where in enumerate(SIDES):
                # Erased in both faces only if it fits both.
                fits = asked[:, number].all() if where == "both" else asked[side, number]
                # A word with an empty mask erases nothing.
                if fits and (areas[:, number].all() if where == "both" else areas[side, number] > 0):
                    candidates.append((int(number), where))
        if not candidates:
            return ()
        judged = sorted({number for number, _ in candidates})
        noise = self._noise(batch, areas, judged, erased, progress)
        after = {"A": scores.single[0], "B": scores.single[1], "both": scores.both}
        sign = 1.0 if direction == "different" else -1.0
        changes = np.array([sign * (after[where][number] - scores.similarity) for number, where in candidates])
        by_chance = np.stack([noise[where][judged.index(number)] for number, where in candidates])
        floor = noise_floor(changes, sign * (by_chance - scores.similarity))
        words = [
            Word(
                attribute=attribute(self.names[number]),
                where=where,
                probability_a=float(probabilities[0, number]),
                probability_b=float(probabilities[1, number]),
                area_a=float(areas[0, number]) / FACE_SIZE**2 if where != "B" else 0.0,
                area_b=float(areas[1, number]) / FACE_SIZE**2 if where != "A" else 0.0,
                similarity=float(after[where][number]),
                change=float(changes[row]),
                by_chance=scores.similarity + sign * float(floor.mean[row]),
                limit=scores.similarity + sign * float(floor.limit[row]),
                chance=float(floor.chance[row]),
            )
            for row, (number, where) in enumerate(candidates)
        ]
        return tuple(sorted(words, key=lambda word: (not word.is_telling, -word.change)))

    def _noise(
        self,
        batch: Batch,
        areas: NDArray[np.intp],
        judged: list[int],
        erased: list[ErasedFace],
        progress: ProgressCallback | None,
    ) -> dict[Where, NDArray[np.float64]]:
        """Return the scores of random erasures of the areas of these words, (words, draws) for each way of erasing."""
        draws = self.settings.draws
        sides: list[list[Features]] = []
        done, total = 0, 2 * len(judged) * draws
        for side in (0, 1):
            rng = np.random.default_rng((self.settings.seed, side))
            rows = []
            for number in judged:
                blobs = random_blobs(int(areas[side, number]), draws, rng)
                copies = erased_faces(batch[side], blobs, self.settings.eraser, seed=self.settings.seed)
                rows.append(features_in_parts(self.comparison, copies, BATCH))
                done += draws
                if progress is not None:
                    progress(done, total)
            sides.append(rows)
        plain_a, plain_b = erased[0].features, erased[1].features
        return {
            "A": np.stack([self.comparison.scores(row, plain_b) for row in sides[0]]).astype(np.float64),
            "B": np.stack([self.comparison.scores(plain_a, row) for row in sides[1]]).astype(np.float64),
            "both": np.stack(
                [self.comparison.scores(one, other) for one, other in zip(sides[0], sides[1], strict=True)]
            ).astype(np.float64),
        }


def refuse_poor(doubt: str | None, accept_poor: bool) -> None:
    """Raise FaceError if there is a doubt about the faces and poor ones are not accepted."""
    if doubt is not None and not accept_poor:
        raise FaceError(f"{doubt}: there are no words for it; give a better photo, or accept poor ones (accept_poor)")


def open_words(
    verifier: FaceVerifier,
    *,
    settings: WordSettings | None = None,
    attributes: AttributeReader | Path | str | None = None,
    classes: IdentityClasses | None = None,
    threads: int | None = None,
) -> WordExplainer:
    """Open words for the score of a verifier.

    Parameters
    ----------
    verifier
        The model with its threshold.
    settings
        See :class:`~whyface.words.word_report.WordSettings`.
    attributes
        Attribute heads or their file; by default those that come with whyface.
    classes
        Classifier of people, for the strategies that need one.
    threads
        Threads of ONNX Runtime for the attribute model; by default the verifier's.

    Raises
    ------
    ModelError, InputError
        If a model or a setting does not fit.

    Examples
    --------
    >>> from whyface.verification import Verifier  # doctest: +SKIP
    >>> words = open_words(Verifier())  # doctest: +SKIP
    >>> report = words(face_a, face_b)  # doctest: +SKIP
    >>> describe_words(report)  # doctest: +SKIP
    """
    chosen = WordSettings() if settings is None else settings
    if isinstance(attributes, AttributeReader):
        reader = attributes
    else:
        used = verifier.threads if threads is None else threads
        reader = open_attributes(attributes, threads=used, providers=verifier.providers)
    comparison = verifier.method.comparison
    return WordExplainer(
        comparison,
        identity_cells(comparison) if chosen.kind != "no counterfactual" else None,
        reader,
        threshold=verifier.method.threshold,
        source=verifier.method.source,
        settings=chosen,
        classes=classes,
        accept_poor=verifier.accept_poor,
    )


_BATCH = 64


def classes_of_pictures(
    verifier: FaceVerifier, path: Path | str, *, least: int = 2, progress: ProgressCallback | None = None
) -> IdentityClasses:
    """Fit a classifier to aligned 112 x 112 pictures named ``.../Person/picture.jpg``.

    Parameters
    ----------
    verifier
        The verifier whose embeddings are classified.
    path
        A folder or an uncompressed tar file.
    least
        People with fewer pictures are left out.
    progress
        Called with the number of pictures read and the total.

    Raises
    ------
    DataError
        If a picture cannot be read or is not in the folder of a person.
    InputError
        If fewer than two people are left.
    """
    cells = identity_cells(verifier.method.comparison)
    embeddings, owners = [], []
    with open_pictures(path) as source:
        names = source.names()
        for start in range(0, len(names), _BATCH):
            part = names[start : start + _BATCH]
            batch = np.ascontiguousarray(np.stack([source.read(name) for name in part]).transpose(0, 3, 1, 2))
            embeddings.append(cells.embedding(cells.read(batch)))
            owners += [_person(name, path) for name in part]
            if progress is not None:
                progress(len(owners), len(names))
    if not owners:
        raise DataError(f"{path}: no pictures; give a folder with a subfolder of aligned pictures for each person")
    return fit_classes(np.concatenate(embeddings), owners, least=least)


def _person(name: str, path: Path | str) -> str:
    folder = PurePosixPath(name).parent.name
    if not folder:
        raise DataError(f"{path}: {name} is not in a person's folder; sort the pictures into one folder per person")
    return folder

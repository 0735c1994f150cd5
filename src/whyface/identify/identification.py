"""Identification: a gallery's best candidates, a verdict that may be "nobody", and why the first beats the second."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError, ModelError
from whyface.explain.explanation import Mask
from whyface.explain.provenance import NO_GRID, FaceInfo, ModelInfo, ThresholdSource
from whyface.explain.shares import margin_shares, region_shares
from whyface.explain.trust import doubt_about_face, measured
from whyface.explain.usual import UsualSimilarity, find_usual
from whyface.explain.verdict import software_versions
from whyface.faces.face import Face, stack_faces
from whyface.gallery.gallery import Gallery, pixel_digest
from whyface.gallery.search import Candidate
from whyface.identify.evidential import EvidentialHead
from whyface.identify.gallery_people import fpir_of, gallery_head, head_features
from whyface.models.catalogue import find_entry
from whyface.xcos.grid import AttentionKind

SCHEMA: Final = "whyface/identification/1"


@dataclass(frozen=True, eq=False)
class Identification:
    """The result of identifying one face in a gallery.

    Attributes
    ----------
    candidates
        The best face of each of the best people, best first; none where the identification is undecided.
    people, faces
        Size of the gallery.
    threshold, threshold_source
        A person is named iff the best score is above the threshold.
    expected_fpir
        Approximate FPIR at this threshold among so many faces, :func:`whyface.identify.gallery_people.fpir_of`; None if
        the threshold's FMR is not known.
    uncertainty
        u in (0, 1], or None without an evidential head.
    beliefs
        Expected probability of each candidate among the people of the gallery, by name; empty without a head.
    uncertainty_note
        Why there is no uncertainty, or how its head was fitted.
    model, face, versions
        The model, the face and the software versions.
    same_picture
        Name and photo of the gallery's faces with the very same pixels.
    doubt
        Why the face cannot support a verdict; None if it can. Without ``accept_poor`` the identification is undecided.
    usual
        What similarity is usual at each place; None if that is not on record.
    """

    candidates: tuple[Candidate, ...]
    people: int
    faces: int
    threshold: float
    threshold_source: ThresholdSource
    expected_fpir: float | None
    uncertainty: float | None
    beliefs: Mapping[str, float]
    uncertainty_note: str
    model: ModelInfo
    attention: AttentionKind | None = None
    face: FaceInfo | None = None
    same_picture: tuple[str, ...] = ()
    doubt: str | None = None
    usual: UsualSimilarity | None = None
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def best(self) -> Candidate:
        """The best candidate, above the threshold or not."""
        return self.candidates[0]

    @property
    def is_known(self) -> bool:
        """Whether a person is named."""
        return not self.undecided and not self.tied and self.best.score > self.threshold

    @property
    def tied(self) -> tuple[str, ...]:
        """Those who share the best score exactly, if it is above the threshold; empty if one is ahead."""
        if self.undecided or self.best.score <= self.threshold:
            return ()
        names = tuple(one.name for one in self.candidates if one.score == self.best.score)
        return names if len(names) > 1 else ()

    @property
    def undecided(self) -> bool:
        """Whether the face cannot support a verdict, so that it was not compared with anybody."""
        return self.doubt is not None and not self.candidates

    @property
    def verdict(self) -> str:
        """``"known"``, ``"nobody in the gallery"`` or ``"undecided"``."""
        if self.undecided or self.tied:
            return "undecided"
        return "known" if self.is_known else "nobody in the gallery"

    @property
    def name(self) -> str | None:
        """The person, or None for nobody in the gallery."""
        return self.best.name if self.is_known else None

    @property
    def gap(self) -> float | None:
        """Difference of the best and the next person's scores; None if there is only one person."""
        return None if len(self.candidates) < 2 else self.best.score - self.candidates[1].score

    def shares(self, candidate: Candidate) -> NDArray[np.float64] | None:
        """Split a candidate's margin over the places, (H, W), up to rounding; None without places.

        S is measured from what is neutral at its place (:func:`whyface.explain.shares.margin_shares`).
        """
        if candidate.similarity is not None and candidate.attention is not None:
            neutral = 0.0 if self.usual is None else self.usual.middle
            return margin_shares(candidate.similarity, candidate.attention, self.threshold, neutral)
        parts = contributions(candidate)
        return None if parts is None else np.asarray(parts - self.threshold / parts.size)

    def difference(self) -> NDArray[np.float64] | None:
        """Return the gap split over the places, (H, W), up to rounding; None without places or a second person."""
        parts = [self.shares(candidate) for candidate in self.candidates[:2]]
        if len(parts) < 2 or parts[0] is None or parts[1] is None:
            return None
        return np.asarray(parts[0] - parts[1])

    @property
    def unseen(self) -> Mask | None:
        """Places of the grid that lie outside the photo, which carry no reason, bool (H, W); None without a grid."""
        parts = None if not self.candidates else contributions(self.best)
        if parts is None:
            return None
        mask: Mask = np.zeros(parts.shape, np.bool_)
        for row, column in () if self.face is None else self.face.outside:
            mask[row, column] = True
        return mask

    def reasons(self) -> dict[str, float]:
        """Return :meth:`difference` summed by region of the face, without what is unseen; empty if there is none."""
        cells = self.difference()
        return {} if cells is None else region_shares(cells, self.unseen)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {
            "schema": SCHEMA,
            "verdict": self.verdict,
            "doubt": self.doubt,
            "tied": list(self.tied),
            "name": self.name,
            "score": None if self.undecided else self.best.score,
            "threshold": self.threshold,
            "threshold_source": self.threshold_source.to_dict(),
            "expected_fpir": self.expected_fpir,
            "people": self.people,
            "faces": self.faces,
            "candidates": [
                {"rank": rank, **candidate.to_dict(), "belief": self.beliefs.get(candidate.name)}
                for rank, candidate in enumerate(self.candidates, start=1)
            ],
            "gap_to_next": self.gap,
            "gap_by_region": self.reasons(),
            "uncertainty": self.uncertainty,
            "uncertainty_note": self.uncertainty_note,
            "attention": self.attention,
            "model": {"name": self.model.name, "sha256": self.model.sha256},
            "face": None if self.face is None else self.face.to_dict(),
            "same_picture": list(self.same_picture),
            "versions": dict(self.versions),
        }


def contributions(candidate: Candidate) -> NDArray[np.float64] | None:
    """Return every place's contribution to a candidate's score, (H, W); None if it is not known."""
    if candidate.similarity is not None and candidate.attention is not None:
        return np.multiply(candidate.similarity, candidate.attention, dtype=np.float64)
    return None if candidate.cells is None else np.asarray(candidate.cells, np.float64)


def identify(
    gallery: Gallery,
    face: Face,
    *,
    threshold: float,
    source: ThresholdSource,
    fmr: float | None = None,
    k: int = 5,
    attention: AttentionKind | None = None,
    head: EvidentialHead | None = None,
    accept_poor: bool = False,
    features: NDArray[np.float32] | None = None,
    threads: int | None = None,
) -> Identification:
    """Identify a face in a gallery.

    Parameters
    ----------
    gallery
        Opened with its model.
    face
        The aligned face.
    threshold, source
        The threshold, e.g. :func:`whyface.identify.gallery_people.gallery_threshold`, and where it comes from.
    fmr
        The FMR of one comparison at this threshold; by default that of its source.
    k
        Number of people to return; at least 2 are searched for.
    attention
        ``"u"``, ``"p"`` or ``"l"``; by default the best available.
    head
        An evidential head of the gallery's people; by default the one in the gallery's folder.
    accept_poor
        Whether to look up also a face that cannot support a verdict; the doubt then marks the result.
    features
        What to look up, (1, ...), such as the mean of several pictures that the face stands for; by default the face's.
    threads
        Number of cores to use.

    Raises
    ------
    InputError
        If k is below 1 or the gallery is empty.
    ModelError
        If the head in the gallery's folder is damaged or belongs to another model.
    """
    if k < 1:
        raise InputError(f"at least one candidate is returned, got k = {k}")
    face = measured(face)
    batch = stack_faces([face])
    doubt = doubt_about_face(face)
    open_question = doubt is not None and not accept_poor
    features = gallery.features(batch) if features is None else features
    found = (
        []
        if open_question
        else gallery.search(features, max(k, 2), attention=attention, threads=threads, one_per_person=True)[0]
    )
    if not found and not open_question:
        raise InputError(f"{gallery.path}: no face of this gallery can be read; enroll them again")
    parts = contributions(found[0]) if found else None
    people = gallery.names()
    note = ""
    if open_question:
        head = None
    elif head is None:
        head, note = gallery_head(gallery)
    uncertainty, beliefs = None, {}
    if head is not None:
        belief = head(head_features(gallery, features))
        uncertainty = float(belief.uncertainty[0])
        chances = dict(zip(head.people, belief.probability[0].tolist(), strict=True))
        beliefs = {candidate.name: chances[candidate.name] for candidate in found if candidate.name in chances}
        note = f"u of {len(head.people)} people, fitted to {head.record.get('photos', 'their')} photos"
    rate = source.fmr if fmr is None else fmr
    return Identification(
        candidates=tuple(found),
        people=len(people),
        faces=len(gallery),
        threshold=threshold,
        threshold_source=source,
        expected_fpir=None if rate is None else fpir_of(rate, max(len(gallery), 1)),
        uncertainty=uncertainty,
        beliefs=beliefs,
        uncertainty_note=note,
        model=ModelInfo(gallery.layout.model, gallery.layout.sha256.get("onnx")),
        attention=attention or (gallery.model.default_kind if gallery.layout.kind == "grid" else None),
        face=FaceInfo.from_face(face, NO_GRID if parts is None else (parts.shape[0], parts.shape[1])),
        usual=_usual(gallery),
        same_picture=tuple(
            f"{row.name} ({row.source})" for row in gallery.names_table.of_digest(pixel_digest(batch[0]))
        ),
        doubt=doubt,
        versions=software_versions(),
    )


def _usual(gallery: Gallery) -> UsualSimilarity | None:
    try:
        entry = find_entry(gallery.layout.model)
    except ModelError:  # a network of one's own, known by its name only
        return None
    return find_usual(entry, gallery.layout.sha256.get("onnx", ""))

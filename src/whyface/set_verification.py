"""Verify two sets of photos, one person each: the means of their features compared, as for sets of frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from whyface.errors import InputError
from whyface.evaluate.set_scoring import SetMean, set_features
from whyface.explain.record import Record
from whyface.explain.trust import doubt_about_face, measured, same_picture, without_probability
from whyface.faces.face import Face, stack_faces
from whyface.models.embedder import Batch
from whyface.verification import Verification, Verifier
from whyface.xcos.comparison import Comparison, Features, features_in_parts

_BATCH = 64


@dataclass(frozen=True, eq=False)
class _Side:
    """The faces of one set that are compared, their features, their mean, and the faces that are too poor."""

    faces: tuple[Face, ...]
    features: Features
    mean: Features
    poor: tuple[Face, ...]


def verify_sets(
    verifier: Verifier, faces_a: Sequence[Face], faces_b: Sequence[Face], *, note: str = ""
) -> Verification:
    """Decide whether two sets of photos show the same person.

    The rule is that of video sets (:mod:`whyface.evaluate.set_scoring`, ``"grids"``): the mean features of each set are
    compared. Faces that cannot support a verdict are left out while there are others. The thresholds on record are
    those of single pictures, so there is no probability, and a sentence says so.

    Parameters
    ----------
    faces_a, faces_b
        One face of each photo; one person a set.
    note
        The operator's note, kept in the record.

    Returns
    -------
    The verdict. Its faces are those of each set that are most like the other set's mean; ``settings`` lists every face
    that was compared with its own score, and those that were too poor.

    Raises
    ------
    InputError
        If a set is empty.
    """
    if not faces_a or not faces_b:
        raise InputError("a set has no face; give at least one for each")
    comparison = verifier.method.comparison
    sides = [_side(comparison, faces, accept_poor=verifier.accept_poor) for faces in (faces_a, faces_b)]
    # What each face would score alone, with the other set's mean.
    alone = [comparison.scores(own.features, other.mean) for own, other in (sides, sides[::-1])]
    best = [int(scores.argmax()) for scores in alone]
    face_a, face_b = (side.faces[row] for side, row in zip(sides, best, strict=True))
    files = tuple(made for side in sides for face in side.faces for made in face.made_with)
    record = Record.now(verifier.clock, files=(*verifier.files, *files), request=verifier.request, note=note)
    (plain,) = verifier.method.explain_features([(face_a, face_b)], sides[0].mean, sides[1].mean)
    judged = without_probability(verifier.judged(plain))
    listed: dict[str, list[dict[str, Any]]] = {
        f"set_{letter}": [
            {**_file(face), "score": float(score)} for face, score in zip(side.faces, scores, strict=True)
        ]
        for letter, side, scores in zip("ab", sides, alone, strict=True)
    }
    listed |= {
        f"poor_{letter}": [_file(face) for face in side.poor]
        for letter, side in zip("ab", sides, strict=True)
        if side.poor
    }
    settings = {**judged.settings, "sets": "grids", **listed}
    explanation = replace(judged, record=record, settings=settings)
    if not explanation.undecided:
        # One shared picture is not the whole set; how many there are is said below.
        kept = [sentence for sentence in explanation.sentences if sentence != same_picture(explanation)]
        explanation = replace(explanation, sentences=(*kept, *_said(sides, alone)))
    return Verification(explanation, face_a, face_b)


def _side(comparison: Comparison, faces: Sequence[Face], *, accept_poor: bool) -> _Side:
    every = [measured(face) for face in faces]
    fit = [accept_poor or doubt_about_face(face) is None for face in every]
    used = tuple(face for face, good in zip(every, fit, strict=True) if good) or tuple(every)
    poor = tuple(face for face, good in zip(every, fit, strict=True) if not good and any(fit))
    batch: Batch = stack_faces(used)
    features = features_in_parts(comparison, batch, _BATCH)
    mean = SetMean()
    mean.add(features)
    return _Side(used, features, set_features(comparison, mean.value[None]).astype(np.float32), poor)


def _file(face: Face) -> dict[str, str | None]:
    return {"file": face.source, "sha256": None if face.file is None else face.file.sha256}


def _said(sides: Sequence[_Side], alone: Sequence[Features]) -> tuple[str, ...]:
    counts = " and ".join(str(len(side.faces)) for side in sides)
    poor = sum(len(side.poor) for side in sides)
    left_out = f", without {poor} too poor to support a verdict" if poor else ""
    named = [
        f"{side.faces[int(scores.argmax())].source or 'a face'} ({scores.max():.2f}; the least {scores.min():.2f})"
        for side, scores in zip(sides, alone, strict=True)
    ]
    shared = {face.sha256 for face in sides[0].faces} & {face.sha256 for face in sides[1].faces}
    them = "1 of the pictures is" if len(shared) == 1 else f"{len(shared)} of the pictures are"
    twice = f"{them} in both sets, which says nothing." if shared else ""
    said = (
        f"The means of {counts} faces were compared{left_out}; most like the other set are {named[0]} and {named[1]}.",
        "Error rates that were measured on single photos do not hold for sets: strangers match several times as "
        "often; there is no probability.",
        twice,
    )
    return tuple(sentence for sentence in said if sentence)

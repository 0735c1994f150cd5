"""How far a verdict can be trusted: its probability, doubts about the faces, warnings, identical pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from whyface.explain.childhood import WARNINGS
from whyface.explain.explanation import Explanation
from whyface.explain.sentences import describe
from whyface.faces.face import Face
from whyface.faces.quality import FaceQuality
from whyface.faces.quality_meter import default_meter
from whyface.models.calibration import Calibration


def with_probability(
    explanation: Explanation, calibration: Calibration | None, *, prior: float | None = None
) -> Explanation:
    """Return the explanation with its likelihood ratio, the probability of "same person" and where both come from.

    Parameters
    ----------
    explanation
        An explanation of the score for which the calibration was fitted.
    calibration
        None: return the explanation unchanged.
    prior
        See :meth:`whyface.models.calibration.Calibration.probability`.

    Raises
    ------
    InputError
        If the prior is not a probability.
    """
    if calibration is None:
        return explanation
    quality = lesser_recognisability([None if face is None else face.quality for face in explanation.faces or ()])
    return replace(
        explanation,
        probability=calibration.probability(explanation.score, quality=quality, prior=prior),
        probability_source=calibration.describe(prior=prior),
        probability_bound=calibration.bound(explanation.score, quality),
        likelihood=calibration.likelihood(explanation.score, quality),
    )


def lesser_recognisability(faces: Sequence[FaceQuality | None]) -> float | None:
    """Return the recognisability of the less recognisable face, on which calibrations depend; None if not measured."""
    known = [face.recognisability for face in faces if face is not None and face.recognisability is not None]
    return min(known, default=None)


def doubt_about(faces: Sequence[FaceQuality | None]) -> str | None:
    """Say why two faces cannot support a verdict, such as ``"both faces are too blurred to compare"``.

    Parameters
    ----------
    faces
        The quality of the first and of the second face; None if it was not measured, which raises no doubt.

    Returns
    -------
    The reason, or None if the faces can support a verdict.
    """
    faults = [None if face is None else face.shortcoming for face in faces]
    if len(set(faults)) == 1 and faults[0] is not None:
        return f"both faces are {_to_compare(faults[0])}"
    named = zip(("first", "second"), faults, strict=True)
    said = [f"the {which} face is {_to_compare(fault)}" for which, fault in named if fault is not None]
    return " and ".join(said) or None


def doubt_about_face(face: Face) -> str | None:
    """Say why one face cannot support a verdict, such as ``"the face is too blurred to compare"``; None if it can."""
    quality = measured(face).quality
    fault = None if quality is None else quality.shortcoming
    return None if fault is None else f"the face is {_to_compare(fault)}"


def with_doubt(explanation: Explanation, *, accept_poor: bool = False) -> Explanation:
    """Return the explanation, undecided where a face cannot support a verdict.

    Poor faces agree: two strangers out of focus score like one person. What is undecided has no reasons and no
    probability; the score stays for the record.

    Parameters
    ----------
    explanation
        Its faces say what their quality is.
    accept_poor
        Keep verdict and reasons, without a probability, and mark them with the doubt.
    """
    doubt = None if explanation.faces is None else doubt_about([face.quality for face in explanation.faces])
    if doubt is None:
        return explanation
    if accept_poor:
        sentences = (*explanation.sentences, accepted(doubt))
        return replace(without_probability(explanation), doubt=doubt, sentences=sentences)
    undecided = replace(
        without_probability(explanation),
        doubt=doubt,
        undecided=True,
        map_a=None,
        map_b=None,
        similarity=None,
        attention=None,
        contributions=None,
        attention_kind=None,
        telling=None,
        warnings=(),
    )
    return replace(undecided, sentences=describe(undecided))


def without_probability(explanation: Explanation) -> Explanation:
    """Return the explanation without probability and likelihood ratio."""
    return replace(explanation, probability=None, probability_source=None, probability_bound=None, likelihood=None)


def accepted(doubt: str) -> str:
    """Return the sentence that marks what was decided although the faces cannot support it."""
    return f"Accepted as asked, although {doubt}: poor faces of strangers agree, too."


def same_picture(explanation: Explanation) -> str | None:
    """Point out in a sentence that both crops have the very same pixels; None if they differ."""
    first, second = explanation.faces or (None, None)
    if first is None or second is None or first.sha256 is None or first.sha256 != second.sha256:
        return None
    return "Both faces have the very same pixels: this is one picture compared with itself, which says nothing."


def _to_compare(fault: str) -> str:
    return f"{fault} to compare" if fault.startswith("too ") else fault


def measured(face: Face) -> Face:
    """Return the face with its quality, measured from the crop if it was not measured where it was loaded."""
    if face.quality is not None:
        return face
    meter = default_meter()
    return replace(face, quality=meter.measure(face.image), made_with=(*face.made_with, *meter.files))


def with_warnings(explanation: Explanation) -> Explanation:
    """Return the explanation with the sentences of its warnings, and one where both faces are the same picture."""
    said = [WARNINGS[warning] for warning in explanation.warnings]
    if (same := same_picture(explanation)) is not None:
        said.append(same)
    return replace(explanation, sentences=(*explanation.sentences, *said)) if said else explanation

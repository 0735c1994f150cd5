"""A verdict with the keys of ``DeepFace.verify``, for programs that were written for it."""

from __future__ import annotations

from typing import Any

from whyface.explain.explanation import Explanation
from whyface.faces.face import FACE_SIZE, Face


def deepface_form(explanation: Explanation, face_a: Face, face_b: Face) -> dict[str, Any]:
    """Return the verdict as JSON values.

    ``distance`` is 1 - score and ``threshold`` 1 - threshold, so that a match is ``distance < threshold``. ``verified``
    is None where the verdict is undecided. ``verdict`` and ``whyface`` are not DeepFace's.
    """
    probability = explanation.probability
    return {
        "verified": None if explanation.undecided else explanation.is_match,
        "distance": 1 - explanation.score,
        "threshold": 1 - explanation.threshold,
        "confidence": None if probability is None else 100 * (probability if explanation.is_match else 1 - probability),
        "model": explanation.model.name,
        "detector_backend": next(
            (file.name for face in (face_a, face_b) for file in face.made_with if file.role == "detector"), "skip"
        ),
        "similarity_metric": explanation.method,
        "facial_areas": {"img1": _area(face_a), "img2": _area(face_b)},
        "time": explanation.cost.seconds,
        "verdict": explanation.verdict,
        "whyface": {
            "score": explanation.score,
            "threshold": explanation.threshold,
            "margin": explanation.margin,
            "threshold_source": explanation.threshold_source.describe(),
            "probability": probability,
            "probability_bound": explanation.probability_bound,
            "doubt": explanation.doubt,
            "sentences": list(explanation.sentences),
            "faces": [{"index": face.index, "count": face.count} for face in (face_a, face_b)],
        },
    }


def _area(face: Face) -> dict[str, Any]:
    """Return where a face is; the eyes are left and right as seen in the picture."""
    if face.box is None or face.landmarks is None:
        return {"x": 0, "y": 0, "w": FACE_SIZE, "h": FACE_SIZE, "left_eye": None, "right_eye": None}
    x0, y0, x1, y1 = (round(value) for value in face.box)
    left, right = ([round(float(value)) for value in eye] for eye in face.landmarks[:2])
    return {"x": x0, "y": y0, "w": x1 - x0, "h": y1 - y0, "left_eye": left, "right_eye": right}

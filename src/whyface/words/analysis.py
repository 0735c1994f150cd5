"""What the attribute model reads from faces, attribute by attribute, with how far it can be believed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from whyface.explain.provenance import FaceInfo
from whyface.explain.trust import doubt_about_face
from whyface.faces.face import Face, stack_faces
from whyface.words.attribute_model import AttributeReader, attribute

WARNING: Final = (
    "The attributes imitate the opinions of other models about pictures of LFW, with their errors and prejudices. "
    "Nobody was asked; gender, race and age are what a face was taken for. Do not decide about people by them "
    "(docs/reference/attribute-card.md)."
)


def described_face(face: Face) -> dict[str, Any]:
    """Return a face without its pixels, and why it could not support a verdict, as JSON values."""
    return {**FaceInfo.from_face(face).to_dict(), "doubt": doubt_about_face(face)}


def analysed_faces(
    faces: Sequence[Face], reader: AttributeReader, *, sensitive: bool = False, accept_poor: bool = False
) -> list[dict[str, Any]]:
    """Return each face with its attributes, the likeliest first, as JSON values.

    Every attribute has its probability and the AUC on people that it was not fitted to; those that were not learnt well
    enough are left out. A face that cannot support a verdict has none.

    Parameters
    ----------
    faces
        Aligned faces.
    reader
        See :func:`whyface.words.attribute_model.open_attributes`.
    sensitive
        Whether to include what a face was taken for: gender, race and age.
    accept_poor
        Whether to read attributes from poor faces, too.
    """
    heads = reader.heads
    shown = heads.usable(sensitive=sensitive)
    measured = heads.record.get("measured", {})
    documents = [described_face(face) for face in faces]
    good = [place for place, one in enumerate(documents) if accept_poor or one["doubt"] is None]
    for one in documents:
        one["attributes"] = []
    if not good:
        return documents
    chances = reader(stack_faces([faces[place] for place in good])).probabilities
    for place, row in zip(good, chances, strict=True):
        listed = [
            {
                "name": name,
                "phrase": attribute(name).phrase,
                "group": attribute(name).group,
                "probability": round(float(row[number]), 4),
                "auc": (measured.get(name) or {}).get("auc"),
            }
            for number, name in enumerate(heads.names)
            if shown[number]
        ]
        documents[place]["attributes"] = sorted(listed, key=lambda entry: -entry["probability"])
    return documents

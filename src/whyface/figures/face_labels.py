"""What stands beside the faces of a figure: the caller's names, else the files' names."""

from __future__ import annotations

from pathlib import PurePath

from whyface.explain.provenance import FaceInfo


def face_labels(faces: tuple[FaceInfo, FaceInfo] | None, labels: tuple[str, str] | None = None) -> tuple[str, str]:
    """Name the two faces of a pair.

    Parameters
    ----------
    faces
        Where they come from; None for faces that were arrays from the start.
    labels
        Names that the caller gave; they win.

    Returns
    -------
    Two names; empty where nobody knows one.
    """
    if labels is not None:
        return labels
    if faces is None:
        return "", ""
    first, second = (PurePath(face.source).name for face in faces)
    return first, second

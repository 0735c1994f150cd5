"""The detectors by name, and the one that is used where none is given."""

from __future__ import annotations

from functools import cache
from typing import Final

from whyface.errors import InputError
from whyface.faces.detection import Detector

DETECTORS: Final = ("centerface", "mtcnn")
"""The names that :func:`open_detector` knows; the first is the default. docs/studies/detectors.md compares them."""


def open_detector(name: str = DETECTORS[0], *, threads: int | None = None) -> Detector:
    """Open a face detector with its usual settings.

    Parameters
    ----------
    name
        ``"centerface"``, which comes with whyface, or ``"mtcnn"``, which needs ``pip install 'whyface[mtcnn]'``.
    threads
        Threads of ONNX Runtime for ``"centerface"``; None leaves it to ONNX Runtime.

    Raises
    ------
    InputError
        If the name is unknown.
    ModelError
        If the detector's weights are missing or not those on record.
    """
    # The imports wait: neither the other detector nor ONNX Runtime should cost anything where it is not used.
    if name == "centerface":
        from whyface.faces.centerface import CenterFaceDetector  # noqa: PLC0415
        from whyface.faces.centerface_network import open_centerface  # noqa: PLC0415

        return CenterFaceDetector(open_centerface(threads=threads))
    if name == "mtcnn":
        from whyface.faces.mtcnn import MtcnnDetector  # noqa: PLC0415
        from whyface.faces.mtcnn_weights import load_networks  # noqa: PLC0415

        return MtcnnDetector(load_networks())
    raise InputError(f"unknown detector {name!r}; use one of: {', '.join(DETECTORS)}")


def default_detector(*, threads: int | None = None) -> Detector:
    """Return the detector that is used where none is given, opened at the first call and then kept.

    Parameters
    ----------
    threads
        Threads of ONNX Runtime; None leaves it to ONNX Runtime. One detector is kept for each number.

    Raises
    ------
    ModelError
        If its weights are missing or not those on record.
    """
    return _kept_detector(threads)


@cache
def _kept_detector(threads: int | None) -> Detector:
    return open_detector(threads=threads)

"""The CenterFace network that comes with whyface, opened in ONNX Runtime."""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import Final

from whyface.errors import ModelError, ModelIntegrityError
from whyface.faces.centerface import Network, Tensor
from whyface.onnx_runtime import open_session

ASSET: Final = "assets/detector/centerface.onnx"
"""The network's file within the package; see NOTICE.md beside it."""

SHA256: Final = "5f9d0c07eee7d7daef429829ae7ad720f1662b21b18bc7fb8f6247de66fb34fe"


def open_centerface(*, threads: int | None = None) -> Network:
    """Open the network.

    Parameters
    ----------
    threads
        Threads within one operator; None leaves it to ONNX Runtime.

    Raises
    ------
    ModelIntegrityError
        If the file is not the one on record.
    ModelError
        If it is missing or ONNX Runtime refuses it.
    """
    try:
        model = (resources.files("whyface") / ASSET).read_bytes()
    except OSError as error:
        raise ModelError(f"{ASSET}: the face detector's file cannot be read; install whyface again") from error
    if hashlib.sha256(model).hexdigest() != SHA256:
        raise ModelIntegrityError(f"{ASSET}: the face detector's file has been changed; install whyface again")
    try:
        session = open_session(model, threads=threads)
    except Exception as error:  # ONNX Runtime's exceptions have no common base of their own.
        raise ModelError(f"{ASSET}: ONNX Runtime cannot open it; update onnxruntime") from error
    name = session.get_inputs()[0].name

    def run(pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        heat, sizes, offsets, landmarks = session.run(None, {name: pixels})
        return heat, sizes, offsets, landmarks

    return run

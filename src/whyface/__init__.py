"""Explainable face verification: a verdict, a score and the reasons, in a form that a person can check.

>>> import whyface  # doctest: +SKIP
>>> result = whyface.verify("one.jpg", "other.jpg")  # doctest: +SKIP
>>> print(result.verdict, *result.sentences)  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from whyface.errors import WhyfaceError as WhyfaceError
    from whyface.explain.explanation import Explanation as Explanation
    from whyface.faces.face import Face as Face
    from whyface.faces.load import load_face as load_face
    from whyface.models.onnx_embedder import OnnxEmbedder as OnnxEmbedder
    from whyface.verification import Verification as Verification
    from whyface.verification import Verifier as Verifier
    from whyface.verification import verify as verify

__version__ = "0.1.0"

_HOMES: Final = {
    "Explanation": "whyface.explain.explanation",
    "Face": "whyface.faces.face",
    "OnnxEmbedder": "whyface.models.onnx_embedder",
    "Verification": "whyface.verification",
    "Verifier": "whyface.verification",
    "WhyfaceError": "whyface.errors",
    "load_face": "whyface.faces.load",
    "verify": "whyface.verification",
}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604 - names of the table above


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that ``import whyface`` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'whyface' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)

"""Explainable face verification: a verdict, a score and the reasons, in a form that a person can check.

>>> import whyface  # doctest: +SKIP
>>> result = whyface.verify("one.jpg", "other.jpg")  # doctest: +SKIP
>>> print(result.verdict, *result.sentences)  # doctest: +SKIP
"""

from __future__ import annotations

from typing import Any

import lazy_loader

__version__ = "0.1.0"

# The names and where they are stand in __init__.pyi, which type checkers read too.
_get, _, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that ``import whyface`` costs next to nothing."""
    try:
        return _get(name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == __name__:
            raise
        # hasattr() and help() go on where an extra is not installed.
        raise AttributeError(
            f"whyface.{name} needs {error.name}, which is not installed: pip install 'whyface[train]'"
        ) from error


def __dir__() -> list[str]:
    """Name what is public."""
    return sorted(__all__)

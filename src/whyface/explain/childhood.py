"""Whether a face looks like a child's, and the warning about pairs with a child.

Verdicts and probabilities rest on pictures of adults. Two children who are strangers match more often, and a child does
not match the adult that it became. A linear head reads the features of the comparison, so that asking costs nothing;
``scripts/fit_children.py`` makes it for any model. It says how a face looks, not how old anybody is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError, ModelError, reason
from whyface.files.guarded import read_tensors
from whyface.files.integrity import with_sorted_metadata, write_atomic
from whyface.models.entry import ModelEntry

FILE_NAME: Final = "children.safetensors"
"""Name of the file in the folder of a model of your own."""

CHILD_AND_ADULT: Final = "child and adult"
TWO_CHILDREN: Final = "two children"

WARNINGS: Final[Mapping[str, str]] = {
    CHILD_AND_ADULT: "One face looks like a child's, the other does not: people change so much between childhood and "
    "adult life that neither the verdict nor a probability can be relied on.",
    TWO_CHILDREN: "Both faces look like children's: children who are strangers match more often than adults, so the "
    "threshold's error rates and a probability do not hold for them.",
}
"""The warnings about a pair, and the sentence of each."""

_TENSORS: Final = ("weight", "bias")


@dataclass(frozen=True, eq=False)
class ChildHead:
    """A linear head on the features of a comparison. Raise InputError if a number is not finite.

    Attributes
    ----------
    weight
        One number for each number of a face's features, (K,).
    bias
        The face looks like a child's if weight . features + bias > 0.
    """

    weight: NDArray[np.float32]
    bias: float

    def __post_init__(self) -> None:
        if self.weight.ndim != 1 or not self.weight.size or not np.isfinite([*self.weight, self.bias]).all():
            raise InputError("a head for children needs finite weights, shape (K,), and a finite bias")

    def __call__(self, features: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
        """Return which faces look like a child's, (N,), from features (N, ...). Raise InputError if they do not fit."""
        flat = features.reshape(len(features), -1)
        if flat.shape[1] != len(self.weight):
            raise InputError(f"features of {flat.shape[1]} numbers, but the head for children has {len(self.weight)}")
        return np.asarray(flat.astype(np.float64) @ self.weight + self.bias > 0)


def child_warnings(first: bool, second: bool) -> tuple[str, ...]:
    """Return the warnings, keys of :data:`WARNINGS`, about a pair whose faces look like a child's or not."""
    if first and second:
        return (TWO_CHILDREN,)
    return (CHILD_AND_ADULT,) if first or second else ()


def find_child_head(entry: ModelEntry | None, sha256: str) -> ChildHead | None:
    """Return the head of a known model, or of your own with :data:`FILE_NAME` in its folder; None if there is none.

    Raise ModelError if the file cannot be read or belongs to another network than the one with this SHA-256.
    """
    if entry is None or entry.sidecar is not None:
        return None
    own = entry.folder is not None and not entry.shipped
    path = entry.folder / FILE_NAME if own and entry.folder is not None else shipped_child_head(entry.name)
    return read_child_head(path, sha256) if path.is_file() else None


def shipped_child_head(name: str) -> Path:
    """Return the path of a known model's head in the package."""
    return Path(str(resources.files("whyface"))) / "assets" / "children" / f"{name}.safetensors"


def read_child_head(path: Path | str, sha256: str) -> ChildHead:
    """Read what :func:`save_child_head` wrote.

    Raise ModelError if it cannot be read, or belongs to another network than the one with this SHA-256.
    """
    try:
        tensors, record = read_tensors(path, _TENSORS)
        head = ChildHead(np.asarray(tensors["weight"], np.float32), float(np.asarray(tensors["bias"]).item()))
        network = record["sha256"]
    except (OSError, ValueError, KeyError, InputError) as error:
        raise ModelError(
            f"{path}: no head for children ({reason(error)}); make it with scripts/fit_children.py"
        ) from error
    if network != sha256:
        raise ModelError(f"{path}: made for another network; make it again with scripts/fit_children.py")
    return head


def save_child_head(path: Path | str, head: ChildHead, record: Mapping[str, str]) -> None:
    """Write a head with a record of its origin, which names the network's ``sha256``.

    Raise OutputError if the file cannot be written.
    """
    from safetensors.numpy import save  # noqa: PLC0415 - start fast

    tensors = {"weight": np.ascontiguousarray(head.weight, np.float32), "bias": np.array([head.bias], np.float32)}
    write_atomic(path, with_sorted_metadata(save(tensors, metadata=dict(record))))

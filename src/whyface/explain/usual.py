"""What similarity is usual at each place, and so how telling a similarity is there.

Places differ: in an upper corner, strangers may be as alike as two photos of one person. For the known models, the
similarities of strangers and of genuine pairs at each place come with whyface; ``scripts/usual_similarity.py`` makes
them for any model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError, ModelError, reason
from whyface.files import json_values
from whyface.files.guarded import read_tensors
from whyface.files.integrity import with_sorted_metadata, write_atomic
from whyface.models.entry import ModelEntry

FILE_NAME: Final = "usual.safetensors"
"""Name of the file in the folder of a model of your own."""

LEVELS: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)
"""Shares of the pairs that lie below the recorded quantiles."""

_TENSORS: Final = ("strangers", "genuine", "slope", "middle")
Map = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Telling:
    """How telling the similarity of a pair is at each place, (h, w) each.

    Attributes
    ----------
    log_odds
        Natural logarithm of how many times commoner the similarity is among genuine pairs than among strangers at this
        place; 0 if it is equally common.
    strangers, genuine
        Share of strangers and of genuine pairs that are less alike at this place, between 0.005 and 0.995.
    neutral
        Similarity that is equally common among both.
    source
        The pairs behind it.
    """

    log_odds: Map
    strangers: Map
    genuine: Map
    neutral: Map
    source: str

    def __post_init__(self) -> None:
        for name in _MAPS:
            values = np.array(getattr(self, name), np.float32)
            if values.ndim != 2 or values.shape != np.shape(self.neutral) or not np.isfinite(values).all():
                raise InputError(f"telling: {name} must be a finite map like the others, got shape {values.shape}")
            values.flags.writeable = False
            object.__setattr__(self, name, values)

    @property
    def log10_lr(self) -> Map:
        """Common logarithm of the likelihood ratio of each place, (h, w).

        Places are not independent, since neighbours see the same: these numbers must not be added up, nor their ratios
        multiplied. The likelihood ratio of the pair is :attr:`whyface.explain.explanation.Explanation.log10_lr`.
        """
        return np.asarray(self.log_odds / np.log(10), np.float32)

    def __eq__(self, other: object) -> bool:
        """Compare maps by their values."""
        if not isinstance(other, Telling):
            return NotImplemented
        return self.source == other.source and all(np.array_equal(getattr(self, m), getattr(other, m)) for m in _MAPS)

    def __hash__(self) -> int:
        """Hash the source."""
        return hash(self.source)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"source": self.source, **{name: json_values.array_to_lists(getattr(self, name)) for name in _MAPS}}

    @classmethod
    def from_dict(cls, data: Any) -> Telling:
        """Build from the result of :meth:`to_dict`.

        Raise ValueError or TypeError if a value is missing or of the wrong kind; the message is a phrase that follows
        its name. Raise InputError if the maps differ in shape.
        """
        given = json_values.mapping(data)
        missing = [field.name for field in fields(cls) if field.name not in given]
        if missing:
            raise ValueError(f"lacks {missing[0]!r}")
        maps = {name: json_values.array_from_lists(given[name]) for name in _MAPS}
        return cls(source=json_values.text(given["source"]), **maps)


_MAPS: Final = ("log_odds", "strangers", "genuine", "neutral")


@dataclass(frozen=True, eq=False)
class UsualSimilarity:
    """Similarities of strangers and of genuine pairs at each place of a model's grid.

    Raise InputError if the shapes do not fit each other, quantiles fall, or a value is not finite.

    Attributes
    ----------
    strangers, genuine
        Quantiles at :data:`LEVELS`, (levels, h, w).
    slope, middle
        Logistic regression of "same person" on the similarity at each place, with as many strangers as genuine pairs:
        log odds = slope * (S - middle), (h, w) each.
    pairs
        Number of pairs of the rarer kind; no ratio exceeds it.
    source
        The pairs behind it.
    """

    strangers: Map
    genuine: Map
    slope: Map
    middle: Map
    pairs: int
    source: str

    def __post_init__(self) -> None:
        shape = self.middle.shape
        fits = len(shape) == 2 and self.slope.shape == shape
        for name in ("strangers", "genuine"):
            quantiles = getattr(self, name)
            fits = fits and quantiles.shape == (len(LEVELS), *shape) and bool((np.diff(quantiles, axis=0) >= 0).all())
        if not fits or self.pairs < 1 or not all(np.isfinite(getattr(self, name)).all() for name in _TENSORS):
            raise InputError("the usual similarities must be finite, rise with their levels and be of one grid")

    def judge(self, similarity: NDArray[np.floating[Any]]) -> Telling:
        """Say how telling a pair's similarities (h, w) are. Raise InputError if they are of another grid."""
        if similarity.shape != self.middle.shape:
            raise InputError(f"similarities of {similarity.shape} places, but {self.middle.shape} are on record")
        limit = float(np.log(self.pairs))
        return Telling(
            log_odds=np.clip(self.slope * (similarity - self.middle), -limit, limit),
            strangers=_shares_below(similarity, self.strangers),
            genuine=_shares_below(similarity, self.genuine),
            neutral=self.middle,
            source=self.source,
        )


def find_usual(entry: ModelEntry | None, sha256: str) -> UsualSimilarity | None:
    """Return the usual similarities of a model; None if they are not on record.

    Raise ModelError if the file cannot be read or belongs to another network.

    Parameters
    ----------
    entry
        A known model, whose record is part of whyface, or your own, whose record is in its folder as
        :data:`FILE_NAME`.
    sha256
        SHA-256 of the network.
    """
    path = usual_path(entry)
    return None if path is None else read_usual(path, sha256)


def usual_path(entry: ModelEntry | None) -> Path | None:
    """Return the file with the usual similarities of a model; None if they are not on record."""
    # The folder of a plain network with thresholds beside it may hold another model's record.
    if entry is None or entry.sidecar is not None:
        return None
    own = entry.folder is not None and not entry.shipped
    path = entry.folder / FILE_NAME if own and entry.folder is not None else shipped_usual(entry.name)
    return path if path.is_file() else None


def shipped_usual(name: str) -> Path:
    """Return the path of the usual similarities of a known model in the package."""
    return Path(str(resources.files("whyface"))) / "assets" / "usual" / f"{name}.safetensors"


def read_usual(path: Path | str, sha256: str) -> UsualSimilarity:
    """Read what :func:`save_usual` wrote.

    Raise ModelError if it cannot be read, or belongs to another network than the one with this SHA-256.
    """
    try:
        tensors, record = read_tensors(path, _TENSORS)
        found = {name: np.asarray(tensors[name], np.float32) for name in _TENSORS}
        usual = UsualSimilarity(**found, pairs=int(record["pairs"]), source=record["source"])
        network = record["sha256"]
    except (OSError, ValueError, KeyError, InputError) as error:
        raise ModelError(
            f"{path}: no usual similarities ({reason(error)}); make it with scripts/usual_similarity.py"
        ) from error
    if network != sha256:
        raise ModelError(f"{path}: made for another network; make it again with scripts/usual_similarity.py")
    return usual


def save_usual(path: Path | str, usual: UsualSimilarity, record: Mapping[str, str]) -> None:
    """Write usual similarities with a record of their origin, which names the network's ``sha256``.

    Raise OutputError if the file cannot be written.
    """
    from safetensors.numpy import save  # noqa: PLC0415 - start fast

    tensors = {name: np.ascontiguousarray(getattr(usual, name), np.float32) for name in _TENSORS}
    metadata = {**record, "pairs": str(usual.pairs), "source": usual.source}
    write_atomic(path, with_sorted_metadata(save(tensors, metadata=metadata)))


def _shares_below(similarity: NDArray[np.floating[Any]], quantiles: Map) -> Map:
    shares = np.empty(similarity.shape, np.float32)
    for place, value in np.ndenumerate(similarity):
        shares[place] = np.interp(value, quantiles[:, *place], LEVELS)
    return shares

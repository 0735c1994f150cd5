"""Who a probe may be, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Candidate:
    """One face that a search found.

    Attributes
    ----------
    record
        Number of the record in the gallery.
    name
        The person.
    source
        Where the picture came from.
    score
        The similarity, in [-1, 1].
    similarity, attention
        S and W, (H, W) float32; the sum of S * W is the score. None for embeddings.
    cells
        For embeddings of a network with an affine head: what each cell of the probe adds to the cosine, (H, W)
        float32, adding up to the score; else None.
    """

    record: int
    name: str
    source: str
    score: float
    similarity: NDArray[np.float32] | None = None
    attention: NDArray[np.float32] | None = None
    cells: NDArray[np.float32] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON values."""
        return {
            "record": self.record,
            "name": self.name,
            "source": self.source,
            "score": self.score,
            **{
                key: [[float(value) for value in line] for line in values]
                for key, values in (("S", self.similarity), ("W", self.attention), ("cells", self.cells))
                if values is not None
            },
        }

"""Methods that take the two faces of a pair together: pairs in batches that keep to the memory bound."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from whyface.explain.pair_method import PairMaps, PairMethod, check_pairing
from whyface.models.embedder import Batch


class BatchedPairMethod(PairMethod):
    """A method that runs the network on both faces of a pair at once, so on half as many pairs as faces."""

    @abstractmethod
    def batch_maps(self, first: Batch, second: Batch) -> PairMaps:
        """Explain at least one pair and at most ``batch_size // 2``, as :meth:`maps` does."""

    def maps(self, first: Batch, second: Batch) -> PairMaps:
        """Explain N pairs of aligned faces, (N, 3, 112, 112) each, as many together as the memory bound allows.

        Raises
        ------
        InputError
            If there are no pairs or the numbers differ.
        """
        check_pairing(first, second)
        step = max(1, self.batch_size // 2)
        starts = range(0, len(first), step)
        return join_maps([self.batch_maps(first[at : at + step], second[at : at + step]) for at in starts])


def join_maps(parts: Sequence[PairMaps]) -> PairMaps:
    """Join the maps of several batches."""
    if len(parts) == 1:
        return parts[0]
    return replace(
        parts[0],
        score=np.concatenate([part.score for part in parts]),
        map_a=np.concatenate([part.map_a for part in parts]),
        map_b=np.concatenate([part.map_b for part in parts]),
        details=tuple(detail for part in parts for detail in part.details),
    )

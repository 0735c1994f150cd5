"""Triplets: what in a probe speaks for a mate rather than for a non-mate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError, ModelError
from whyface.explain.cells import XcosEvidenceMethod
from whyface.explain.methods import Explains
from whyface.explain.pair_method import PairMaps, PairMethod
from whyface.explain.shares import ranked, region_shares
from whyface.explain.verdict import VerdictMethod
from whyface.faces.face import Face, stack_faces
from whyface.faces.regions import region_phrase
from whyface.models.embedder import Batch

_NAMED: Final = 3
_LEAST: Final = 0.005


@dataclass(frozen=True, eq=False)
class TripletExplanation:
    """What in a probe speaks for a mate rather than for a non-mate.

    Attributes
    ----------
    method, settings
        The method and its settings.
    map
        (H, W) float32 over the probe: positive for the mate, negative for the non-mate.
    """

    method: str
    settings: Mapping[str, Any]
    map: NDArray[np.float32]

    @property
    def sentence(self) -> str:
        """The regions that speak most for either, with their shares of the map's weight."""
        weight = float(np.abs(self.map).sum())
        if not weight:
            return "Nothing in the probe speaks for one rather than the other."
        shares = region_shares(self.map / weight)
        said = []
        for sign, whom in ((True, "for the mate"), (False, "for the non-mate")):
            listed = [(name, share) for name, share in ranked(shares, positive=sign) if abs(share) >= _LEAST][:_NAMED]
            places = ", ".join(f"{region_phrase(name)} ({100 * abs(share):.0f}%)" for name, share in listed)
            said.append(f"{whom} {places or 'no region as a whole'}")
        return f"Of the map's weight, {'; '.join(said)}."

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"method": self.method, "settings": dict(self.settings), "map": self.map.astype(np.float64).tolist()}


def explain_triplet(
    method: Explains, probe: Face, mate: Face | Sequence[Face], non_mate: Face | Sequence[Face]
) -> TripletExplanation:
    """Explain a triplet by a method of :func:`whyface.open_method`.

    Methods that were published for triplets have one of their own; of others, the probe's map with the non-mate is
    subtracted from that with the mate. Of several photos of a mate or non-mate, the mean counts, see
    :meth:`whyface.explain.pair_method.PairMethod.triplet`. Raise ModelError if the method gives no map for each face,
    and InputError if there is no mate or non-mate.
    """
    one = as_pair_method(method)
    roles = [[role] if isinstance(role, Face) else list(role) for role in (mate, non_mate)]
    if not all(roles):
        raise InputError("a triplet needs a mate and a non-mate; give at least one photo of each")
    found = one.triplet(stack_faces([probe]), *(stack_faces(role)[None] for role in roles))
    return TripletExplanation(one.name, one.settings, found[0])


def as_pair_method(method: Explains) -> PairMethod:
    """Return a method with a map for each face; of the verdict itself, the share of each place in the margin.

    Raise ModelError if there is none.
    """
    if isinstance(method, PairMethod):
        return method
    if isinstance(method, VerdictMethod) and method.comparison.attention is not None:
        return XcosEvidenceMethod(
            method.comparison, threshold=method.threshold, source=method.source, usual=method.usual
        )
    raise ModelError(f"method {method.name!r} gives no map of a face; use another")


class OwnTriplet(PairMethod):
    """A method's triplet on pairs: what speaks for the other face rather than for the face itself, which is the mate.

    Its negative part is what makes a face unlike the other one.
    """

    name: ClassVar[str] = "own triplet"

    def __init__(self, method: PairMethod) -> None:
        super().__init__(
            method.embedder, threshold=method.threshold, source=method.source, batch_size=method.batch_size
        )
        self.method = method

    def maps(self, first: Batch, second: Batch) -> PairMaps:
        """Explain N pairs of aligned faces, (N, 3, 112, 112) each."""
        pair = self.method.maps(first, second)
        map_a, map_b = (-self.method.triplet(one, one, other) for one, other in ((first, second), (second, first)))
        return PairMaps(pair.score, map_a, map_b, forward=pair.forward, backward=pair.backward)

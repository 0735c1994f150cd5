"""What each test gives to each pair, under its own map or another, as one number: the basis of all summaries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from whyface.bench.other_maps import OTHERS
from whyface.bench.run import COST
from whyface.data.protocols import PairProtocol
from whyface.files.parts import ResultTable

Kind = Literal["errors", "accuracy", "value"]


@dataclass(frozen=True)
class TestValue:
    """Where a figure of merit comes from.

    Attributes
    ----------
    test, measure
        Names of the rows.
    kind
        ``errors`` and ``accuracy``: area under the curve of wrong or right verdicts; ``value``: the last step as it is.
    is_lower_better, is_balanced
        Whether less is better, and whether genuine and impostor pairs count alike.
    """

    test: str
    measure: str
    kind: Kind = "value"
    is_lower_better: bool = False
    is_balanced: bool = False


PLANTED: Final = ("pointing", "painting", "partner")
FILLED: Final = {"": "erasure", " blur": "erasure-blur", " noise": "erasure-noise"}

VALUES: Final[dict[str, TestValue]] = {
    "replacement": TestValue("replacement", "score", "errors", is_lower_better=True, is_balanced=True),
    "patch precision": TestValue("replacement", "patch precision"),
    "patch chance": TestValue("replacement", "patch chance"),
    **{
        f"{measure}{fill}": TestValue(test, measure, "accuracy", measure == "deletion", is_balanced=True)
        for fill, test in FILLED.items()
        for measure in ("deletion", "insertion")
    },
    "saco": TestValue("saco", "saco", is_balanced=True),
    # The names of the first test are older than the others.
    **{name: TestValue("pointing", name) for name in ("negative share", "overlap", "area", "drop")},
    "pointing auc": TestValue("pointing", "auc"),
    **{f"{test} {name}": TestValue(test, name) for test in PLANTED[1:] for name in ("overlap", "auc", "drop")},
    **{name: TestValue("inpainting", name) for name in ("game", "playable")},
    **{name: TestValue("stability", name) for name in ("shift", "swap", "seed")},
    "randomised": TestValue("randomisation", "similarity", is_lower_better=True),
    "smooth randomised": TestValue("randomisation", "smooth similarity", is_lower_better=True),
    "entropy rise": TestValue("randomisation", "entropy rise"),
    **{name: TestValue(COST, name, is_lower_better=True) for name in ("seconds", "processor", "forward", "backward")},
}
"""Figures of merit of a map itself, by name."""

GAINS: Final = {
    "specific": tuple(f"other-{place}" for place in range(OTHERS)),
    "over mean": ("mean",),
    "over network": ("network",),
}
"""Endings of the names of gains, and the maps that the pair's own is compared with; more is always better."""

PLAIN: Final = {"at equal prior": "budget", "blurred": "blurred"}
"""Endings of the names of tests of a changed map, and the variant."""

JUDGED: Final = (
    *("replacement", "patch lift", "deletion", "insertion", "deletion blur", "insertion blur", "deletion noise"),
    *("insertion noise", "saco", "overlap", "pointing auc", "painting overlap", "painting auc"),
    *("partner overlap", "partner auc", "shift", "randomised"),
)
"""Figures of merit that a fixed map could win, so that each has gains, too."""

INFORMATION: Final = {f"{test} information": test for test in PLANTED}
"""Information gain in bits over the method's own mean map, and its test."""

Found = tuple[NDArray[np.intp], NDArray[np.float64]]


def area(steps: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean height of curves (N, K) over steps (K,) by the trapezoid rule, (N,), in the values' unit."""
    found: NDArray[np.float64] = np.trapezoid(values, steps, axis=1) / (steps[-1] - steps[0])
    return found


def merit_names() -> list[str]:
    """Return the names of all figures of merit of which a pair has one."""
    derived = [f"{name} {ending}" for ending in (*GAINS, *PLAIN) for name in JUDGED]
    return [*VALUES, "patch lift", *INFORMATION, *derived]


def is_lower_better(name: str) -> bool:
    """Return whether less of a figure of merit is better; of a gain, more always is."""
    for ending in PLAIN:
        name = name.removesuffix(f" {ending}")
    return name in VALUES and VALUES[name].is_lower_better


def is_balanced(name: str) -> bool:
    """Return whether genuine and impostor pairs count alike."""
    for ending in (*GAINS, *PLAIN):
        name = name.removesuffix(f" {ending}")
    return name == "patch lift" or (name in VALUES and VALUES[name].is_balanced)


def merit_values(table: ResultTable, name: str, protocol: PairProtocol, threshold: float) -> Found:
    """Return the pairs (N,) and their values (N,); N is 0 if it was not measured.

    Parameters
    ----------
    table
        One method's rows.
    name
        One of :func:`merit_names`.
    protocol, threshold
        Tell which verdicts are right.
    """
    if name in INFORMATION:
        test = INFORMATION[name]
        return _less(*(_single(table, asked, "bits") for asked in (test, f"{test}:mean")))
    for ending, variants in GAINS.items():
        if name.endswith(f" {ending}"):
            plain = name.removesuffix(f" {ending}")
            own = _value(table, plain, protocol, threshold, variants[0], is_own=True)
            # The mean of differences: of equal values it is exactly 0.
            found = _mean_of([_less(own, _value(table, plain, protocol, threshold, variant)) for variant in variants])
            return (found[0], -found[1]) if is_lower_better(plain) else found
    for ending, variant in PLAIN.items():
        if name.endswith(f" {ending}"):
            return _value(table, name.removesuffix(f" {ending}"), protocol, threshold, variant)
    return _value(table, name, protocol, threshold, "")


def _value(
    table: ResultTable, name: str, protocol: PairProtocol, threshold: float, variant: str, *, is_own: bool = False
) -> Found:
    """Return one test's values; with ``is_own``, of the pair's own map at the variant's steps."""
    if name == "patch lift":
        parts = (
            _value(table, part, protocol, threshold, variant, is_own=is_own)
            for part in ("patch precision", "patch chance")
        )
        return _less(*parts)
    source = VALUES[name]
    test = f"{source.test}:{variant}" if variant and not is_own else source.test
    pairs, steps, values = table.steps(test, source.measure)
    if not len(pairs):
        return pairs, np.empty(0)
    if source.kind == "value":
        return pairs, values[:, -1]
    if is_own:
        wanted = np.isin(steps, table.steps(f"{source.test}:{variant}", source.measure)[1])
        steps, values = steps[wanted], values[:, wanted]
        if len(steps) < 2:
            return pairs[:0], np.empty(0)
    hits = (values > threshold) == protocol.genuine[pairs][:, None]
    return pairs, area(steps, (hits if source.kind == "accuracy" else ~hits).astype(np.float64))


def _single(table: ResultTable, test: str, measure: str) -> Found:
    pairs, _, values = table.steps(test, measure)
    return pairs, values[:, -1] if len(pairs) else np.empty(0)


def _less(one: Found, other: Found) -> Found:
    common, first, second = np.intersect1d(one[0], other[0], return_indices=True)
    return common, one[1][first] - other[1][second]


def _mean_of(found: Sequence[Found]) -> Found:
    """Return the mean of each pair over those that have it."""
    pairs = np.concatenate([one[0] for one in found])
    known, place = np.unique(pairs, return_inverse=True)
    sums = np.bincount(place, np.concatenate([one[1] for one in found]), minlength=len(known))
    return known.astype(np.intp), sums / np.maximum(np.bincount(place, minlength=len(known)), 1)


def concordance(ranks: NDArray[np.float64]) -> float:
    """Return Kendall's W of R rankings of M things, ranks (R, M): 1 if all agree, 0 if they have nothing in common.

    Ties are corrected for. M. G. Kendall and B. Babington Smith, 1939.
    """
    raters, things = ranks.shape
    sums = ranks.sum(axis=0)
    spread = float(((sums - sums.mean()) ** 2).sum())
    ties = sum(float((counts**3 - counts).sum()) for counts in (np.unique(row, return_counts=True)[1] for row in ranks))
    most = raters**2 * (things**3 - things) - raters * ties
    return 12 * spread / most if most > 0 else 1.0

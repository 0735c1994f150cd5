"""Error against discarded share: what the verdict's errors are if the poorest pairs are left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.figures.style import BLUE, FONT, INK, MUTED, RED, Sheet, dress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHARES: Final = tuple(round(0.05 * step, 2) for step in range(17))
BINS: Final = (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0)


@dataclass(frozen=True)
class DiscardCurve:
    """Errors after the poorest share of pairs is left out.

    Attributes
    ----------
    shares
        Shares of pairs left out, rising.
    false_matches, false_non_matches
        FMR and FNMR of the others; NaN where no pair of a kind is left.
    """

    shares: tuple[float, ...]
    false_matches: tuple[float, ...]
    false_non_matches: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; None where a rate is not known."""
        known = {
            name: [None if np.isnan(rate) else round(rate, 5) for rate in rates]
            for name, rates in (("fmr", self.false_matches), ("fnmr", self.false_non_matches))
        }
        return {"discarded": list(self.shares), **known}


@dataclass(frozen=True)
class Decisions:
    """Pairs decided at the threshold.

    Attributes
    ----------
    unified
        Unified score of the poorer face, (N,).
    match, genuine
        The decision and the truth, (N,).

    Raises
    ------
    InputError
        If the arrays differ in length, or there are none.
    """

    unified: NDArray[np.float64]
    match: NDArray[np.bool_]
    genuine: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if not len(self.unified) or not len(self.unified) == len(self.match) == len(self.genuine):
            raise InputError("decisions need a quality, a decision and the truth of every pair")

    def rates(self, kept: NDArray[np.bool_]) -> tuple[float, float]:
        """Return FMR and FNMR of the pairs that are kept; NaN without pairs of that kind."""
        strangers, same = kept & ~self.genuine, kept & self.genuine
        return (
            float(self.match[strangers].mean()) if strangers.any() else float("nan"),
            float((~self.match[same]).mean()) if same.any() else float("nan"),
        )

    def turned_away(self, limit: float) -> float:
        """Return the share of pairs that are turned away."""
        return float(np.mean(self.unified < limit))

    def at_limit(self, limit: float) -> dict[str, float]:
        """Return the shares turned away and the errors before and after."""
        before, after = self.rates(np.ones(len(self.unified), bool)), self.rates(self.unified >= limit)
        values = (self.turned_away(limit), *before, *after)
        names = ("turned_away", "fmr_before", "fnmr_before", "fmr_after", "fnmr_after")
        return {name: round(value, 5) for name, value in zip(names, values, strict=True)}

    def by_unified(self) -> list[dict[str, float]]:
        """Return for each bin of the unified score how much better than chance decisions are, 1 - FMR - FNMR."""
        found = []
        for low, high in pairwise(BINS):
            inside = (self.unified >= low) & ((self.unified < high) | (high == 1))
            fmr, fnmr = self.rates(inside)
            if np.isfinite([fmr, fnmr]).all():
                mean = float(self.unified[inside].mean())
                found.append({"pairs": int(inside.sum()), "unified": round(mean, 4), "gain": round(1 - fmr - fnmr, 4)})
        return found


def discard_curve(decisions: Decisions) -> DiscardCurve:
    """Leave out the poorest pairs, by the poorer face, and measure the errors of the others."""
    order = np.argsort(np.argsort(decisions.unified, kind="stable"), kind="stable")
    rates = [decisions.rates(order >= round(share * len(order))) for share in SHARES]
    return DiscardCurve(SHARES, tuple(fmr for fmr, _ in rates), tuple(fnmr for _, fnmr in rates))


_WIDTH, _HEIGHT, _GAP, _LEFT, _TOP = 280, 230, 70, 70, 120


def discard_figure(curves: Mapping[str, DiscardCurve], turned_away: Mapping[str, float]) -> Figure:
    """Draw one panel for each set of pairs: FMR and FNMR against the share left out, and where the limit lies.

    Parameters
    ----------
    curves
        One or more, by the name of the set.
    turned_away
        Share of pairs below the meter's limit, by the same names.
    """
    width = _LEFT + len(curves) * (_WIDTH + _GAP)
    sheet = Sheet(width, _TOP + _HEIGHT + 70)
    sheet.text(28, 40, "Errors when the poorest faces are left out", size=15, weight="bold")
    sheet.text(
        28, 66, "Shipped threshold; pairs ordered by the unified quality of the poorer face.", size=10, color=MUTED
    )
    for column, (name, curve) in enumerate(curves.items()):
        x = _LEFT + column * (_WIDTH + _GAP)
        sheet.text(x, _TOP - 14, name, size=11, weight="bold")
        axes = sheet.figure.add_axes(sheet.box(x, _TOP, _WIDTH, _HEIGHT))
        axes.set_label(name)
        dress(axes)
        for label, rates, color in (("FNMR", curve.false_non_matches, BLUE), ("FMR", curve.false_matches, RED)):
            axes.plot(100 * np.array(curve.shares), 100 * np.array(rates), color=color, linewidth=1.8, label=label)
        axes.axvline(100 * turned_away[name], color=MUTED, linewidth=1, linestyle="--", label="limit")
        axes.set_ylim(bottom=0)
        axes.set_xlabel("pairs left out, %", size=9, color=INK, family=FONT)
        axes.set_ylabel("error of the others, %", size=9, color=INK, family=FONT)
        axes.legend(frameon=False, prop={"family": FONT, "size": 8.5})
    return sheet.figure

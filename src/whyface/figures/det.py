"""The DET figure: both error rates on normal-deviate axes, where normal scores give straight lines.

A. Martin, G. Doddington, T. Kamm, M. Ordowski, M. Przybocki, The DET curve in assessment of detection task
performance, Eurospeech 1997.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from whyface.evaluate.summary import FEW_FALSE_MATCHES, Summary
from whyface.figures import curves
from whyface.figures.style import MUTED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TICKS: Final = (0.00001, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
_HIGHEST, _HIGHEST_WEAK, _WEAK_EER = 0.4, 0.8, 0.25


def probit(rates: ArrayLike) -> NDArray[np.float64]:
    """Map rates in (0, 1) to normal deviates; 0 and 1 go to -inf and inf."""
    quantile = NormalDist().inv_cdf
    values = np.asarray(rates, np.float64)
    # A curve repeats few distinct rates many times.
    distinct, place = np.unique(values, return_inverse=True)
    mapped = [quantile(rate) if 0 < rate < 1 else (-np.inf if rate <= 0 else np.inf) for rate in distinct.tolist()]
    return np.asarray(mapped, np.float64)[place].reshape(values.shape)


def det_figure(summaries: Mapping[str, Summary], *, title: str, subtitle: str = "") -> Figure:
    """Draw DET curves; the dots are the equal error rates.

    Parameters
    ----------
    summaries
        Results by kind of score, one to four.
    title, subtitle
        What the curves are of.

    Raises
    ------
    InputError
        If there are no curves or more than four.
    """
    page = curves.CurveSheet(summaries, title, subtitle)
    axes = page.axes
    # One scale for both axes, from one error in the larger of both samples, so that FMR = FNMR is the diagonal.
    lowest = min(0.1, 1.0 / max(page.impostors, page.genuine))
    weak = any(summary.eer > _WEAK_EER for summary in summaries.values())
    highest = _HIGHEST_WEAK if weak else _HIGHEST
    ends = probit([lowest, highest])
    axes.set_xlim(*ends)
    axes.set_ylim(*ends)
    rough = min(highest, page.rough)
    if rough > lowest:
        page.shade(float(ends[0]), float(probit([rough])[0]))
    axes.plot(ends, ends, color=MUTED, lw=0.8)
    for kind, summary in summaries.items():
        _draw(page, kind, summary, lowest)
    ticks = [tick for tick in _TICKS if lowest <= tick <= highest]
    labels = [f"{100 * tick:g}" for tick in ticks]
    axes.set_xticks(probit(ticks), labels)
    axes.set_yticks(probit(ticks), labels)
    page.name_axes("False match rate, % (normal deviates)", "False non-match rate, % (normal deviates)")
    values = {
        kind: curves.with_interval("EER", summary.eer, summary.eer_interval) for kind, summary in summaries.items()
    }
    for kind, summary in summaries.items():
        for rate in summary.at_fmr:
            if rate.fnmr is not None:
                values[kind].append(f"FNMR {100 * rate.fnmr:.2f} % at FMR {100 * rate.target:g} %")
    page.draw_key(
        values,
        f"Dots: equal error rates. Bands and ranges: 95 %, resampling people. Grey: fewer than {FEW_FALSE_MATCHES} of "
        f"the {page.impostors} impostor pairs match, so the rates are rough.",
    )
    return page.sheet.figure


def _draw(page: curves.CurveSheet, kind: str, summary: Summary, lowest: float) -> None:
    # Rates of 0 lie infinitely far out; a step below the frame's edge is far enough.
    beyond = lowest / 4
    if summary.band is not None:
        band = summary.band
        inside = band.fmr < 1
        low, high = (probit(np.clip(end[inside], beyond, 1 - beyond)) for end in (band.low, band.high))
        page.fill(kind, probit(band.fmr[inside]), low, high)
    fmr, fnmr = curves.from_edge(summary.roc.fmr, 1 - summary.roc.tar, lowest)
    page.draw(kind, probit(np.clip(fmr, beyond, 1 - beyond)), probit(np.clip(fnmr, beyond, 1 - beyond)))
    if summary.eer > lowest:
        point = probit([summary.eer])
        page.axes.plot(point, point, "o", ms=6, color=page.strokes[kind].color, mec="white", mew=1.2, zorder=4)

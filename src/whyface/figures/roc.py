"""The ROC figure: true accept rate over false accept rate, on the rates that matter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from whyface.evaluate.summary import FEW_FALSE_MATCHES, Summary
from whyface.figures import curves

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def roc_figure(summaries: Mapping[str, Summary], *, title: str, subtitle: str = "") -> Figure:
    """Draw ROC curves with a logarithmic FAR axis, since a verifier works where false accepts are rare.

    The axis begins where the sample ends, at one false accept.

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
    axes, least = page.axes, 1.0 / page.impostors
    if least < page.rough < 1:
        page.shade(least, page.rough)
    # At worst the weakest curve uses the lower end of the axis, never less than the top twentieth is shown.
    floor = 1.0
    for kind, summary in summaries.items():
        if summary.band is not None:
            band = summary.band
            page.fill(kind, band.fmr, 1 - band.high, 1 - band.low)
            floor = min(floor, 1 - float(band.high.max()))
        fmr, tar = curves.from_edge(summary.roc.fmr, summary.roc.tar, least)
        page.draw(kind, fmr, tar)
        floor = min(floor, float(tar[0]))
    axes.set_xscale("log")
    axes.set_xlim(least, 1)
    axes.set_ylim(max(0.0, min(0.95, np.floor(floor * 20) / 20)), 1)
    ticks = [10.0**power for power in range(-8, 1) if 10.0**power >= least * (1 - 1e-9)]
    axes.set_xticks(ticks, [f"{100 * tick:g} %" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    page.name_axes("False accept rate (logarithmic)", "True accept rate")
    values = {}
    for kind, summary in summaries.items():
        values[kind] = curves.with_interval("AUC", summary.auc, summary.auc_interval, 3)
        for rate in summary.at_fmr:
            if rate.tar is not None:
                values[kind].append(f"TAR {100 * rate.tar:.2f} % at FAR {100 * rate.target:g} %")
    page.draw_key(
        values,
        f"Bands and ranges: 95 %, resampling people. Grey: fewer than {FEW_FALSE_MATCHES} of the {page.impostors} "
        "impostor pairs accepted, so the rates are rough.",
    )
    return page.sheet.figure

"""The ROC figure: true accept rate over false accept rate, on the rates that matter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from whyface.evaluate.report import KIND_NAMES
from whyface.evaluate.summary import FEW_FALSE_MATCHES, Summary
from whyface.figures import curves
from whyface.figures.style import Sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHADE = "#eef0f3"


def roc_figure(summaries: Mapping[str, Summary], *, title: str, subtitle: str = "") -> Figure:
    """Draw ROC curves with a logarithmic FAR axis, since a verifier works where false accepts are rare.

    The axis begins where the sample ends, at one false accept. Steps, not slopes: between two thresholds there is
    nothing to be had.

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
    lines = curves.strokes(summaries)
    sheet = Sheet(curves.WIDTH, curves.HEIGHT)
    axes = curves.framed_axes(sheet, title, subtitle)
    impostors = min(summary.impostor_pairs for summary in summaries.values())
    least = 1.0 / impostors
    # At worst the weakest curve uses the lower end of the axis, never less than the top twentieth is shown.
    floor = min(float(summary.roc.tar[summary.roc.fmr <= least * (1 + 1e-9)].max()) for summary in summaries.values())
    lows = [float(s.band.high.max()) for s in summaries.values() if s.band is not None]
    floor = min([floor, *(1 - high for high in lows)])
    floor = min(0.95, np.floor(floor * 20) / 20)
    rough = FEW_FALSE_MATCHES / impostors
    if least < rough < 1:
        axes.axvspan(least, rough, color=_SHADE, lw=0, zorder=0)
    for kind, stroke in lines.items():
        summary = summaries[kind]
        if summary.band is not None:
            band = summary.band
            axes.fill_between(band.fmr, 1 - band.high, 1 - band.low, color=stroke.color, alpha=0.13, lw=0)
        shown = summary.roc.fmr > least * (1 + 1e-9)
        fmr = np.concatenate(([least], summary.roc.fmr[shown]))
        tar = np.concatenate(([summary.roc.tar[summary.roc.fmr <= least * (1 + 1e-9)].max()], summary.roc.tar[shown]))
        (line,) = axes.plot(fmr, tar, color=stroke.color, lw=1.8, drawstyle="steps-post", label=kind)
        if stroke.dashes:
            line.set_dashes(stroke.dashes)
    axes.set_xscale("log")
    axes.set_xlim(least, 1)
    axes.set_ylim(max(0.0, floor), 1)
    ticks = [10.0**power for power in range(-8, 1) if 10.0**power >= least * (1 - 1e-9)]
    axes.set_xticks(ticks, [f"{100 * tick:g} %" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    curves.name_axes(axes, "False accept rate (logarithmic)", "True accept rate")
    values = {}
    for kind, summary in summaries.items():
        values[kind] = curves.with_interval("AUC", summary.auc, summary.auc_interval, 3)
        for rate in summary.at_fmr:
            if rate.tar is not None:
                values[kind].append(f"TAR {100 * rate.tar:.2f} % at FAR {100 * rate.target:g} %")
    y = curves.draw_key(sheet, lines, KIND_NAMES, values)
    curves.draw_note(
        sheet,
        y + 4,
        f"Bands and ranges: 95 %, resampling people. Grey: fewer than {FEW_FALSE_MATCHES} of the {impostors} impostor "
        "pairs accepted, so the rates are rough.",
    )
    return sheet.figure

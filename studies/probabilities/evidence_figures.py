"""Tippett curves and empirical cross-entropy of likelihood ratios, one column for each set of pairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.evaluate.likelihood import empirical_cross_entropy, pav, report_cllr, tippett
from whyface.figures.style import BLUE, FONT, INK, MUTED, RED, Sheet, dress
from whyface.models.calibration import Calibration

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDTH, _HEIGHT, _GAP, _LEFT, _TOP = 250, 200, 66, 66, 118


def evidence_figure(
    sets: Mapping[str, tuple[NDArray[np.float64], NDArray[np.bool_]]], calibration: Calibration
) -> Figure:
    """Draw log10 LR and truth of sets of pairs, by name: Tippett curves above, cross-entropy below.

    Raise InputError if there are no sets.
    """
    if not sets:
        raise InputError("the figure needs at least one set of pairs")
    width = _LEFT + len(sets) * (_WIDTH + _GAP)
    sheet = Sheet(width, _TOP + 2 * _HEIGHT + 150)
    sheet.text(28, 40, "How strong is the evidence?", size=15, weight="bold")
    sheet.text(28, 66, f"{calibration.describe()}; ratios within the bounds of that sample.", size=10, color=MUTED)
    levels, odds = np.linspace(-3, 5, 161), np.linspace(-3, 3, 121)
    for column, (name, (values, genuine)) in enumerate(sets.items()):
        x = _LEFT + column * (_WIDTH + _GAP)
        cost = report_cllr(values, genuine)
        sheet.text(x, _TOP - 26, name, size=11, weight="bold")
        sheet.text(x, _TOP - 9, f"Cllr {cost.cllr:.3f}, min {cost.cllr_min:.3f}, cal {cost.cllr_cal:.3f}", size=9)
        above = sheet.figure.add_axes(sheet.box(x, _TOP, _WIDTH, _HEIGHT))
        above.set_label(f"tippett {name}")
        same, strangers = tippett(values, genuine, levels)
        above.plot(levels, 100 * same, color=BLUE, linewidth=1.8, label="one person")
        above.plot(levels, 100 * strangers, color=RED, linewidth=1.8, label="strangers")
        above.set_ylabel("pairs above, %", size=9, color=INK, family=FONT)
        above.set_xlabel("log10 LR", size=9, color=INK, family=FONT)
        below = sheet.figure.add_axes(sheet.box(x, _TOP + _HEIGHT + 76, _WIDTH, _HEIGHT))
        below.set_label(f"cross-entropy {name}")
        curves = {
            "as given": (values, BLUE, "-"),
            "best calibration": (pav(values, genuine), MUTED, "--"),
            "LR 1 for all": (np.zeros(len(values)), RED, ":"),
        }
        for label, (ratios, color, line) in curves.items():
            found = empirical_cross_entropy(ratios, genuine, odds)
            below.plot(odds, found, color=color, linestyle=line, linewidth=1.6, label=label)
        below.set_ylabel("cross-entropy, bits", size=9, color=INK, family=FONT)
        below.set_xlabel("prior, log10 odds", size=9, color=INK, family=FONT)
        for axes in (above, below):
            dress(axes)
            axes.set_ylim(bottom=0)
            axes.legend(frameon=False, prop={"family": FONT, "size": 8})
    return sheet.figure

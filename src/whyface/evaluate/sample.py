"""Error rates at one threshold, what a sample of pairs can show, and how many pairs a rate needs.

Rule of 3: after n pairs without an error, the rate is below 3 / n with 95 % confidence. Rule of 30: with 30 errors, the
true rate is within 30 % of the measured one with 90 % confidence. Both count independent pairs.

References
----------
A. J. Mansfield, J. L. Wayman, Best practices in testing and reporting performance of biometric devices, NPL report CMSC
14/02 (2002): both rules.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from whyface.errors import InputError
from whyface.evaluate.intervals import Interval, people_wilson, wilson
from whyface.evaluate.rates import checked_pairs

ERRORS_FOR_30: Final = 30
WIDTHS: Final = (0.5, 0.25, 0.1)
"""Half widths of an interval, as shares of the rate, that a plan lists."""
RATES: Final = ("fmr", "fnmr")


@dataclass(frozen=True)
class RatesAt:
    """Both error rates at a threshold that is taken as given, with 95 % intervals over people."""

    threshold: float
    origin: str
    false_matches: int
    impostor_pairs: int
    fmr: float
    fmr_interval: Interval
    missed: int
    genuine_pairs: int
    fnmr: float
    fnmr_interval: Interval

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}

    def describe(self) -> str:
        """Return both rates in one line."""
        rates = []
        for name, rate, ends, errors, of in (
            ("FMR", self.fmr, self.fmr_interval, self.false_matches, self.impostor_pairs),
            ("FNMR", self.fnmr, self.fnmr_interval, self.missed, self.genuine_pairs),
        ):
            rates.append(f"{name} {100 * rate:.3g} % ({100 * ends.low:.3g} to {100 * ends.high:.3g}; {errors} of {of})")
        return f"above {self.threshold:.4f} ({self.origin}): {', '.join(rates)}"


def rates_at(
    scores: ArrayLike,
    genuine: ArrayLike,
    people_a: Sequence[str] | NDArray[np.intp],
    people_b: Sequence[str] | NDArray[np.intp],
    threshold: float,
    origin: str,
) -> RatesAt:
    """Measure FMR and FNMR at a threshold; raise InputError if the arrays do not fit or the threshold is no number.

    Parameters
    ----------
    origin
        Where the threshold is from.
    """
    values, labels = checked_pairs(scores, genuine)
    if not math.isfinite(threshold):
        raise InputError(f"a threshold must be a number, got {threshold}")
    first, second = np.asarray(people_a), np.asarray(people_b)
    matched = values > threshold
    false, missed = matched[~labels], ~matched[labels]
    return RatesAt(
        threshold,
        origin,
        int(false.sum()),
        len(false),
        float(false.mean()),
        people_wilson(false, first[~labels], second[~labels]),
        int(missed.sum()),
        len(missed),
        float(missed.mean()),
        people_wilson(missed, first[labels], second[labels]),
    )


def sample_limits(genuine_pairs: int, impostor_pairs: int) -> dict[str, Any]:
    """Return what so many independent pairs can show: the lowest rates by the rules of 3 and of 30."""
    limits: dict[str, Any] = {}
    for name, pairs in (("fmr", impostor_pairs), ("fnmr", genuine_pairs)):
        limits[name] = {
            "pairs": pairs,
            "rule_of_3": min(1.0, 3 / pairs) if pairs else None,
            "rule_of_30": min(1.0, ERRORS_FOR_30 / pairs) if pairs else None,
        }
    return limits


def describe_limits(limits: dict[str, Any]) -> list[str]:
    """Return the limits in words, a line for each rate."""
    lines = []
    for name, found in limits.items():
        if found["pairs"]:
            # Two digits, and 100 instead of 1e+02.
            least, rough = (f"{float(f'{100 * found[rule]:.2g}'):g}" for rule in ("rule_of_3", "rule_of_30"))
            lines.append(
                f"{name.upper()}: {found['pairs']} pairs without an error would show a rate below {least} % (rule "
                f"of 3); rates below {rough} % are known only roughly (rule of 30)."
            )
    return lines


def plan(rate: str) -> dict[str, Any]:
    """Return how many independent pairs are needed to measure a rate.

    Parameters
    ----------
    rate
        Such as ``"fmr=1e-4"`` or ``"fnmr=0.01"``.

    Raises
    ------
    InputError
        If it is nothing like that.
    """
    name, _, text = rate.partition("=")
    name = name.strip().lower()
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    # The counts of pairs for the smallest numbers there are would overflow.
    if name not in RATES or not 1e-12 <= value < 1:
        raise InputError(f"a plan is for a rate between 1e-12 and 1, such as fmr=1e-4 or fnmr=0.01; got {rate!r}")
    document: dict[str, Any] = {
        "rate": name,
        "value": value,
        "rule_of_3": math.ceil(math.log(0.05) / math.log1p(-value)),
        "rule_of_30": math.ceil(ERRORS_FOR_30 / value - 1e-9),
        "pairs_for_half_width": {f"{width:g}": _pairs_for(value, width) for width in WIDTHS},
    }
    if name == "fmr":
        # P people with a picture each make P (P - 1) / 2 pairs of strangers.
        needed = document["rule_of_30"]
        document["people_all_pairs"] = math.ceil((1 + math.sqrt(1 + 8 * needed)) / 2 - 1e-9)
        document["people_in_pairs_of_their_own"] = 2 * needed
    return document


def describe_plan(document: dict[str, Any]) -> str:
    """Return a plan in words."""
    name = "impostor pairs" if document["rate"] == "fmr" else "genuine pairs"
    what = f"{document['rate'].upper()} of {document['value']:g}"
    rows = [
        ("to show that the rate is below it, if none errs (95 %, rule of 3)", document["rule_of_3"]),
        ("to know it within 30 % (90 %, rule of 30)", document["rule_of_30"]),
    ]
    rows += [
        (f"for a 95 % interval of +-{100 * float(width):g} % of it", pairs)
        for width, pairs in document["pairs_for_half_width"].items()
    ]
    lines = [f"{what}: independent {name} needed", *(f"  {text:<65}   {pairs:>12,}" for text, pairs in rows)]
    if document["rate"] == "fmr":
        lines.append(
            f"{document['people_all_pairs']:,} people with one picture each make so many pairs for the rule of 30, but "
            "these share people and are worth fewer; "
            f"{document['people_in_pairs_of_their_own']:,} people make them independent."
        )
    else:
        lines.append("Pairs of one person are not independent: count people, a pair each.")
    return "\n".join(lines)


def _pairs_for(rate: float, width: float) -> int:
    """Return the fewest pairs whose Wilson interval, at this rate, reaches no further up than ``width`` of it."""
    low, high = 1, 1
    while wilson(rate * high, high).high > rate * (1 + width):
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        if wilson(rate * middle, middle).high > rate * (1 + width):
            low = middle + 1
        else:
            high = middle
    return high

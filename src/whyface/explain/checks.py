"""Checks of a photo and its face by other programs, such as one for photos of photos, listed beside a verdict.

None comes with whyface. An installed package offers a :class:`Check` in the entry point group ``whyface.checks``;
:func:`register_check` adds one in Python. Only those asked for by name run, and no verdict depends on them.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError, shortened
from whyface.explain.registry import EntryRegistry
from whyface.faces.face import Face
from whyface.faces.photo import MAX_PIXELS
from whyface.faces.picture_input import PictureInput, read_picture

GROUP: Final = "whyface.checks"
"""The entry point group in which an installed package offers checks, each a :class:`Check`."""


@dataclass(frozen=True)
class CheckScore:
    """What a check found in one photo.

    Attributes
    ----------
    score
        Higher is more suspicious.
    limit
        The check's own limit, above which it speaks of a finding; None if it has none.
    error_rates
        Error rates at the limit, in [0, 1], by name, such as ``{"APCER": 0.05, "BPCER": 0.01}``.
    measured_on
        The data that they were measured on.
    """

    score: float
    limit: float | None = None
    error_rates: Mapping[str, float] = field(default_factory=dict)
    measured_on: str = ""


@dataclass(frozen=True)
class Check:
    """A check by its name.

    Attributes
    ----------
    name, title
        Its name on the command line, and what it looks for.
    run
        Called with the photo, RGB uint8 (H, W, 3), and the face in it; returns a :class:`CheckScore`.
    """

    name: str
    title: str
    run: Callable[[NDArray[np.uint8], Face], CheckScore]


@dataclass(frozen=True)
class CheckResult:
    """The result of a check of one photo; ``error`` says why there is none."""

    check: str
    title: str
    photo: str
    found: CheckScore | None
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        score = None if self.found is None else {**vars(self.found), "error_rates": dict(self.found.error_rates)}
        return {"check": self.check, "title": self.title, "photo": self.photo, "error": self.error, "found": score}

    def describe(self) -> str:
        """Return the result in one line."""
        said = f"Check {self.check}, photo {self.photo} ({self.title}): "
        if self.found is None:
            return f"{said}failed ({' '.join(str(self.error).split())})"
        found = self.found
        where = ""
        if found.limit is not None:
            where = f", {'above' if found.score > found.limit else 'not above'} its limit {found.limit:g}"
        rates = ", ".join(f"{name} {100 * rate:.3g} %" for name, rate in found.error_rates.items())
        known = f"{rates} on {found.measured_on}" if rates else "its error rates are not known"
        return f"{said}{found.score:.4g}{where}; {known}. The verdict does not depend on it."


CHECKS: Final = EntryRegistry(Check, GROUP, "check")
"""All checks by name."""


def register_check(check: Check) -> Check:
    """Add a check, and return it; raise InputError if it is none, or its name is invalid or taken."""
    CHECKS.register(check)
    return check


def find_checks(names: Sequence[str]) -> list[Check]:
    """Return checks by name; raise InputError if there is no such check, or its package is broken."""
    found = []
    for name in names:
        if name not in CHECKS:
            broken = CHECKS.why_broken(name)
            if broken is not None:
                raise InputError(f"the check {shortened(name)!r} cannot be loaded: {shortened(broken)}")
            close = difflib.get_close_matches(name, CHECKS, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            known = ", ".join(CHECKS) or "none; none comes with whyface"
            raise InputError(f"there is no check {shortened(name)!r}; {hint}installed: {known}")
        found.append(CHECKS[name])
    return found


def run_checks(
    checks: Sequence[Check],
    photos: Sequence[PictureInput | Face],
    faces: Sequence[Face],
    bgr: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> tuple[CheckResult, ...]:
    """Run all checks on photo A and B with their faces; raise InputError if a photo is a face or a file read once."""
    results = []
    for letter, photo, face in zip("AB", photos if checks else (), faces, strict=bool(checks)):
        if isinstance(photo, Face) or hasattr(photo, "seek"):
            raise InputError("a check needs the whole photo: give a path, bytes or an array")
        array = isinstance(photo, np.ndarray)
        pixels = read_picture(photo, bgr=bgr and array, max_pixels=max_pixels).pixels
        results += [run_check(check, pixels, face, letter) for check in checks]
    return tuple(results)


def run_check(check: Check, photo: NDArray[np.uint8], face: Face, letter: str) -> CheckResult:
    """Run a check on copies of photo and face; whatever it raises or returns becomes a result."""
    try:
        found = _checked(check.run(photo.copy(), face))
    except Exception as error:  # A check of another package may raise anything.
        return CheckResult(check.name, check.title, letter, None, shortened(f"{type(error).__name__}: {error}"))
    return CheckResult(check.name, check.title, letter, found)


def _checked(found: Any) -> CheckScore:
    if not isinstance(found, CheckScore):
        raise TypeError(f"it returned {type(found).__name__}, not a CheckScore")
    score, limit = float(found.score), None if found.limit is None else float(found.limit)
    if not math.isfinite(score) or not math.isfinite(limit or 0.0):
        raise ValueError("its score or limit is not a finite number")
    rates = {str(name): float(rate) for name, rate in found.error_rates.items()}
    if not all(0 <= rate <= 1 for rate in rates.values()):
        raise ValueError("an error rate is not between 0 and 1")
    if rates and not found.measured_on:
        raise ValueError("it has error rates, but does not say what they were measured on")
    return CheckScore(score, limit, rates, str(found.measured_on))

"""How much work a run of the bench is: methods that need thousands of network runs a pair may have to do with fewer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(frozen=True)
class Effort:
    """Settings that trade precision for time; results files record them.

    Attributes
    ----------
    options
        Options of methods, by the method's name.
    slow_pairs
        So many of the first pairs for the methods in :data:`SLOW`; None for all.
    limits
        So many of the first pairs for tests, by the test's name.
    """

    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    slow_pairs: int | None = None
    limits: Mapping[str, int] = field(default_factory=dict)


SLOW: Final = frozenset({"xface", "corrrise", "kernelshap", "fggb", "ebp"})
"""Methods that take long: hundreds of network runs a pair, or runs with every layer watched."""

EFFORTS: Final[Mapping[str, Effort]] = {
    "full": Effort(),
    "light": Effort(
        options={
            "xface": {"patch_sizes": (28,), "stride": 12},
            "corrrise": {"masks": 128},
            "kernelshap": {"trials": 96},
            "fggb": {"dimensions": 48},
        },
        slow_pairs=100,
        limits={
            "erasure": 500,
            "erasure-blur": 100,
            "erasure-noise": 100,
            "pointing": 300,
            "stability": 60,
            "randomisation": 10,
        },
    ),
}
"""``full``: every method with its own defaults, on all pairs; ``light``: about a tenth of the network runs."""

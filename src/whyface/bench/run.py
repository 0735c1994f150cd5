"""Run the bench, and choose how many pairs each method and test uses: slow methods may use fewer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.bench.base import BenchTest, PairChunk, Remembered, Subject, missing_chunks, rows
from whyface.bench.other_maps import Substitutes
from whyface.data.protocols import PairProtocol
from whyface.faces.pictures import PictureSource
from whyface.files.parts import Parts, Rows, part_bytes
from whyface.files.progress import ProgressCallback


@dataclass(frozen=True)
class Effort:
    """Settings that trade precision for time; results files record them.

    Attributes
    ----------
    options
        Options of methods, by the method's name.
    slow_pairs
        Number of first pairs for the methods in :data:`SLOW`; None for all.
    limits
        Number of first pairs for tests, by name.
    """

    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    slow_pairs: int | None = None
    limits: Mapping[str, int] = field(default_factory=dict)


SLOW: Final = frozenset({"xface", "corrrise", "dise", "kernelshap", "fggb", "ebp", "subtree-ebp", "evidence-sum"})
"""Slow methods: hundreds of network runs per pair, or runs that record every layer."""

EFFORTS: Final[Mapping[str, Effort]] = {
    "full": Effort(),
    "light": Effort(
        options={
            "xface": {"patch_sizes": (28,), "stride": 12},
            "corrrise": {"masks": 128},
            "dise": {"masks": 128},
            "kernelshap": {"trials": 96},
            "fggb": {"dimensions": 48},
            "subtree-ebp": {"top": 2},
        },
        slow_pairs=100,
        limits={
            **dict.fromkeys(("erasure", "erasure-blur", "erasure-noise"), 500),
            **dict.fromkeys(("pointing", "painting", "partner"), 300),
            **dict.fromkeys(("saco", "randomisation"), 100),
            # Other maps of the same pair are dear only where pictures are made and the network runs on them.
            **dict.fromkeys(("erasure specific", "erasure-blur specific", "erasure-noise specific"), 30),
            **dict.fromkeys(("replacement specific", "saco specific"), 100),
            "stability": 60,
        },
    ),
}
"""``full``: every method with its own defaults, on all pairs; ``light``: about a tenth of the network runs."""


CHUNK: Final = 10
"""Number of pairs that are explained together and stored in one file."""


def limit_of_gains(test: str) -> str:
    """Return the name of the limit of pairs on which a test is run with other maps, too."""
    return f"{test} specific"


COST: Final = "cost"
"""Name of the cost, in passes and seconds, among the tests."""


def run_chunk(
    chunk: PairChunk,
    subject: Subject,
    tests: Sequence[BenchTest],
    *,
    start: int = 0,
    limits: Mapping[str, int] | None = None,
    substitutes: Substitutes | None = None,
) -> list[tuple[str, Rows]]:
    """Run all tests on one chunk, and add the method's cost as rows of a test named ``cost``.

    Parameters
    ----------
    start
        Place of the chunk's first pair among all pairs of the run.
    limits
        Number of first pairs for some tests, by name, and by :func:`limit_of_gains` for those that get other maps.
    substitutes
        Puts other maps in the place of a pair's own; None for no such controls.
    """
    explain = Remembered(subject.method)
    results = []
    places = start + np.arange(len(chunk))
    for test in tests:
        wanted = places < (limits or {}).get(test.name, start + len(chunk))
        part = chunk if wanted.all() else chunk.only(wanted)
        if len(part):
            results += [(test.name, found) for found in test.run(part, subject, explain)]
            few = part.only(places[wanted] < (limits or {}).get(limit_of_gains(test.name), start + len(chunk)))
            if substitutes is not None and len(few):
                results += substitutes.run(test, few, explain)
    if explain.cost is not None:
        for measure, value in zip(("seconds", "processor", "forward", "backward"), explain.cost, strict=True):
            results.append((COST, rows(measure, chunk, (0.0,), np.full(len(chunk), float(value)))))
    return results


def run_bench(
    subject: Subject,
    tests: Sequence[BenchTest],
    protocol: PairProtocol,
    source: PictureSource,
    numbers: NDArray[np.intp],
    folder: Path,
    *,
    seed: int,
    chunk_size: int = CHUNK,
    limits: Mapping[str, int] | None = None,
    substitutes: Substitutes | None = None,
    progress: ProgressCallback | None = None,
) -> None:
    """Run all chunks that have no file yet, or a damaged one; call :func:`whyface.files.parts.open_folder` before.

    Parameters
    ----------
    subject
        Method, model and threshold.
    tests
        The tests to run.
    protocol, source
        Pairs and their pictures.
    numbers
        Numbers of the pairs.
    folder
        Folder of the results, one file per chunk.
    seed
        Seed of all random draws.
    chunk_size
        Pairs per file; they are explained together.
    limits
        Number of first pairs for some tests, by name, see :func:`run_chunk`.
    substitutes
        Puts other maps in the place of a pair's own, see :mod:`whyface.bench.other_maps`; None for no such controls.
    progress
        Called after every chunk with the pairs done and their total.

    Raises
    ------
    DataError
        If a picture cannot be read.
    OutputError
        If a result cannot be written.
    """
    parts = Parts(folder)
    for part, chunk in missing_chunks(parts, protocol, source, numbers, chunk_size, seed=seed, progress=progress):
        done = run_chunk(chunk, subject, tests, start=part * chunk_size, limits=limits, substitutes=substitutes)
        parts.write(part, part_bytes(done))

"""Run a batch: chunk after chunk, what is done already is not done again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from whyface.batch.comparer import Comparer, ComparerSettings, PairResult
from whyface.batch.pair_source import PairSource, PhotoPair
from whyface.batch.result_file import ResultParts
from whyface.errors import InputError, OutputError
from whyface.evaluate.progress import ProgressCallback
from whyface.explain.xcos_method import XcosMethod, software_versions
from whyface.faces.face import FACE_SIZE

CHUNK: Final = 256
"""Pairs per part: so many are lost at most when a run is killed."""

Chunk = tuple[int, list[PhotoPair]]


class Engine(Protocol):
    """Something that compares chunks, in any order."""

    def __call__(self, chunks: Iterator[Chunk], write: Callable[[int, list[PairResult]], None]) -> None:
        """Compare every chunk and hand its results to ``write`` exactly once."""
        ...


@dataclass(frozen=True)
class BatchReport:
    """How many rows there are, how many of them hold an error instead of a score, and how many were there before."""

    rows: int
    errors: int
    resumed: int


def run_batch(
    source: PairSource,
    settings: ComparerSettings,
    out: Path,
    *,
    threads: int | None = None,
    chunk: int = CHUNK,
    engine: Engine | None = None,
    progress: ProgressCallback | None = None,
) -> BatchReport:
    """Compare all pairs and write one Parquet file.

    Memory holds one chunk of pairs and the features of the photos seen last. A run that was stopped, however hard, goes
    on where it was when the same call is made again.

    Parameters
    ----------
    source
        The pairs.
    settings
        How to compare them.
    out
        The Parquet file; parts lie in a folder beside it until all are done.
    threads
        Threads of ONNX Runtime.
    chunk
        Pairs per part.
    engine
        What compares the chunks; this process by default.
    progress
        Called with pairs done and their number.

    Raises
    ------
    DataError
        If parts of another batch lie there.
    OutputError
        If the result exists already or cannot be written.
    InputError, ModelError
        If the settings do not fit.
    """
    if out.exists():
        raise OutputError(f"{out}: exists already; choose another name or remove it")
    comparer = Comparer(settings, source.folder, threads=threads)
    described = {
        **source.describe(),
        **settings.to_dict(),
        "chunk": chunk,
        "model_sha256": comparer.sha256,
        "threshold_used": comparer.threshold,
    }
    cells = _cells(comparer) if settings.maps else 0
    parts = ResultParts(out, described, threshold=comparer.threshold, columns=source.columns, maps=cells)
    total, done, chunks, resumed = source.count(), 0, 0, 0

    def written(size: int) -> None:
        nonlocal done
        done += size
        if progress is not None:
            progress(done, total)

    def waiting() -> Iterator[Chunk]:
        nonlocal chunks, resumed
        for number, pairs in source.chunks(chunk):
            chunks = number + 1
            if parts.done(number):
                resumed += len(pairs)
                written(len(pairs))
            else:
                yield number, pairs

    def write(number: int, results: list[PairResult]) -> None:
        parts.write(number, results)
        written(len(results))

    (engine or _in_this_process(comparer))(waiting(), write)
    metadata: dict[str, Any] = {**described, "versions": software_versions(), "resumed_rows": resumed}
    rows, errors = parts.merge(range(chunks), metadata)
    return BatchReport(rows, errors, resumed)


def _in_this_process(comparer: Comparer) -> Engine:
    def run(chunks: Iterator[Chunk], write: Callable[[int, list[PairResult]], None]) -> None:
        for number, pairs in chunks:
            write(number, comparer(pairs))

    return run


def _cells(comparer: Comparer) -> int:
    """Count the cells of a grid."""
    method = comparer.verifier.method
    if not isinstance(method, XcosMethod):
        raise InputError(f"model {comparer.settings.model!r} compares embeddings, so there is no S and W to keep")
    blank = method.model.grid(np.zeros((1, 3, FACE_SIZE, FACE_SIZE), np.uint8))
    return int(np.prod(blank.shape[2:]))

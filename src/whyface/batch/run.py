"""Run a batch: one Parquet part per chunk, merged into one file at the end; finished parts are not repeated."""

from __future__ import annotations

import io
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from whyface.batch.comparer import Comparer, ComparerSettings, PairResult
from whyface.batch.pair_source import PairSource, PhotoPair
from whyface.batch.result_file import (
    CSV,
    PARQUET,
    about_path,
    read_description,
    result_ending,
    write_results,
)
from whyface.engines import Engine, here
from whyface.errors import DataError, InputError, OutputError, reason
from whyface.explain.verdict import software_versions
from whyface.faces.face import FACE_SIZE
from whyface.files.integrity import sync_folder
from whyface.files.parts import Parts, open_folder, parquet_modules
from whyface.files.progress import ProgressCallback
from whyface.gallery.feature_file import take_lock


class ResultParts:
    """The parts of one batch, in a folder next to the result.

    Raise DataError if there are parts of another batch, OutputError if the folder cannot be written or another process
    writes to it, and InputError if pyarrow is missing.

    Parameters
    ----------
    out
        The resulting file.
    settings
        Settings of the batch, as JSON values.
    threshold
        Threshold for the columns ``threshold`` and ``margin``.
    columns
        Columns passed through.
    maps
        Number of places of S and W to keep, 0 for none.
    """

    def __init__(
        self, out: Path, settings: Mapping[str, Any], *, threshold: float, columns: Sequence[str], maps: int
    ) -> None:
        self.out = out
        self.folder = parts_folder(out)
        self._threshold = threshold
        self._columns = tuple(columns)
        self._maps = maps
        parquet_modules()
        open_folder(self.folder, settings)
        self._lock = take_lock(self.folder, "batch")
        self._parts = Parts(self.folder)

    def release(self) -> None:
        """Let another process write the parts."""
        self._lock.release()

    def done(self, number: int) -> bool:
        """Return whether a chunk is completely on disk."""
        return self._parts.has(number)

    def write(self, number: int, results: Sequence[PairResult]) -> None:
        """Write one chunk atomically; writing it twice changes nothing."""
        arrow, parquet = parquet_modules()
        buffer = io.BytesIO()
        parquet.write_table(arrow.Table.from_pylist([self._row(r) for r in results], self.schema()), buffer)
        self._parts.write(number, buffer.getvalue())

    def schema(self) -> Any:
        """Return the columns and their types."""
        arrow, _ = parquet_modules()
        fields = [("row", arrow.int64()), ("a", arrow.string()), ("b", arrow.string())]
        fields += [(name, arrow.string()) for name in self._columns]
        fields += [("verdict", arrow.string())]
        fields += [(name, arrow.float64()) for name in ("score", "threshold", "margin", "probability")]
        fields += [(name, arrow.string()) for name in ("probability_bound", "status", "doubt", "error")]
        fields += [("log10_lr", arrow.float64())]
        fields += [(name, arrow.float64()) for name in ("quality_a", "quality_b")]
        fields += [(name, arrow.int64()) for name in ("faces_a", "faces_b")] + [("same_picture", arrow.bool_())]
        fields += [("warning", arrow.string())]
        if self._maps:
            fields += [(name, arrow.list_(arrow.float32(), self._maps)) for name in ("S", "W")]
        return arrow.schema(fields)

    def merge(self, chunks: Iterable[int], metadata: Mapping[str, Any]) -> Counter[str]:
        """Merge all parts into the result, one at a time, and remove them.

        Return the number of rows with each verdict; ``"failed"`` counts those with an error. Raise DataError if a part
        is missing or damaged; the next run repeats it. Raise OutputError if the result cannot be written.
        """
        temporary = self.folder / "merged"
        try:
            found = write_results(temporary, self.out, map(self._read, chunks), self.schema(), metadata)
            temporary.replace(self.out)
            # Remove the parts only once the result is on disk under its name.
            sync_folder(self.out.parent)
            # Where an open file cannot be removed, the folder could not.
            self.release()
            remove_parts(self.folder)
        except OSError as error:
            raise OutputError(f"{self.out}: cannot be written ({reason(error)})") from error
        return found

    def _read(self, number: int) -> Any:
        arrow, parquet = parquet_modules()
        data = self._parts.read(number)
        try:
            return parquet.read_table(io.BytesIO(data)).cast(self.schema())
        except (OSError, arrow.ArrowException) as error:
            # A part of an older release without a checksum: only the reader notices damage.
            path = self._parts.remove(number)
            raise DataError(f"{path}: damaged; run the same command again, it makes this part anew") from error

    def _row(self, result: PairResult) -> dict[str, Any]:
        pair, score = result.pair, result.score
        return {
            "row": pair.row,
            "a": pair.a,
            "b": pair.b,
            **{name: pair.extra.get(name) for name in self._columns},
            "verdict": result.verdict,
            "score": score,
            "threshold": self._threshold,
            "margin": None if score is None else score - self._threshold,
            "probability": result.probability,
            "probability_bound": result.probability_bound,
            "log10_lr": result.log10_lr,
            "status": result.status,
            "doubt": result.doubt,
            "error": result.error,
            "quality_a": result.quality_a,
            "quality_b": result.quality_b,
            "faces_a": result.faces_a,
            "faces_b": result.faces_b,
            "same_picture": result.same_picture,
            "warning": result.warning,
            "S": None if result.similarity is None else result.similarity.ravel(),
            "W": None if result.attention is None else result.attention.ravel(),
        }


def parts_folder(out: Path) -> Path:
    """Return the folder of a batch's parts."""
    return out.with_name(f"{out.name}.parts")


def remove_parts(folder: Path) -> None:
    """Remove a batch's parts, then their settings, so that an interrupted removal still identifies the batch."""
    for path in folder.glob("part-*"):
        path.unlink()
    shutil.rmtree(folder)


CHUNK: Final = 256
"""Pairs per part: the most that are lost when a run is killed."""


@dataclass(frozen=True)
class BatchReport:
    """What a batch came to.

    Attributes
    ----------
    matches, non_matches, undecided, errors
        Rows with each verdict, and rows that hold an error instead.
    resumed
        Rows that were there from a run before.
    """

    matches: int
    non_matches: int
    undecided: int
    errors: int
    resumed: int

    @property
    def rows(self) -> int:
        """All rows."""
        return self.matches + self.non_matches + self.undecided + self.errors

    def describe(self) -> str:
        """Say how many rows have each verdict, such as ``"3 matches, 1 no match, 1 undecided, none failed"``."""
        match = "1 match" if self.matches == 1 else f"{self.matches} matches"
        return f"{match}, {self.non_matches} no match, {self.undecided} undecided, {self.errors or 'none'} failed"


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
    """Compare all pairs and write one file.

    Memory holds one chunk of pairs and the features of recent photos. An interrupted run, even a killed one, resumes
    when the same call is made again.

    Parameters
    ----------
    source
        The pairs.
    settings
        How to compare them.
    out
        The file, ``.parquet`` or ``.csv``; parts are kept in a folder next to it until all are done. The settings and
        versions are in a Parquet file's metadata, and in a JSON file next to a CSV file.
    threads
        Threads of ONNX Runtime; None leaves it to ONNX Runtime, and an engine's workers have one each.
    chunk
        Pairs per part.
    engine
        Where chunks are compared; by default in this process.
    progress
        Called with the number of pairs done and the total.

    Raises
    ------
    DataError
        If there are parts of another batch.
    OutputError
        If the result exists already or cannot be written.
    InputError, ModelError
        If the settings are invalid, or the file's name ends otherwise.
    """
    if result_ending(out) == CSV:
        if settings.maps:
            raise InputError(f"{out}: S and W do not fit into the cells of a CSV file; write {PARQUET}, or no maps")
        if about_path(out).exists() and not parts_folder(out).is_dir():
            raise _exists(about_path(out))
    if out.exists() and not parts_folder(out).is_dir():
        raise _exists(out)
    comparer = Comparer(settings, source.folder, threads=threads)
    described = {
        **source.describe(),
        **settings.to_dict(),
        "chunk": chunk,
        "model_sha256": comparer.sha256,
        "threshold_used": comparer.threshold,
    }
    if out.exists():
        return _finish(out, described)
    cells = _cells(comparer) if settings.maps else 0
    # Reads a list to its end: what is wrong there must not leave parts that refuse the corrected list.
    total = source.count()
    parts = ResultParts(out, described, threshold=comparer.threshold, columns=source.columns, maps=cells)
    done, chunks, resumed = 0, 0, 0

    def written(size: int) -> None:
        nonlocal done
        done += size
        if progress is not None:
            progress(done, total)

    def waiting() -> Iterator[tuple[int, list[PhotoPair]]]:
        nonlocal chunks, resumed
        for number, pairs in source.chunks(chunk):
            chunks = number + 1
            if parts.done(number):
                resumed += len(pairs)
                written(len(pairs))
            else:
                yield number, pairs

    if engine is None:
        found_in_order = here(lambda: comparer, waiting())
    else:
        # One thread for each worker, since there are as many workers as cores.
        found_in_order = engine(partial(Comparer, settings, source.folder.absolute(), threads=threads or 1), waiting())
    try:
        for number, results in found_in_order:
            parts.write(number, results)
            written(len(results))
        metadata: dict[str, Any] = {**described, "versions": software_versions(), "resumed_rows": resumed}
        found = parts.merge(range(chunks), metadata)
    finally:
        parts.release()
    return _report(found, resumed=resumed)


def _report(found: Counter[str], *, resumed: int) -> BatchReport:
    return BatchReport(found["match"], found["no match"], found["undecided"], found["failed"], resumed)


def _finish(out: Path, described: Mapping[str, Any]) -> BatchReport:
    """Remove the parts of a batch that was killed after its result was written.

    Raise OutputError if the result is not this batch's.
    """
    try:
        made, found = read_description(out)
    except (OSError, ValueError) as error:
        raise _exists(out) from error
    asked = json.loads(json.dumps(described))
    if {name: made.get(name) for name in asked} != asked:
        raise _exists(out)
    remove_parts(parts_folder(out))
    return _report(found, resumed=sum(found.values()))


def _exists(out: Path) -> OutputError:
    return OutputError(f"{out}: exists already; choose another name or remove it")


def _cells(comparer: Comparer) -> int:
    """Return the number of places of a grid."""
    if comparer.comparison.attention is None:
        raise InputError(f"model {comparer.settings.model!r} compares embeddings, so there is no S and W to keep")
    blank = comparer.comparison.features(np.zeros((1, 3, FACE_SIZE, FACE_SIZE), np.uint8))
    return int(np.prod(blank.shape[2:]))

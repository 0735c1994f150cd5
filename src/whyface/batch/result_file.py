"""A batch's results: one Parquet part per chunk while it runs, one file at the end."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from whyface.batch.comparer import PairResult
from whyface.bench.part_files import open_folder, part_path
from whyface.errors import DataError, OutputError
from whyface.evaluate.score_table import METADATA_KEY, parquet_modules
from whyface.models.atomic_write import write_atomic


class ResultParts:
    """The parts of one batch, in a folder beside the result.

    Parameters
    ----------
    out
        The Parquet file to be.
    settings
        What the batch was started with, as JSON values.
    threshold
        For the columns ``threshold`` and ``margin``.
    columns
        Columns passed through.
    maps
        Cells of S and W to keep, 0 for none.

    Raises
    ------
    DataError
        If there are parts of another batch.
    OutputError
        If the folder cannot be written.
    InputError
        If pyarrow is missing.
    """

    def __init__(
        self, out: Path, settings: Mapping[str, Any], *, threshold: float, columns: Sequence[str], maps: int
    ) -> None:
        self.out = out
        self.folder = out.with_name(f"{out.name}.parts")
        self._threshold = threshold
        self._columns = tuple(columns)
        self._maps = maps
        parquet_modules()
        open_folder(self.folder, settings)

    def done(self, number: int) -> bool:
        """Say whether a chunk is on the disk."""
        return part_path(self.folder, number).is_file()

    def write(self, number: int, results: Sequence[PairResult]) -> None:
        """Write one chunk, whole or not at all; writing it twice changes nothing."""
        arrow, parquet = parquet_modules()
        buffer = io.BytesIO()
        parquet.write_table(arrow.Table.from_pylist([self._row(r) for r in results], self.schema()), buffer)
        write_atomic(part_path(self.folder, number), buffer.getvalue())

    def schema(self) -> Any:
        """Give the columns and their types."""
        arrow, _ = parquet_modules()
        fields = [("row", arrow.int64()), ("a", arrow.string()), ("b", arrow.string())]
        fields += [(name, arrow.string()) for name in self._columns]
        fields += [("verdict", arrow.string())]
        fields += [(name, arrow.float64()) for name in ("score", "threshold", "margin", "probability")]
        fields += [("error", arrow.string())]
        if self._maps:
            fields += [(name, arrow.list_(arrow.float32(), self._maps)) for name in ("S", "W")]
        return arrow.schema(fields)

    def merge(self, chunks: Iterable[int], metadata: Mapping[str, Any]) -> tuple[int, int]:
        """Put all parts into the result, one at a time, and remove them.

        Returns
        -------
        Rows, and rows with an error.

        Raises
        ------
        DataError
            If a part is missing or damaged; it is removed, so that the next run makes it again.
        OutputError
            If the result cannot be written.
        """
        arrow, parquet = parquet_modules()
        text = json.dumps(metadata, ensure_ascii=False, allow_nan=False)
        schema = self.schema().with_metadata({METADATA_KEY: text.encode()})
        temporary = self.folder / "merged.parquet"
        rows = errors = 0
        try:
            with parquet.ParquetWriter(temporary, schema) as writer:
                for number in chunks:
                    table = self._read(number, arrow, parquet)
                    writer.write_table(table.cast(self.schema()).replace_schema_metadata(schema.metadata))
                    rows += table.num_rows
                    errors += table.num_rows - table.column("error").null_count
            temporary.replace(self.out)
            shutil.rmtree(self.folder)
        except OSError as error:
            raise OutputError(f"{self.out}: cannot be written ({error.strerror or error})") from error
        return rows, errors

    def _read(self, number: int, arrow: Any, parquet: Any) -> Any:
        path = part_path(self.folder, number)
        try:
            return parquet.read_table(io.BytesIO(path.read_bytes()))
        except (OSError, arrow.ArrowException) as error:
            path.unlink(missing_ok=True)
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
            "error": result.error,
            "S": None if result.similarity is None else result.similarity.ravel(),
            "W": None if result.attention is None else result.attention.ravel(),
        }

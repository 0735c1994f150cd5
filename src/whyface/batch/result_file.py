"""The file of a batch's results: Parquet or CSV, by the ending of its name."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from whyface.errors import InputError
from whyface.files.guarded import parse_json, read_json
from whyface.files.integrity import sha256_of, write_atomic
from whyface.files.parts import METADATA_KEY, csv_cells, parquet_modules

CSV: Final = ".csv"
PARQUET: Final = ".parquet"


def result_ending(out: Path) -> str:
    """Return :data:`CSV` or :data:`PARQUET`.

    Raise InputError if the name ends otherwise: another program would take the file for something that it is not.
    """
    ending = out.suffix.lower()
    if ending not in (CSV, PARQUET):
        raise InputError(f"{out}: results are written as CSV or Parquet; end the name in {CSV} or {PARQUET}")
    return ending


def about_path(out: Path) -> Path:
    """Return the JSON file next to a CSV file, which describes it as a Parquet file's metadata do."""
    return out.with_name(f"{out.name}.json")


def write_results(
    temporary: Path, out: Path, tables: Iterable[Any], schema: Any, metadata: Mapping[str, Any]
) -> Counter[str]:
    """Write all results to a temporary file and sync it; the caller renames it to the result's name.

    Return the number of rows with each verdict; ``"failed"`` counts those without one.

    Parameters
    ----------
    out
        Name of the result. Its ending says the format; next to a CSV file, its description is written.
    tables
        The rows, as pyarrow tables with this schema.
    metadata
        Settings, model and versions, as JSON values.
    """
    if result_ending(out) == CSV:
        found = _write_csv(temporary, tables, schema.names)
        about = {**metadata, "rows": dict(found), "csv_file_sha256": sha256_of(temporary)}
        write_atomic(about_path(out), f"{json.dumps(about, indent=2, ensure_ascii=False, allow_nan=False)}\n".encode())
        return found
    return _write_parquet(temporary, tables, schema, metadata)


def read_description(out: Path) -> tuple[dict[str, Any], Counter[str]]:
    """Return the metadata of a result and the number of rows with each verdict.

    Raise ValueError if the file is not the result of a batch, and OSError if it cannot be read.
    """
    if result_ending(out) == CSV:
        made = read_json(about_path(out))
        if not isinstance(made, dict) or made.pop("csv_file_sha256", None) != sha256_of(out):
            raise ValueError("another file than the one described")
        return made, Counter(made.pop("rows", {}))
    arrow, parquet = parquet_modules()
    try:
        with parquet.ParquetFile(out, page_checksum_verification=True) as file:
            made = parse_json((file.schema_arrow.metadata or {})[METADATA_KEY])
            found = _verdicts(file.read(["verdict"]))
            return dict(made), found
    except (KeyError, TypeError, arrow.ArrowException) as error:
        raise ValueError("not the result of a batch") from error


def _write_csv(temporary: Path, tables: Iterable[Any], columns: list[str]) -> Counter[str]:
    found: Counter[str] = Counter()
    with temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        for table in tables:
            # None becomes an empty cell, and a float its shortest text that reads back as the same number.
            writer.writerows(map(csv_cells, table.to_pylist()))
            found.update(_verdicts(table))
        _sync(file)
    return found


def _write_parquet(temporary: Path, tables: Iterable[Any], schema: Any, metadata: Mapping[str, Any]) -> Counter[str]:
    _, parquet = parquet_modules()
    text = json.dumps(metadata, ensure_ascii=False, allow_nan=False)
    described = schema.with_metadata({METADATA_KEY: text.encode()})
    found: Counter[str] = Counter()
    with temporary.open("wb") as file:
        with parquet.ParquetWriter(file, described, write_page_checksum=True) as writer:
            for table in tables:
                writer.write_table(table.replace_schema_metadata(described.metadata))
                found.update(_verdicts(table))
        _sync(file)
    return found


def _sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _verdicts(table: Any) -> Counter[str]:
    return Counter(verdict or "failed" for verdict in table.column("verdict").to_pylist())

"""Scores of all pairs as a Parquet file, with the settings that they come from in its metadata."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyface.data.protocols import PairProtocol
from whyface.errors import DataError
from whyface.files.integrity import write_atomic
from whyface.files.parts import METADATA_KEY, parquet_modules


def write_scores(
    path: Path, protocol: PairProtocol, scores: Mapping[str, NDArray[np.float64]], metadata: Mapping[str, Any]
) -> None:
    """Write one row per pair, in the protocol's order.

    The columns are ``left``, ``right`` (picture names), ``person_left``, ``person_right``, ``genuine``, ``fold``, and
    ``score_KIND`` for each set of scores.

    Parameters
    ----------
    path
        Target; written whole or not at all.
    protocol
        The pairs.
    scores
        (P,) by kind.
    metadata
        Plain JSON values, kept under :data:`METADATA_KEY`.

    Raises
    ------
    InputError
        If pyarrow is missing.
    OutputError
        If the file cannot be written.
    """
    arrow, parquet = parquet_modules()
    names = np.asarray(protocol.pictures)
    columns: dict[str, Any] = {
        "left": names[protocol.left],
        "right": names[protocol.right],
        "person_left": protocol.people_left,
        "person_right": protocol.people_right,
        "genuine": protocol.genuine,
        "fold": protocol.fold.astype(np.int16),
        **{f"score_{kind}": np.asarray(values, np.float64) for kind, values in scores.items()},
    }
    text = json.dumps(metadata, ensure_ascii=False, allow_nan=False)
    table = arrow.table({name: arrow.array(column) for name, column in columns.items()})
    buffer = io.BytesIO()
    parquet.write_table(table.replace_schema_metadata({METADATA_KEY: text.encode()}), buffer, write_page_checksum=True)
    write_atomic(path, buffer.getvalue())


def read_scores(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read what :func:`write_scores` wrote.

    Returns
    -------
    The columns by name, and the metadata.

    Raises
    ------
    DataError
        If it is no such file.
    InputError
        If pyarrow is missing.
    """
    arrow, parquet = parquet_modules()
    try:
        # Read first: with a path pyarrow would take folder names like "fold=1" for columns.
        table = parquet.read_table(io.BytesIO(path.read_bytes()), page_checksum_verification=True)
        metadata = json.loads((table.schema.metadata or {})[METADATA_KEY])
    except (OSError, KeyError, ValueError, arrow.ArrowException) as error:
        raise DataError(f"{path}: no table of scores that whyface wrote; run the evaluation again") from error
    return {name: table.column(name).to_numpy() for name in table.column_names}, metadata

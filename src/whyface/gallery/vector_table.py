"""A gallery's vectors in a vector database, LanceDB, which selects the faces to compare exactly (extra ``lancedb``).

The database holds one row a face: the record's number, the person's name and the vector whose inner product with a
probe is the score, but for the division where attention factorises (:mod:`whyface.gallery.shortlist`). So other
programs can search the same vectors. What a search returns is compared exactly, with S and W, from the gallery's own
records.

LanceDB is a library, not a server: it reads and writes a folder. Why it and not PostgreSQL: ``docs/how-to/scale.md``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import DataError, InputError, OutputError
from whyface.files.guarded import parse_json
from whyface.files.progress import ProgressCallback
from whyface.gallery.gallery import Gallery
from whyface.gallery.shortlist import fingerprint, require_plain, stretches

TABLE: Final = "faces"
_ABOUT: Final = b"whyface"


class VectorTable:
    """The vectors of one gallery's first records. Use :func:`write_vector_table` or :func:`open_vector_table`.

    Parameters
    ----------
    table
        A table of LanceDB.
    count
        Number of records covered, from 0; later ones were added after it was written.
    """

    def __init__(self, table: Any, count: int) -> None:
        self.table = table
        self.count = count

    def find(self, vectors: NDArray[np.float32], size: int, *, visited: int | None = None) -> NDArray[np.int64]:
        """Return the records with the largest inner products; exactly, unless the table was given an index.

        Raise InputError if ``size`` is below 1, and DataError if the database cannot be read any more.

        Parameters
        ----------
        vectors
            Weighted probes (P, D); see :func:`whyface.gallery.shortlist.probe_vectors`.
        visited
            Partitions to visit, where the table was given an index.

        Returns
        -------
        (P, ``size``) int64, best first, -1 where there are fewer.
        """
        if size < 1:
            raise InputError(f"a shortlist names at least one face, got {size}")
        found = np.full((len(vectors), min(size, self.count)), -1, np.int64)
        for row, vector in enumerate(np.asarray(vectors, np.float32)):
            query = self.table.search(vector).distance_type("dot").select(["record", "_distance"]).limit(found.shape[1])
            try:
                answer = (query if visited is None else query.nprobes(visited)).to_arrow()
            except Exception as error:  # LanceDB's errors share no base class
                raise DataError(f"the vector database cannot be searched ({_reason(error)}); write it again") from error
            numbers = answer["record"].to_numpy()
            found[row, : len(numbers)] = numbers
        return found


def write_vector_table(
    gallery: Gallery, folder: Path | str, *, progress: ProgressCallback | None = None
) -> VectorTable:
    """Write all current faces of a gallery to a LanceDB folder; a table that is there is replaced when all is written.

    Its former versions are deleted, so that nothing is left of faces that were removed since.

    Parameters
    ----------
    gallery
        The gallery; its model is not needed.
    folder
        Folder of the database; created if it does not exist.
    progress
        Called with the number of records done and the total.

    Raises
    ------
    InputError
        LanceDB is not installed, or the gallery is empty or encrypted.
    OutputError
        The folder cannot be written.
    """
    lancedb = _lancedb()
    import pyarrow as pa  # noqa: PLC0415 - comes with LanceDB

    require_plain(gallery)
    count = len(gallery.records)
    if count == 0:
        raise InputError(f"{gallery.path}: the gallery is empty; enroll somebody first")
    width = gallery.layout.values
    about = json.dumps({"count": count, **fingerprint(gallery, count)}, sort_keys=True)
    schema = pa.schema(
        [("record", pa.int64()), ("name", pa.string()), ("vector", pa.list_(pa.float32(), width))],
        metadata={_ABOUT: about.encode()},
    )

    def batches() -> Iterator[Any]:
        for start, vectors in stretches(gallery):
            numbers = np.arange(start, start + len(vectors))
            rows = gallery.rows(numbers.tolist())
            names = [rows[number].name if number in rows else None for number in numbers.tolist()]
            flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), width)
            yield pa.record_batch([pa.array(numbers), pa.array(names, pa.string()), flat], schema=schema)
            if progress is not None:
                progress(start + len(vectors), count)

    try:
        table = lancedb.connect(str(folder)).create_table(TABLE, batches(), schema=schema, mode="overwrite")
        # It warns that others may be reading a former version, which is what has to go.
        table.optimize(cleanup_older_than=timedelta(0), delete_unverified=True)
    except Exception as error:  # LanceDB's errors share no base class
        raise OutputError(f"{folder}: the vector database cannot be written ({_reason(error)})") from error
    return VectorTable(table, count)


def open_vector_table(gallery: Gallery, folder: Path | str) -> VectorTable:
    """Open the LanceDB folder that :func:`write_vector_table` wrote for this gallery.

    Raises
    ------
    InputError
        LanceDB is not installed.
    DataError
        There is no table, it is damaged, or it belongs to another gallery.
    """
    lancedb = _lancedb()
    again = f"run: whyface gallery index {gallery.path} --database {folder}"
    if not Path(folder).is_dir():
        raise DataError(f"{folder}: no vector database here; {again}")
    try:
        table = lancedb.connect(str(folder)).open_table(TABLE)
        about = parse_json((table.schema.metadata or {})[_ABOUT])
        count, rows = int(about.pop("count")), int(table.count_rows())
    except Exception as error:  # LanceDB's errors share no base class
        raise DataError(f"{folder}: not a usable vector database ({_reason(error)}); {again}") from error
    if not 0 < count <= len(gallery.records) or rows != count or about != fingerprint(gallery, count):
        raise DataError(f"{folder}: was written from other records than this gallery's; {again}")
    return VectorTable(table, count)


def _lancedb() -> Any:
    # Its warnings are about its own settings, and would stand between a command's lines.
    os.environ.setdefault("LANCEDB_LOG", "error")
    try:
        import lancedb  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise InputError("a vector database needs LanceDB; run: pip install 'whyface[lancedb]'") from error
    return lancedb


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:120]

"""Vectors of faces in files: an ``.npy`` with its list beside it, or a Parquet file; written batch by batch."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError, OutputError, reason
from whyface.files.integrity import TEMPORARY, write_atomic

KINDS: Final = (".npy", ".parquet")


class VectorWriter:
    """Write vectors; the file appears when :meth:`finish` is called, or not at all.

    Parameters
    ----------
    path
        Target, ``.npy`` or ``.parquet``. Beside an ``.npy``, ``PATH.json`` describes its rows.

    Attributes
    ----------
    count
        Vectors so far.

    Raises
    ------
    InputError
        If the ending is another, or Parquet needs ``pip install 'whyface[evaluate]'``.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix.lower() not in KINDS:
            raise InputError(f"{path}: vectors go into {' or '.join(KINDS)}; change the ending")
        self.path = path
        self.count = 0
        self._rows: list[Mapping[str, Any]] = []
        self._parts: list[NDArray[np.float32]] = []
        self._parquet = _ParquetRows(path) if path.suffix.lower() == ".parquet" else None

    def add(self, vectors: NDArray[np.float32], faces: Sequence[Mapping[str, Any]]) -> None:
        """Add vectors (N, D) and the description of each."""
        self.count += len(vectors)
        if self._parquet is not None:
            self._parquet.add(vectors, faces)
            return
        self._parts.append(vectors)
        self._rows += faces

    def finish(self, about: Mapping[str, Any]) -> None:
        """Complete the file.

        Raises
        ------
        InputError
            If there are no vectors.
        OutputError
            If the file cannot be written.
        """
        if not self.count:
            raise InputError(f"{self.path}: there are no faces, so nothing is written")
        if self._parquet is not None:
            self._parquet.finish(about)
            return
        data = io.BytesIO()
        np.save(data, np.concatenate(self._parts), allow_pickle=False)
        write_atomic(self.path, data.getvalue())
        described = json.dumps({**about, "faces": self._rows}, indent=1, allow_nan=False)
        write_atomic(self.path.with_name(f"{self.path.name}.json"), f"{described}\n".encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._parquet is not None:
            self._parquet.close()


class _ParquetRows:
    def __init__(self, path: Path) -> None:
        try:
            import pyarrow  # noqa: PLC0415 - an extra
            from pyarrow import parquet  # noqa: PLC0415
        except ImportError as error:
            raise InputError(
                f"{path}: Parquet needs pyarrow: pip install 'whyface[evaluate]'; or write .npy"
            ) from error
        self._arrow, self._parquet = pyarrow, parquet
        self.path = path
        self.temporary = path.with_name(f".{path.name[:40]}.{os.getpid()}{TEMPORARY}")
        self._writer: Any = None

    def add(self, vectors: NDArray[np.float32], faces: Sequence[Mapping[str, Any]]) -> None:
        arrow = self._arrow
        kind = arrow.list_(arrow.float32(), vectors.shape[1])
        columns: dict[str, Any] = {
            "source": arrow.array([face["source"] for face in faces], arrow.string()),
            "face": arrow.array([face["index"] for face in faces], arrow.int32()),
            "faces": arrow.array([face["count"] for face in faces], arrow.int32()),
            "box": arrow.array([face["box"] for face in faces], arrow.list_(arrow.float64())),
            "quality": arrow.array([(face["quality"] or {}).get("unified") for face in faces], arrow.float64()),
            "doubt": arrow.array([face["doubt"] for face in faces], arrow.string()),
            "photo_sha256": arrow.array([(face["file"] or {}).get("sha256") for face in faces], arrow.string()),
            "crop_sha256": arrow.array([face["sha256"] for face in faces], arrow.string()),
            "vector": arrow.FixedSizeListArray.from_arrays(arrow.array(vectors.ravel()), type=kind),
        }
        table = arrow.table(columns)
        try:
            if self._writer is None:
                self._writer = self._parquet.ParquetWriter(self.temporary, table.schema)
            self._writer.write_table(table)
        except OSError as error:
            raise OutputError(f"{self.path}: cannot write ({reason(error)}); check the folder") from error

    def finish(self, about: Mapping[str, Any]) -> None:
        self._writer.add_key_value_metadata({"whyface": json.dumps(about)})
        self._writer.close()
        self._writer = None
        try:
            self.temporary.replace(self.path)
        except OSError as error:
            raise OutputError(f"{self.path}: cannot write ({reason(error)}); check the folder") from error

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self.temporary.unlink(missing_ok=True)

"""Verification sets as the xCos authors' loaders keep them: a bcolz array of pictures, and labels beside it.

``DIR/NAME`` holds an array of floats (2 N, 3, 112, 112) in -1..1, blue first; pictures 2 k and 2 k + 1 are pair k.
``DIR/NAME_list.npy`` says of N pairs whether they are genuine. bcolz itself is no longer maintained: its folders are
chunks compressed with Blosc behind a header of 16 bytes, ``data/__0.blp`` and so on, and two JSON files (extra
``bcolz``).
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.data.insightface_bin import BinSet, pair_set
from whyface.errors import DataError, InputError, reason
from whyface.faces.face import FACE_SIZE
from whyface.faces.pictures import Closing
from whyface.files.guarded import LARGEST_ARCHIVE, read_guarded, read_json

_MAGIC: Final = b"blpk"
_HEADER: Final = 16
_ROW: Final = 3 * FACE_SIZE * FACE_SIZE
_FLOATS: Final = re.compile(r"float(32|64)")
_LARGEST_CHUNK: Final = 2**30
_MOST: Final = 100_000


class ArrayPictures(Closing):
    """Pictures of an array (N, 112, 112, 3) uint8 in memory, named ``000000``, ``000001``, ... in their order."""

    def __init__(self, where: str, pictures: NDArray[np.uint8]) -> None:
        self._where = where
        self._pictures: dict[str, NDArray[np.uint8]] = {f"{k:06d}": face for k, face in enumerate(pictures)}

    def names(self) -> tuple[str, ...]:
        """Return the names of all pictures, sorted."""
        return tuple(self._pictures)

    def read(self, name: str) -> NDArray[np.uint8]:
        """Return one picture, RGB uint8 (112, 112, 3)."""
        try:
            return self._pictures[name]
        except KeyError:
            raise DataError(f"{self._where}: holds no picture {name!r}; names are 000000, 000001, ...") from None

    def read_bytes(self, name: str) -> bytes:
        """Return the pixels of one picture as bytes."""
        return self.read(name).tobytes()

    def close(self) -> None:
        """Release the pictures."""
        self._pictures = {}


def read_bcolz(folder: Path, *, folds: int = 10) -> BinSet:
    """Read a set; pictures that genuine pairs connect are one person, as in insightface's files.

    Raise DataError if a file is missing or malformed, and InputError if the extra is not installed.
    """
    labels = _labels(folder.with_name(f"{folder.name}_list.npy"))
    shape, kind = _description(folder)
    count = len(labels)
    if shape != (2 * count, 3, FACE_SIZE, FACE_SIZE):
        raise DataError(f"{folder}: an array {shape} does not hold two pictures 3 x 112 x 112 for {count} labels")
    pictures = np.empty((2 * count, FACE_SIZE, FACE_SIZE, 3), np.uint8)
    done, number = 0, 0
    while done < 2 * count:
        rows = _chunk(folder / "data" / f"__{number}.blp", kind, most=2 * count - done)
        # As the published loader does for RGB: back to 0..255, and red first.
        values = np.rint((rows.astype(np.float32) * 0.5 + 0.5) * 255)
        if not np.isfinite(values).all():
            raise DataError(f"{folder}: holds values that are not finite")
        pictures[done : done + len(rows)] = values.clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1)[..., ::-1]
        done, number = done + len(rows), number + 1
    contents = (face.tobytes() for face in pictures)
    source = ArrayPictures(str(folder), pictures)
    return pair_set(source, contents, labels.tolist(), folds=folds, where=str(folder), name=folder.name)


def _labels(path: Path) -> NDArray[np.bool_]:
    try:
        found = np.load(io.BytesIO(read_guarded(path, most=_MOST + 1000)), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: no list of labels ({reason(error)}); it lies beside the array's folder") from error
    if found.dtype != np.bool_ or found.ndim != 1 or not 0 < len(found) <= _MOST:
        raise DataError(f"{path}: labels must be bool (N,), got {found.dtype} {found.shape}")
    labels: NDArray[np.bool_] = found
    return labels


def _description(folder: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    try:
        shape = tuple(int(size) for size in read_json(folder / "meta" / "sizes")["shape"])
        kind = _FLOATS.search(str(read_json(folder / "meta" / "storage")["dtype"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{folder}: not a bcolz array ({reason(error)}); give the folder with data and meta in it"
        ) from error
    if kind is None:
        raise DataError(f"{folder}: pictures must be float32 or float64")
    return shape, np.dtype(f"<f{int(kind[1]) // 8}")


def _chunk(path: Path, kind: np.dtype[Any], *, most: int) -> NDArray[Any]:
    """Decompress one chunk: whole rows, at least one and at most ``most``."""
    try:
        import blosc  # noqa: PLC0415 - optional
    except ImportError as error:
        raise InputError("bcolz folders need blosc; run: pip install 'whyface[bcolz]'") from error
    try:
        data = read_guarded(path, most=LARGEST_ARCHIVE)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: a chunk of the array cannot be read ({reason(error)})") from error
    body = data[_HEADER:]
    # Blosc's own header: the decompressed and the compressed size, which must be right before it is run.
    size, stored = (int.from_bytes(body[at : at + 4], "little") for at in (4, 12))
    row = _ROW * kind.itemsize
    fits = 0 < size <= min(most * row, _LARGEST_CHUNK) and size % row == 0
    if not data.startswith(_MAGIC) or len(body) < _HEADER or stored != len(body) or not fits:
        raise DataError(f"{path}: not a chunk of whole pictures")
    try:
        rows = np.frombuffer(blosc.decompress(body), kind)
    except Exception as error:  # blosc's errors share no base class
        raise DataError(f"{path}: cannot be decompressed ({error})") from error
    if rows.nbytes != size:
        raise DataError(f"{path}: not a chunk of whole pictures")
    return rows.reshape(-1, 3, FACE_SIZE, FACE_SIZE)

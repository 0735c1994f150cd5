"""The feature file of a gallery, with a lock for its one writer.

The file has a header and records with checksums; it is read through a memory map and only ever appended to.
"""

from __future__ import annotations

import json
import os
import struct
import threading
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from whyface.errors import DataError, InputError, OutputError
from whyface.files.guarded import parse_json
from whyface.gallery.encryption import OVERHEAD, Cipher, cipher_of, new_cipher

LOCK_NAME: Final = "writer.lock"


def take_lock(path: Path, what: str = "gallery") -> FileLock:
    """Take the lock of the gallery, or of what else is written, in a folder.

    Raise OutputError if another process holds it, or the folder cannot be written to.
    """
    # One lock for all threads: by default, each would have its own and could not release another's.
    lock = FileLock(path / LOCK_NAME, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise OutputError(f"{path}: another process is writing to this {what}; wait until it is done") from error
    except OSError as error:
        raise OutputError(f"{path}: cannot be written to ({error.strerror}); it can still be searched") from error
    return lock


def require_gallery(path: Path) -> None:
    """Make sure that a folder holds a gallery. Raise DataError if it does not."""
    if not (path / FILE_NAME).is_file():
        raise DataError(f"{path}: no gallery here; whyface gallery enroll makes one")


MAGIC: Final = b"WHYFACE\x01"
VERSIONS: Final = (1, 2, 3)
"""The formats that are read. The second has weighed grids and 8-bit storage, the third is encrypted; a file gets the
first that can hold it."""
HEADER: Final = 4096

_ALIGNMENT: Final = 64
_PREFIX: Final = struct.Struct("<8sII")

Storage = Literal["int8", "int16", "float32"]
Kind = Literal["grid", "embedding"]

_NUMBERS: Final[Mapping[Storage, np.dtype[Any]]] = {
    "int8": np.dtype("<i1"),
    "int16": np.dtype("<i2"),
    "float32": np.dtype("<f4"),
}


@dataclass(frozen=True)
class Layout:
    """The contents of a record.

    Attributes
    ----------
    kind
        ``"grid"``: a unit vector per place, and the attention's terms; ``"embedding"``: one unit vector.
    model
        Name of the model in reports.
    sha256
        SHA-256 of the model's files by role.
    shape
        (C, H, W) of a grid, (D,) of an embedding.
    terms
        Size of an attention term, 0 without learned attention. For weighed grids, the number of places.
    storage
        ``"int16"``, ``"int8"``: integers with one scale per record; ``"float32"``: unscaled.
    weighed
        Whether the vectors of the places are as long as the face says that the places are worth
        (:mod:`whyface.xcos.grid`); the terms are these lengths.
    seal
        For an encrypted gallery, its salt and the mark of its key (:mod:`whyface.gallery.encryption`).
    """

    kind: Kind
    model: str
    sha256: Mapping[str, str]
    shape: tuple[int, ...]
    terms: int = 0
    storage: Storage = "int16"
    weighed: bool = False
    seal: str = ""

    def __post_init__(self) -> None:
        if self.storage not in _NUMBERS:
            raise InputError(f"storage must be 'int8', 'int16' or 'float32', got {self.storage!r}")
        if self.weighed and (self.kind != "grid" or self.terms != self.values // self.shape[0]):
            raise InputError("a gallery of weighed grids has one length for each place")
        wanted = {"grid": 3, "embedding": 1}.get(self.kind)
        if wanted is None or len(self.shape) != wanted or min(self.shape) < 1 or self.terms < 0:
            raise InputError(f"no gallery has records of the kind {self.kind!r} and shape {self.shape}")

    @property
    def values(self) -> int:
        """Number of values of the unit vectors."""
        return int(np.prod(self.shape))

    @property
    def version(self) -> int:
        """The first format that can hold these records."""
        return 3 if self.seal else 2 if self.weighed or self.storage == "int8" else 1

    @property
    def stride(self) -> int:
        """Bytes of a record in the file."""
        return self.record.itemsize + (OVERHEAD if self.seal else 0)

    @property
    def record(self) -> np.dtype[Any]:
        """One record as a structured dtype: crc, number, unit_scale, term_scale, unit, terms, base.

        ``base`` depends on the terms only (see :mod:`whyface.xcos.separable`), one number per place; weighed grids have
        none, and their lengths stay float32 in any storage.
        """
        number = _NUMBERS[self.storage]
        term = np.dtype("<f4") if self.weighed else number
        # Aligned to 4 bytes for fast access.
        start = 16 + self.values * number.itemsize
        start = -(-start // term.itemsize) * term.itemsize
        base = -(-(start + self.terms * term.itemsize) // 4) * 4
        cells = self.values // self.shape[0] if self.terms and not self.weighed else 0
        size = base + 4 * cells
        return np.dtype(
            {
                "names": ["crc", "number", "unit_scale", "term_scale", "unit", "terms", "base"],
                "formats": ["<u4", "<u4", "<f4", "<f4", (number, self.values), (term, self.terms), ("<f4", cells)],
                "offsets": [0, 4, 8, 12, 16, start, base],
                "itemsize": -(-size // _ALIGNMENT) * _ALIGNMENT,
            }
        )

    def about(self) -> bytes:
        """Return the layout as JSON."""
        document = {"version": self.version, **asdict(self), "sha256": dict(self.sha256)}
        for key, since in (("weighed", 2), ("seal", 3)):
            if self.version < since:
                del document[key]
        return json.dumps(document, sort_keys=True).encode()

    def header(self) -> bytes:
        """Return the header as bytes."""
        text = self.about()
        if len(text) > HEADER - _PREFIX.size:
            raise InputError(f"the model's name {self.model[:40]!r} is too long for a gallery's header")
        return (_PREFIX.pack(MAGIC, zlib.crc32(text), len(text)) + text).ljust(HEADER, b"\0")


def read_header(data: bytes, source: str) -> Layout:
    """Parse a header.

    Raise DataError if it is not a header, is damaged, or has a version that this release does not support.
    """
    if len(data) < HEADER or data[: len(MAGIC)] != MAGIC:
        raise DataError(f"{source}: not a whyface gallery")
    _, crc, length = _PREFIX.unpack(data[: _PREFIX.size])
    text = data[_PREFIX.size : _PREFIX.size + length]
    if length > HEADER - _PREFIX.size or zlib.crc32(text) != crc:
        raise DataError(f"{source}: the header is damaged; put back a copy of the file, or enroll again")
    try:
        document = parse_json(text)
        version = document.pop("version")
    except (ValueError, KeyError, AttributeError) as error:
        raise DataError(f"{source}: the header is damaged; put back a copy of the file, or enroll again") from error
    if version not in VERSIONS:
        raise DataError(
            f"{source}: written in format {version}, this release reads up to {VERSIONS[-1]}; update whyface"
        )
    return Layout(**{**document, "shape": tuple(document["shape"])})


def blank_record(layout: Layout, number: int) -> NDArray[Any]:
    """Return what takes the place of an erased face: an intact record of this number without features, (1,)."""
    record = np.zeros(1, layout.record)
    record["number"] = number
    record["crc"] = checksum(record[0])
    return record


def make_records(
    layout: Layout,
    start: int,
    unit: NDArray[np.float32],
    terms: NDArray[np.float32] | None = None,
    base: NDArray[np.float32] | None = None,
) -> NDArray[Any]:
    """Return N faces as records, checksummed and numbered from ``start``.

    Raise InputError if the arrays do not fit the layout or hold values that are not finite.

    Parameters
    ----------
    unit
        (N, ``layout.values``), unit vectors.
    terms, base
        (N, ``layout.terms``) and (N, cells), None without learned attention.
    """
    terms = np.zeros((len(unit), 0), np.float32) if terms is None else terms
    base = np.zeros((len(unit), 0), np.float32) if base is None else base
    dtype = layout.record
    if any(
        values.shape != (len(unit), *dtype[name].shape)
        for name, values in (("unit", unit), ("terms", terms), ("base", base))
    ):
        raise InputError(f"features {unit.shape}, terms {terms.shape} and base {base.shape} do not fit this gallery")
    if not (np.isfinite(unit).all() and np.isfinite(terms).all() and np.isfinite(base).all()):
        raise InputError("features hold values that are not finite")
    records = np.zeros(len(unit), dtype)
    records["number"] = np.arange(start, start + len(unit))
    records["base"] = base
    for values, field, scale in ((unit, "unit", "unit_scale"), (terms, "terms", "term_scale")):
        number = dtype[field].base
        if number.kind == "f":
            records[field], records[scale] = values, 1
        else:
            largest = np.iinfo(number).max
            peak = np.abs(values).max(axis=1, initial=1e-20)
            records[field] = np.rint(values * (largest / peak)[:, None])
            records[scale] = peak / largest
    for record in records:
        record["crc"] = checksum(record)
    return records


def checksum(record: Any) -> int:
    """Return the CRC-32 of a record without its first four bytes."""
    return zlib.crc32(record.tobytes()[4:])


def intact(records: NDArray[Any], start: int = 0) -> NDArray[np.bool_]:
    """Return for each record whether it is intact; the first should have the number ``start``."""
    return np.array(
        [
            int(record["crc"]) == checksum(record) and int(record["number"]) == start + index
            for index, record in enumerate(records)
        ],
        bool,
    )


FILE_NAME: Final = "features.bin"


class FeatureFile:
    """Records of one layout in a file.

    Raise DataError if it is missing or not a feature file, and InputError if it is encrypted and this is not its key.

    Parameters
    ----------
    path
        The file.
    key
        The key of an encrypted gallery. Its records are decrypted into memory; others are mapped.
    """

    def __init__(self, path: Path, key: bytes | None = None) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self.layout = read_header(file.read(HEADER), str(path))
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}); is this a gallery?") from error
        self.cipher = cipher_of(self.layout.seal, key, replace(self.layout, seal="").about(), path.parent)
        self._opening = threading.Lock()
        self._opened, self._plain = 0, np.zeros((0, self.layout.record.itemsize), np.uint8)

    @classmethod
    def create(cls, path: Path, layout: Layout, key: bytes | None = None) -> FeatureFile:
        """Write a file with a header and no records; it must not exist. It is encrypted if there is a key.

        Raise OutputError if it exists or cannot be written.
        """
        layout = replace(layout, seal="")
        if key is not None:
            layout = replace(layout, seal=new_cipher(key, layout.about()).seal)
        try:
            with path.open("xb") as file:
                file.write(layout.header())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror})") from error
        return cls(path, key)

    def append(self, start: int, records: NDArray[Any]) -> None:
        """Write records after the first ``start``; return once they are on disk.

        Raise OutputError if they cannot be written, for example because the disk is full. Existing records stay
        unchanged.
        """
        offset = HEADER + start * self.layout.stride
        try:
            with self.path.open("r+b", buffering=0) as file:
                try:
                    file.truncate(offset)
                    file.seek(offset)
                    _write_all(file, self._stored(start, records))
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(offset)
                    raise
        except OSError as error:
            raise OutputError(
                f"{self.path}: cannot be written ({error.strerror}); nothing was added, what was there is unharmed"
            ) from error

    def erase(self, numbers: Iterable[int]) -> None:
        """Overwrite records where they are with blank ones; return once that is on disk.

        Raise OutputError if they cannot be written.
        """
        available = self.available()
        there = [number for number in numbers if number < available]
        try:
            with self.path.open("r+b", buffering=0) as file:
                for number in there:
                    blank = blank_record(self.layout, number)
                    file.seek(HEADER + number * self.layout.stride)
                    _write_all(file, self._stored(number, blank))
                    with self._opening:
                        self._plain[number : number + 1] = blank.view(np.uint8)
                os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(f"{self.path}: removed faces cannot be erased ({error.strerror})") from error

    def available(self) -> int:
        """Return the number of complete records in the file."""
        return max(0, (self.path.stat().st_size - HEADER) // self.layout.stride)

    def records(self, count: int) -> NDArray[Any]:
        """Return the first ``count`` records read-only, or fewer if the file is shorter.

        They are mapped, or decrypted into memory, once. An encrypted record that was changed is not intact.
        """
        count = min(count, self.available())
        if count == 0:
            return np.zeros(0, self.layout.record)
        if self.cipher is None:
            return np.memmap(self.path, self.layout.record, mode="r", offset=HEADER, shape=(count,))
        with self._opening:
            if count > self._opened:
                self._decrypt(self.cipher, count)
            records: NDArray[Any] = self._plain[:count].view(self.layout.record)[:, 0]
        records.flags.writeable = False
        return records

    def _stored(self, start: int, records: NDArray[Any]) -> bytes:
        if self.cipher is None:
            return records.tobytes()
        lock = self.cipher.lock
        return b"".join(lock(record.tobytes(), b"face %d" % number) for number, record in enumerate(records, start))

    def _decrypt(self, cipher: Cipher, count: int) -> None:
        if count > len(self._plain):
            # Room for more, so that adding faces does not copy all of them each time.
            larger = np.zeros((max(count, 2 * self._opened), self._plain.shape[1]), np.uint8)
            larger[: self._opened] = self._plain[: self._opened]
            self._plain = larger
        with self.path.open("rb") as file:
            file.seek(HEADER + self._opened * self.layout.stride)
            for number in range(self._opened, count):
                plain = cipher.unlock(file.read(self.layout.stride), b"face %d" % number)
                # Left as zeros, whose checksum is wrong, where the record was changed.
                self._plain[number] = 0 if plain is None else np.frombuffer(plain, np.uint8)
        self._opened = count


def _write_all(file: Any, data: bytes) -> None:
    """Write all bytes: on a nearly full disk, a raw write may write only some and return their count."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]

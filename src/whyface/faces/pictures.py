"""Aligned pictures of a data set, read one at a time from a folder tree or an uncompressed tar file."""

from __future__ import annotations

import tarfile
import threading
from abc import ABC, abstractmethod
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Final, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from whyface.errors import DataError, PhotoError
from whyface.faces.face import FACE_SIZE
from whyface.faces.photo import decode_photo
from whyface.files.guarded import LARGEST_ARCHIVE, check_plain
from whyface.files.photo_folder import LARGEST_PHOTO, PhotoFolder, list_photos, sort_names


class Closing(ABC):
    """A context manager that closes itself on exit."""

    @abstractmethod
    def close(self) -> None:
        """Release open files; reading afterwards is an error."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


LARGEST_FILE: Final = 16 * 2**20
"""Maximum size of an aligned picture in bytes; none of 112 x 112 pixels comes near it. Whole photos, which
:meth:`PictureSource.read_bytes` returns, may have :data:`whyface.files.photo_folder.LARGEST_PHOTO`."""


@runtime_checkable
class PictureSource(Protocol):
    """Random access by name to aligned pictures and to the text files next to them."""

    def names(self) -> tuple[str, ...]:
        """Return the names of all pictures, sorted."""
        ...

    def read(self, name: str) -> NDArray[np.uint8]:
        """Return one picture, RGB uint8 (112, 112, 3); raise DataError if it cannot be read."""
        ...

    def read_bytes(self, name: str) -> bytes:
        """Return the content of any file, picture or text; raise DataError if there is no such file."""
        ...

    def close(self) -> None:
        """Release open files; reading afterwards is an error."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class FolderPictures(Closing):
    """Pictures in a folder tree.

    Raise DataError if ``root`` is not a folder.

    Parameters
    ----------
    root
        The folder that the names are relative to.
    """

    def __init__(self, root: str | Path) -> None:
        self._root = Path(root)
        if not self._root.is_dir():
            raise DataError(f"{self._root}: not a folder; give the folder that holds the aligned pictures")
        self._resolved = self._root.resolve()
        self._listed: PhotoFolder | None = None

    def listed(self) -> PhotoFolder:
        """Return the contents of the folder; the tree is walked once."""
        if self._listed is None:
            self._listed = list_photos(self._root)
        return self._listed

    def names(self) -> tuple[str, ...]:
        """Return the names of all pictures, sorted."""
        return self.listed().photos

    def read(self, name: str) -> NDArray[np.uint8]:
        """Return one picture, RGB uint8 (112, 112, 3)."""
        return decode_aligned(self._bytes(name, LARGEST_FILE), f"{self._root.as_posix()}/{name}")

    def read_bytes(self, name: str) -> bytes:
        """Return the content of one file below the root."""
        return self._bytes(name, LARGEST_PHOTO)

    def _bytes(self, name: str, largest: int) -> bytes:
        path = (self._resolved / _safe_name(name, str(self._root))).resolve()
        # A symbolic link may lead out of the tree although the name does not.
        if not path.is_relative_to(self._resolved):
            raise DataError(f"{self._root}: {name} leads out of the folder; names must stay inside it")
        try:
            _check_size(path.stat().st_size, largest, f"{self._root}: {name}")
            return path.read_bytes()
        except OSError as error:
            raise DataError(_missing(name, str(self._root))) from error

    def close(self) -> None:
        """Do nothing: no file stays open."""


class TarPictures(Closing):
    """Pictures in an uncompressed tar file, indexed once and then read by offset.

    Reading is thread-safe. Links and device entries in the archive are ignored. If a name occurs twice, the later entry
    counts, as it would after unpacking. Raise DataError if the file is missing, truncated or not an uncompressed tar
    file, or a name leads out of it.

    Parameters
    ----------
    path
        The tar file.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._lock = threading.Lock()
        self._index: dict[str, tuple[int, int]] = {}
        try:
            check_plain(self._path, most=LARGEST_ARCHIVE)
            self._file = self._path.open("rb")
        except OSError as error:
            raise DataError(f"{self._path}: cannot be opened ({error.strerror}); check the path") from error
        try:
            self._build_index()
        except BaseException:
            self._file.close()
            raise

    def _build_index(self) -> None:
        length = self._path.stat().st_size
        before = -1
        try:
            with tarfile.open(fileobj=self._file, mode="r:") as archive:
                for member in archive:
                    # A negative size in a header would send tarfile into an endless loop.
                    if member.offset <= before or member.size < 0:
                        raise DataError(f"{self._path}: damaged at byte {member.offset}; fetch it again")
                    before = member.offset
                    if member.issparse():
                        raise DataError(f"{self._path}: {member.name} is stored sparse; pack it again without --sparse")
                    if member.isreg():
                        name = _safe_name(member.name, str(self._path))
                        self._index[name] = (member.offset_data, member.size)
        except (tarfile.TarError, ValueError, OverflowError) as error:
            # tarfile raises ValueError for damaged numbers in headers.
            raise DataError(
                f"{self._path}: not an uncompressed tar file ({error}); unpack or fetch it again"
            ) from error
        if any(offset + size > length for offset, size in self._index.values()):
            raise DataError(f"{self._path}: the file is cut off; fetch it again")

    def listed(self) -> PhotoFolder:
        """Return the contents of the archive."""
        return sort_names(self._index)

    def names(self) -> tuple[str, ...]:
        """Return the names of all pictures, sorted."""
        return self.listed().photos

    def read(self, name: str) -> NDArray[np.uint8]:
        """Return one picture, RGB uint8 (112, 112, 3)."""
        return decode_aligned(self._bytes(name, LARGEST_FILE), f"{self._path}: {name}")

    def read_bytes(self, name: str) -> bytes:
        """Return the content of one entry."""
        return self._bytes(name, LARGEST_PHOTO)

    def _bytes(self, name: str, largest: int) -> bytes:
        entry = self._index.get(_safe_name(name, str(self._path)))
        if entry is None:
            raise DataError(_missing(name, str(self._path)))
        offset, size = entry
        _check_size(size, largest, f"{self._path}: {name}")
        with self._lock:
            if self._file.closed:
                raise DataError(f"{self._path}: already closed; open it again to read {name}")
            self._file.seek(offset)
            return self._file.read(size)

    def close(self) -> None:
        """Close the tar file."""
        self._file.close()


def open_pictures(path: str | Path) -> FolderPictures | TarPictures:
    """Open a folder or an uncompressed tar file of pictures."""
    return FolderPictures(path) if Path(path).is_dir() else TarPictures(path)


def decode_aligned(data: bytes, name: str) -> NDArray[np.uint8]:
    """Decode one aligned picture with :func:`whyface.faces.photo.decode_photo`.

    Raise DataError if the bytes are not a readable picture or its size is not 112 x 112.

    Returns
    -------
    ndarray
        RGB uint8, shape (112, 112, 3).
    """

    def check(width: int, height: int) -> None:
        if (width, height) != (FACE_SIZE, FACE_SIZE):
            raise DataError(
                f"{name}: {width} x {height} pixels, but aligned pictures must be {FACE_SIZE} x {FACE_SIZE}; "
                "align it first"
            )

    try:
        return decode_photo(data, name, check_size=check)
    except PhotoError as error:
        raise DataError(str(error)) from error


def _safe_name(name: str, where: str) -> str:
    """Return ``name`` without ``./`` parts; raise DataError if it is absolute or leads upwards."""
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or ":" in name:
        raise DataError(f"{where}: unsafe name {name!r}; names must be relative and stay inside the source")
    return path.as_posix()


def _check_size(size: int, largest: int, what: str) -> None:
    if size > largest:
        raise DataError(f"{what}: {size} bytes is too large for a picture here (limit {largest})")


def _missing(name: str, where: str) -> str:
    return f"{where}: no readable file {name}; check that the pictures and the protocol belong together"

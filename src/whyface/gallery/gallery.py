"""A gallery: faces with names on disk, one writer, any number of readers."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from whyface.errors import DataError, InputError, ModelError, OutputError
from whyface.files.photo_folder import is_text
from whyface.files.progress import ProgressCallback
from whyface.gallery import feature_file, name_table
from whyface.gallery.feature_file import FeatureFile, Layout, Storage, intact
from whyface.gallery.features import GalleryFeatures
from whyface.gallery.name_table import FaceRow, NameTable
from whyface.gallery.search import Candidate, search
from whyface.xcos.attention import AttentionKind
from whyface.xcos.comparison import FaceModel

LOCK_NAME: Final = "writer.lock"
_CHECKED: Final = 4096


class Gallery:
    """Faces of one model. Use :meth:`create` or :meth:`open`.

    A face is committed once :meth:`add` returns: its record and name are on disk, and a later crash does not lose them.
    Damaged records are ignored and reported, never compared silently: all that a search returns was checked.
    """

    def __init__(self, path: Path, model: GalleryFeatures | None, *, writable: bool) -> None:
        self.path = path
        self._model = model
        self._lock = _take_lock(path) if writable else None
        try:
            self.file = FeatureFile(path / feature_file.FILE_NAME)
            self.names_table = NameTable(path / name_table.FILE_NAME, writable=writable)
        except BaseException:
            self._release()
            raise
        try:
            if model is not None:
                _check_model(self.file.layout, model, path)
            self.refresh()
        except BaseException:
            self.close()
            raise

    @classmethod
    def create(
        cls,
        path: Path | str,
        model: FaceModel,
        *,
        storage: Storage = "int16",
        sha256: Mapping[str, str] | None = None,
    ) -> Gallery:
        """Create an empty gallery in a folder that must not exist, and open it for writing.

        Parameters
        ----------
        path
            The folder.
        model
            The model that computes its features.
        storage
            ``"int16"`` needs half the bytes of ``"float32"`` and changes scores by less than about 1e-5.
        sha256
            SHA-256 of the model's files by role.

        Raises
        ------
        OutputError
            If the path exists, or cannot be written.
        """
        path = Path(path)
        features = GalleryFeatures(model, sha256=sha256)
        probe = features.features(np.zeros((1, 3, 112, 112), np.uint8))
        layout = features.layout(tuple(probe.shape[1:]), storage)
        if path.exists():
            raise OutputError(f"{path}: already exists; add to it, or choose another name")
        # It is created completely or not at all.
        started = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            started.mkdir()
        except OSError as error:
            raise OutputError(f"{path}: cannot be made ({error.strerror})") from error
        try:
            FeatureFile.create(started / feature_file.FILE_NAME, layout)
            NameTable.create(started / name_table.FILE_NAME).close()
            started.rename(path)
        except OSError as error:
            raise OutputError(f"{path}: cannot be made ({error.strerror})") from error
        finally:
            shutil.rmtree(started, ignore_errors=True)
        return cls(path, features, writable=True)

    @classmethod
    def open(
        cls,
        path: Path | str,
        model: FaceModel | None = None,
        *,
        writable: bool = False,
        sha256: Mapping[str, str] | None = None,
    ) -> Gallery:
        """Open a gallery.

        Parameters
        ----------
        path
            Its folder.
        model
            The model that it was created with; not needed to list or remove.
        writable
            Whether to open it for changes; only one process can.
        sha256
            SHA-256 of the model's files by role, as for :meth:`create`.

        Raises
        ------
        DataError
            If there is no gallery, or its header is damaged.
        ModelError
            If it was created with another model.
        OutputError
            If it is opened for writing but cannot be written, or another process is writing.
        """
        path = Path(path)
        if not (path / feature_file.FILE_NAME).is_file():
            raise DataError(f"{path}: no gallery here; whyface gallery enroll makes one")
        return cls(path, None if model is None else GalleryFeatures(model, sha256=sha256), writable=writable)

    @property
    def layout(self) -> Layout:
        """The contents of the records."""
        return self.file.layout

    @property
    def model(self) -> GalleryFeatures:
        """The model.

        Raises
        ------
        InputError
            If the gallery was opened without a model.
        """
        if self._model is None:
            raise InputError(f"{self.path}: this needs the model, but the gallery was opened without it")
        return self._model

    def __len__(self) -> int:
        """Return the number of faces that a search compares."""
        return len(self.records) - len(self.left_out)

    def refresh(self) -> None:
        """Load what a writer has added or removed since."""
        self.promised = self.names_table.count()
        self.records: NDArray[Any] = self.file.records(self.promised)
        self.removed = frozenset(self.names_table.removed())
        self.damaged: set[int] = set(range(len(self.records), self.promised))

    @property
    def left_out(self) -> set[int]:
        """Records in the file that no search returns: removed or damaged ones."""
        return {number for number in (self.removed | self.damaged) if number < len(self.records)}

    def names(self) -> dict[str, int]:
        """Return the number of faces of each person."""
        return self.names_table.people()

    def features(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run the model on faces (N, 3, 112, 112), for :meth:`add` and :meth:`search`."""
        return self.model.features(batch)

    def add(
        self,
        features: NDArray[np.float32],
        names: Sequence[str] | str,
        sources: Sequence[str] | str,
        *,
        digests: Sequence[str] | None = None,
    ) -> range:
        """Add N faces; they are on disk when this returns.

        Parameters
        ----------
        features
            From :meth:`features`, (N, ...).
        names, sources
            The person and the source of the picture; one text for all, or one each.
        digests
            SHA-256 of each face's pixels (see :func:`pixel_digest`), to recognise the same picture; empty by default.

        Returns
        -------
        The numbers of the new records.

        Raises
        ------
        InputError
            If the numbers of features and names differ, or a name is empty or not in UTF-8.
        OutputError
            If it cannot be written; then nothing is added.
        """
        self._require_writer()
        count = len(features)
        people = [names] * count if isinstance(names, str) else list(names)
        origins = [sources] * count if isinstance(sources, str) else list(sources)
        marks = [""] * count if digests is None else list(digests)
        if not len(people) == len(origins) == len(marks) == count:
            raise InputError(f"{count} faces need as many names and sources, got {len(people)} and {len(origins)}")
        if not all(name.strip() for name in people):
            raise InputError("every face needs a name")
        if strange := next((text for text in (*people, *origins) if not is_text(text)), None):
            raise InputError(f"{strange!r}: a name that is not in UTF-8 cannot be kept; rename it")
        if self.promised > self.file.available():
            raise DataError(
                f"{self.path}: {self.promised - self.file.available()} faces are missing at the end of the file; "
                "put back a copy before anything is added"
            )
        start = self.promised
        self.file.append(start, self.model.records(self.layout, start, np.asarray(features, np.float32)))
        self.names_table.add(start, list(zip(people, origins, marks, strict=True)))
        damaged = self.damaged
        self.refresh()
        self.damaged |= damaged
        return range(start, start + count)

    def remove(self, who: str | int) -> list[FaceRow]:
        """Remove a person, by name, or one face, by its record number; the space is not freed.

        Raises
        ------
        InputError
            If there is no such person or record.
        """
        self._require_writer()
        if isinstance(who, str):
            rows = self.names_table.of_person(who)
        else:
            rows = [row for row in self.names_table.faces([who]).values() if who not in self.removed]
        if not rows:
            raise InputError(f"{self.path}: nobody and no face {who!r} here; whyface gallery info lists the names")
        self.names_table.remove([row.record for row in rows])
        self.removed |= {row.record for row in rows}
        return rows

    def search(
        self,
        features: NDArray[np.float32],
        k: int = 5,
        *,
        attention: AttentionKind | None = None,
        threads: int | None = None,
        one_per_person: bool = False,
        progress: ProgressCallback | None = None,
    ) -> list[list[Candidate]]:
        """Find the k best faces for each of P probes; see :func:`whyface.gallery.search.search`."""
        return search(
            self,
            features,
            k,
            attention=attention,
            threads=threads,
            one_per_person=one_per_person,
            progress=progress,
        )

    def check(self, progress: ProgressCallback | None = None) -> set[int]:
        """Read all records and return the damaged ones, including those missing at the end."""
        for start in range(0, len(self.records), _CHECKED):
            whole = intact(self.records[start : start + _CHECKED], start)
            self.damaged |= {start + int(index) for index in np.flatnonzero(~whole)}
            if progress is not None:
                progress(start + len(whole), len(self.records))
        return self.damaged - self.removed

    def close(self) -> None:
        """Release the files and the lock."""
        self.names_table.close()
        self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _require_writer(self) -> None:
        if self._lock is None:
            raise OutputError(f"{self.path}: opened for reading only")

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()


def pixel_digest(face: NDArray[np.uint8]) -> str:
    """Return the SHA-256 of a face's pixels, independent of its file."""
    return hashlib.sha256(np.ascontiguousarray(face).tobytes()).hexdigest()


def _check_model(layout: Layout, model: GalleryFeatures, path: Path) -> None:
    if dict(layout.sha256) != dict(model.sha256):
        raise ModelError(
            f"{path}: made with model {layout.model!r} ({_short(layout.sha256)}), not with {model.embedder.name!r} "
            f"({_short(model.sha256)}); features of different models do not compare"
        )


def _short(hashes: Mapping[str, str]) -> str:
    return ", ".join(f"{role} {digest[:12]}" for role, digest in sorted(hashes.items()))


def _take_lock(path: Path) -> FileLock:
    lock = FileLock(path / LOCK_NAME)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise OutputError(f"{path}: another process is writing to this gallery; wait until it is done") from error
    except OSError as error:
        raise OutputError(f"{path}: cannot be written to ({error.strerror}); it can still be searched") from error
    return lock

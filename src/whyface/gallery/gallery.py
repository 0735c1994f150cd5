"""A gallery: faces with names on disk, one writer, any number of readers."""

from __future__ import annotations

import hashlib
import os
import threading
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from whyface.errors import DataError, InputError, OutputError
from whyface.files.integrity import folder_at_once, remove_leftovers
from whyface.files.photo_folder import name_fault
from whyface.files.progress import ProgressCallback
from whyface.gallery import feature_file, name_rebuild, name_table
from whyface.gallery.feature_file import FeatureFile, Layout, Storage, intact, require_gallery, take_lock
from whyface.gallery.kernel import GalleryFeatures
from whyface.gallery.name_database import FaceRow
from whyface.gallery.name_table import NameTable
from whyface.gallery.search import Candidate, search
from whyface.xcos.comparison import FaceModel
from whyface.xcos.grid import AttentionKind

_CHECKED: Final = 4096


class Gallery:
    """Faces of one model. Use :meth:`create` or :meth:`open`.

    A face is committed once :meth:`add` returns: its record and name are on disk, and a later crash does not lose them.
    Damaged records are ignored and reported, never compared silently: all that a search returns was checked, the names
    too.

    Threads may share a gallery. After a fork, the child can search but not write: it does not hold the lock.
    """

    def __init__(self, path: Path, model: GalleryFeatures | None, *, writable: bool, key: bytes | None = None) -> None:
        self.path = path
        self._model = model
        self._process = os.getpid()
        self._changes = threading.RLock()
        self._lock = take_lock(path) if writable else None
        self._counted: tuple[Any, dict[str, int]] | None = None
        self.names_damage: tuple[str, ...] = ()
        """Damage to the table of names that concerns no single record, as :meth:`check` found it."""
        try:
            self.file = FeatureFile(path / feature_file.FILE_NAME, key)
            table = path / name_table.FILE_NAME
            self.names_table = NameTable(table, writable=writable, cipher=self.file.cipher)
        except BaseException:
            self._release()
            raise
        try:
            if writable:
                remove_leftovers(path, age=0)
                if not self.names_table.checked:
                    name_rebuild.give_checksums(self.names_table, self.file)
                if self.names_table.to_erase():
                    name_rebuild.erase_removed(self.names_table, self.file)
            if model is not None:
                model.require(self.file.layout, path)
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
        key: bytes | None = None,
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
        key
            32 bytes, to encrypt it with (:func:`whyface.gallery.encryption.read_key`).

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
        try:
            with folder_at_once(path) as folder:
                file = FeatureFile.create(folder / feature_file.FILE_NAME, layout, key)
                NameTable.create(folder / name_table.FILE_NAME, cipher=file.cipher).close()
        except OSError as error:
            raise OutputError(f"{path}: cannot be made ({error.strerror})") from error
        return cls(path, features, writable=True, key=key)

    @classmethod
    def open(
        cls,
        path: Path | str,
        model: FaceModel | None = None,
        *,
        writable: bool = False,
        sha256: Mapping[str, str] | None = None,
        key: bytes | None = None,
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
        sha256, key
            As for :meth:`create`. An encrypted gallery is decrypted into memory; others are mapped.

        Raises
        ------
        DataError
            If there is no gallery, or its header is damaged.
        ModelError
            If it was created with another model.
        InputError
            If it is encrypted and this is not its key.
        OutputError
            If it is opened for writing but cannot be written, or another process is writing.
        """
        path = Path(path)
        require_gallery(path)
        features = None if model is None else GalleryFeatures(model, sha256=sha256)
        return cls(path, features, writable=writable, key=key)

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
        self.names_table.refresh()
        promised, removed = self.names_table.count(), frozenset(self.names_table.removed())
        records: NDArray[Any] = self.file.records(promised)
        self.promised, self.removed = promised, removed
        self.records = records
        self.damaged: set[int] = set(range(len(records), promised))

    @property
    def left_out(self) -> set[int]:
        """Records in the file that no search returns: removed or damaged ones."""
        return {number for number in (self.removed | self.damaged) if number < len(self.records)}

    def names(self) -> dict[str, int]:
        """Return the number of faces of each person, sorted by name; after a change, all names are read and checked."""
        state = (self.promised, self.names_table.database.state())
        if self._counted is None or self._counted[0] != state:
            people = Counter(one_spelling(row.name) for row in self._whole_rows())
            self._counted = state, dict(sorted(people.items()))
        return dict(self._counted[1])

    def labels(self) -> list[tuple[int, str]]:
        """Return number and name of every face that is not removed and whose name is intact."""
        return [(row.record, row.name) for row in self._whole_rows() if self._is_tied(row)]

    def rows(self, numbers: Iterable[int]) -> dict[int, FaceRow]:
        """Look up records of the file, without removed and damaged ones; the damaged ones are noted."""
        wanted = [int(number) for number in numbers]
        found = self.names_table.faces(wanted)
        for number in wanted:
            row = found.get(number)
            if row is None or not self._is_tied(row):
                self.damaged.add(number)
            elif row.removed is not None:
                self.removed |= {number}
            else:
                continue
            found.pop(number, None)
        return found

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
            If the numbers of features and names differ, or a name is empty, not in UTF-8 or has a line break.
        OutputError
            If it cannot be written; then nothing is added.
        """
        self._require_writer()
        count = len(features)
        people = [one_spelling(name) for name in ([names] * count if isinstance(names, str) else names)]
        origins = [sources] * count if isinstance(sources, str) else list(sources)
        marks = [""] * count if digests is None else list(digests)
        if not len(people) == len(origins) == len(marks) == count:
            raise InputError(f"{count} faces need as many names and sources, got {len(people)} and {len(origins)}")
        if not all(name.strip() for name in people):
            raise InputError("every face needs a name")
        for text in (*people, *origins):
            if (fault := name_fault(text)) is not None:
                raise InputError(f"{text!r}: a person or a photo {fault} cannot be kept; rename it")
        with self._changes:
            # Counted here: another thread may have added faces since this one last looked.
            start = self.names_table.next_record()
            if (missing := start - self.file.available()) > 0:
                raise DataError(
                    f"{self.path}: {missing} faces are missing at the end of the file; "
                    "put back a copy before anything is added"
                )
            records = self.model.records(self.layout, start, np.asarray(features, np.float32))
            self.file.append(start, records)
            faces = list(zip(people, origins, marks, strict=True))
            self.names_table.add(start, faces, records["crc"].tolist())
            damaged = self.damaged
            self.refresh()
            self.damaged |= damaged
        return range(start, start + count)

    def remove(self, who: str | int | Collection[int]) -> list[FaceRow]:
        """Remove a person, by name, or faces, by record number, and erase them from the folder's files.

        Names, sources and features are overwritten, and what was computed from all faces is deleted: the index for
        shortlists, and the uncertainty. Return the rows as they were.

        Raises
        ------
        InputError
            If there is no such person or record.
        OutputError
            If it cannot be written. Faces that are removed but not yet erased, the next writer erases.
        """
        self._require_writer()
        with self._changes:
            if isinstance(who, str):
                # All rows are read: an index may be damaged, and none of a person's faces may stay.
                rows = [row for row in self._whole_rows() if one_spelling(row.name) == one_spelling(who)]
            else:
                numbers = [who] if isinstance(who, int) else who
                rows = [row for row in self.names_table.faces(numbers).values() if row.removed is None]
            if not rows:
                raise InputError(
                    f"{self.path}: nobody and no face {who!r} here; whyface gallery info --people lists them"
                )
            gone = [row.record for row in rows]
            self.names_table.remove(gone)
            self.removed |= set(gone)
            name_rebuild.erase_removed(self.names_table, self.file, gone)
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
        """Read all records and names and return the damaged ones, including those missing at the end.

        Damage to the table of names that concerns no single record is in :attr:`names_damage` afterwards.
        """
        self.names_damage = tuple(self.names_table.problems())
        for row in self._whole_rows():
            if row.record < len(self.records) and not self._is_tied(row):
                self.damaged.add(row.record)
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

    def _whole_rows(self) -> Iterator[FaceRow]:
        """Yield the rows of all faces that are not removed, and note the records whose rows are damaged."""
        for number, row in enumerate(self.names_table.scan(self.promised)):
            if row is None:
                self.damaged.add(number)
            elif row.removed is None:
                yield row

    def _is_tied(self, row: FaceRow) -> bool:
        # A feature file that was cut off has fewer records than the table has rows.
        return row.record < len(self.records) and row.belongs_to(int(self.records[row.record]["crc"]))

    def _require_writer(self) -> None:
        if self._lock is None:
            raise OutputError(f"{self.path}: opened for reading only")
        if self._process != os.getpid():
            raise OutputError(f"{self.path}: opened before a fork, so another process writes to it; open it here")

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()


def one_spelling(name: str) -> str:
    """Return a name in Unicode's composed form (NFC): some systems write a folder's accents as letters of their own."""
    return unicodedata.normalize("NFC", name)


def pixel_digest(face: NDArray[np.uint8]) -> str:
    """Return the SHA-256 of a face's pixels, independent of its file."""
    return hashlib.sha256(np.ascontiguousarray(face).tobytes()).hexdigest()

"""Decide which files are photos: one rule for all folders and archives, and for the decoder.

A photo is a file with one of :data:`ENDINGS`, at any depth. Hidden files and hidden folders (their names begin with a
dot, as do the companion files of macOS) are skipped, and links to folders are not followed, so that there are no
endless loops and no photo has two names. Everything that is skipped is recorded with its reason.
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Final

from whyface.errors import DataError

ENDINGS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
        "PNG": (".png",),
        "WEBP": (".webp",),
        "BMP": (".bmp",),
        "TIFF": (".tif", ".tiff"),
        "GIF": (".gif",),
        "HEIF": (".heic", ".heif", ".hif"),
        "AVIF": (".avif",),
    }
)
"""The formats: Pillow's name of each, and the endings of its files in lower case. The last two, used by many phones,
need the extra ``heif``; without it they are still listed, and reading them says what is missing."""

PHOTO_ENDINGS: Final = frozenset(ending for endings in ENDINGS.values() for ending in endings)

LARGEST_PHOTO: Final = 512 * 2**20
"""Files above this many bytes are refused; 50 million pixels of 16 bits in four channels take 400 MB uncompressed."""

_HIDDEN: Final = "hidden"
_NO_TEXT: Final = "with a name that is not in UTF-8"
_NOT_IN_A_LINE: Final = "with a line break or another control character in the name"


@dataclass(frozen=True)
class PhotoFolder:
    """The content of a folder or an archive.

    Attributes
    ----------
    photos
        The photos' names, relative to the folder, with forward slashes, sorted.
    folders
        The names of the folders in it, likewise; those of an archive are not listed.
    skipped
        Reasons why files or folders are skipped, by name.
    """

    photos: tuple[str, ...]
    folders: tuple[str, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)

    @property
    def passed_over(self) -> dict[str, str]:
        """The reasons for all skipped files except hidden ones, by name."""
        return {name: reason for name, reason in self.skipped.items() if reason != _HIDDEN}


def describe_passed_over(reasons: Mapping[str, str]) -> str:
    """Return in one line how many files are skipped for which reason; empty if there are none."""
    counts = Counter(reasons.values())
    listed = ", ".join(f"{number} {reason}" for reason, number in sorted(counts.items()))
    return f"Skipped, not photos: {listed}" if counts else ""


def list_photos(folder: str | Path) -> PhotoFolder:
    """List the photos of a folder, at any depth. Raise DataError if it is not a folder, or cannot be read."""
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"{root}: not a folder; give a folder of photos")
    files: list[str] = []
    folders: list[str] = []
    skipped: dict[str, str] = {}
    waiting = [""]
    while waiting:
        here = waiting.pop()
        try:
            entries = _entries(root / here)
        except OSError as error:
            if not here:
                raise DataError(f"{root}: cannot be read ({error.strerror}); check its permissions") from error
            skipped[here] = f"unreadable folder ({error.strerror})"
            continue
        for entry in entries:
            name = f"{here}/{entry.name}" if here else entry.name
            kind = _kind(entry)
            if entry.name.startswith("."):
                skipped[_shown(name)] = _HIDDEN
            elif (fault := name_fault(name)) is not None:
                skipped[_shown(name)] = fault
            elif kind == "folder":
                folders.append(name)
                waiting.append(name)
            elif kind == "file":
                files.append(name)
            else:
                skipped[name] = kind
    found = sort_names(files)
    return PhotoFolder(found.photos, tuple(sorted(folders)), dict(sorted({**skipped, **found.skipped}.items())))


def sort_names(names: Iterable[str]) -> PhotoFolder:
    """Separate photos from other files by name, as in an archive."""
    photos: list[str] = []
    skipped: dict[str, str] = {}
    for name in sorted(names):
        path = PurePosixPath(name)
        if (fault := name_fault(name)) is not None:
            skipped[_shown(name)] = fault
        elif any(part.startswith(".") for part in path.parts):
            skipped[name] = _HIDDEN
        elif path.suffix.lower() in PHOTO_ENDINGS:
            photos.append(name)
        else:
            skipped[name] = f"ending in {path.suffix.lower()}" if path.suffix else "without an ending"
    return PhotoFolder(tuple(photos), skipped=skipped)


def name_fault(name: str) -> str | None:
    """Say why a name cannot be kept, such as ``"with a name that is not in UTF-8"``; None if it can.

    Galleries, JSON and Parquet require UTF-8. A name with a line break would read as two, in a list or in a log.
    """
    if name.isprintable():
        return None
    if any("\ud800" <= letter <= "\udfff" for letter in name):
        return _NO_TEXT
    if any(unicodedata.category(letter) in {"Cc", "Zl", "Zp"} for letter in name):
        return _NOT_IN_A_LINE
    return None


def _shown(name: str) -> str:
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(letter if name_fault(letter) is None else repr(letter)[1:-1] for letter in text)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return list(entries)


def _kind(entry: os.DirEntry[str]) -> str:
    """Return ``"folder"``, ``"file"``, or why it is neither."""
    try:
        if entry.is_dir():
            return "link to a folder" if entry.is_symlink() else "folder"
        if entry.is_file():
            return "file"
    except OSError:
        # A link to itself, or to a place that may not be read.
        return "link that leads nowhere"
    return "link that leads nowhere" if entry.is_symlink() else "no regular file"

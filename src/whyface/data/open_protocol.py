"""Open a protocol by its name, such as ``lfw`` or ``pairs:FILE``: its pairs and pictures.

Protocols in a format of their own (``bin:FILE``, ``ytf:FILE``) are opened by :mod:`whyface.data.open_protocol`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from whyface.data.aligning import AligningPictures
from whyface.data.bcolz_folder import read_bcolz
from whyface.data.drawn_pairs import draw_pairs, read_names
from whyface.data.insightface_bin import read_bin
from whyface.data.pair_lists import read_cfp_pairs, read_lfw_pairs, read_pair_list
from whyface.data.protocols import PairProtocol
from whyface.data.video_sets import SetProtocol, read_video_sets
from whyface.errors import DataError, InputError
from whyface.faces.pictures import Closing, PictureSource, open_pictures

PLAIN: Final = ("lfw", "cfp-ff", "cfp-fp")
"""Protocols without a file in their name."""

WITH_FILE: Final = ("pairs", "names", "bin", "bcolz", "ytf")
"""Protocols written as ``kind:FILE``."""

FOLDED: Final = ("pairs", "names", "bin", "bcolz")
"""Protocols without folds of their own."""

_LFW_FILES: Final = ("lfw-pairs.txt", "pairs.txt")


@dataclass(frozen=True)
class ProtocolName:
    """The parts of a protocol's name.

    Attributes
    ----------
    kind
        One of :data:`PLAIN` or :data:`WITH_FILE`.
    file
        The file after the colon, or None.
    """

    kind: str
    file: Path | None = None


def parse_protocol(text: str) -> ProtocolName:
    """Parse a protocol's name.

    Raises
    ------
    InputError
        If there is no such protocol, or a file is missing or not allowed.
    """
    known = ", ".join((*PLAIN, *(f"{name}:FILE" for name in WITH_FILE)))
    if not text:
        raise InputError(f"say what to measure on with --protocol; known: {known}")
    kind, colon, file = text.partition(":")
    if kind in WITH_FILE:
        if not file:
            raise InputError(f"protocol {kind!r} needs a file: {kind}:FILE")
        return ProtocolName(kind, Path(file))
    if kind in PLAIN and not colon:
        return ProtocolName(kind)
    close = difflib.get_close_matches(kind.lower(), (*PLAIN, *WITH_FILE), n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise InputError(f"unknown protocol {text!r}; {hint}known: {known}")


def open_protocol(
    name: ProtocolName, data: Path, *, pairs: Path | None = None, folds: int = 10
) -> tuple[PictureSource, PairProtocol]:
    """Read a protocol and open its pictures, making sure that every picture is there.

    Parameters
    ----------
    name
        What :func:`parse_protocol` returned.
    data
        Folder or uncompressed tar file of aligned pictures.
    pairs
        LFW's pair file; by default ``lfw-pairs.txt`` or ``pairs.txt`` in ``data`` or beside it.
    folds
        Number of folds that a plain pair list is divided into.

    Returns
    -------
    The open pictures, to be closed by the caller, and the pairs.

    Raises
    ------
    DataError
        If pictures or pairs are missing or malformed.
    InputError
        If options do not fit the protocol, or it has fewer than two folds.
    """
    check_data(data)
    source = open_pictures(data)
    try:
        return source, read_protocol(name, source, data, pairs=pairs, folds=folds)
    except BaseException:
        source.close()
        raise


def check_data(data: Path) -> None:
    """Raise DataError if there is nothing at a path."""
    if not data.exists():
        raise DataError(f"{data}: no such folder or tar file; give the pictures")


def read_protocol(
    name: ProtocolName, source: PictureSource, data: Path, *, pairs: Path | None = None, folds: int = 10
) -> PairProtocol:
    """Read a protocol with open pictures and check that none is missing.

    Raise DataError or InputError as for :func:`open_protocol`.

    Parameters
    ----------
    name
        What :func:`parse_protocol` returned.
    data
        Folder or file of the pictures.
    """
    if pairs is not None and name.kind != "lfw":
        raise InputError(f"a separate pair file is for the protocol lfw, not {name.kind}; leave out --pairs")
    protocol = _read(name, source, data, pairs, folds)
    check_folds(protocol)
    _check_pictures(protocol.pictures, source, data)
    return protocol


def _read(name: ProtocolName, source: PictureSource, data: Path, pairs: Path | None, folds: int) -> PairProtocol:
    if name.kind not in (*PLAIN, "pairs", "names"):
        raise InputError(f"the protocol {name.kind} cannot be used here; use {', '.join(PLAIN)} or pairs:FILE")
    if name.kind == "names" and name.file is not None:
        return draw_pairs(read_names(name.file), name=name.file.stem, folds=folds)
    if name.file is not None:
        return read_pair_list(name.file, folds=folds)
    if name.kind == "lfw":
        return read_lfw_pairs(pairs or _find_lfw_pairs(data), folder=_folder_around(source.names()), name="lfw")
    return read_cfp_pairs(source, "FF" if name.kind == "cfp-ff" else "FP")


def _folder_around(names: tuple[str, ...]) -> str:
    """People's folders may be at the top or, as in LFW's own archives ("lfw", "lfw-deepfunneled"), in a folder."""
    if any(name.startswith("lfw/") for name in names):
        return "lfw"
    tops = {name.partition("/")[0] for name in names}
    return tops.pop() if len(tops) == 1 and all(name.count("/") == 2 for name in names) else ""


def _find_lfw_pairs(data: Path) -> Path:
    folders = ([data] if data.is_dir() else []) + [data.absolute().parent]
    for folder in folders:
        for file in _LFW_FILES:
            if (folder / file).is_file():
                return folder / file
    names = " or ".join(_LFW_FILES)
    # Commands call the option by different names.
    how = "evaluate --pairs, benchmark --pair-file"
    raise DataError(f"{data}: no {names} in it or beside it; put LFW's pair file there, or give it ({how})")


def check_folds(protocol: PairProtocol) -> None:
    """Raise InputError if a protocol has fewer than two folds."""
    if len(set(protocol.fold.tolist())) < 2:
        raise InputError(f"{protocol.name} has a single fold, but accuracy needs two or more; use another pair file")


def _check_pictures(wanted: Iterable[str], source: PictureSource, data: Path) -> None:
    """Raise DataError if pictures are missing, before the work begins."""
    listed = set(source.names())
    pictures = list(wanted)
    missing = [name for name in pictures if name not in listed and not _readable(name, source)]
    if missing:
        raise DataError(
            f"{data}: {len(missing)} of the {len(pictures)} pictures that the protocol needs are missing, first "
            f"{missing[0]}; check that the pictures and the protocol belong together"
        )


def _readable(name: str, source: PictureSource) -> bool:
    # Names may be written differently ("./a.jpg") or have another suffix than those that are listed.
    try:
        source.read_bytes(name)
    except DataError:
        return False
    return True


@dataclass(frozen=True, eq=False)
class OpenedProtocol(Closing):
    """A protocol and its open pictures.

    Attributes
    ----------
    source
        The open pictures.
    pairs
        The pairs to compare.
    data
        Name of the file or folder with the pictures.
    sets
        If sets of pictures are compared: the pictures of each set, and ``pairs`` again; else None.
    details
        Further information for a report, as plain JSON values; see :meth:`describe`.
    """

    source: PictureSource
    pairs: PairProtocol
    data: str
    sets: SetProtocol | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def pictures(self) -> tuple[str, ...]:
        """All pictures that are read."""
        if self.sets is None:
            return self.pairs.pictures
        return tuple(dict.fromkeys(name for frames in self.sets.frames for name in frames))

    def describe(self) -> dict[str, Any]:
        """Return what a report must say about this protocol besides its pairs, as plain JSON values."""
        if self.sets is None:
            return dict(self.details)
        return {"pictures": self.sets.count, "sets": len(self.sets.frames), **self.details}

    def without(self, failed: Mapping[str, str]) -> OpenedProtocol:
        """Return the protocol without some pictures and the pairs that need them; the details say how many and why.

        Raise DataError if no pairs are left, and InputError if fewer than two folds are left.
        """
        sets = None if self.sets is None else self.sets.without(failed)
        pairs = self.pairs.without(failed) if sets is None else sets.pairs
        check_folds(pairs)
        lost = len(self.pairs.genuine) - len(pairs.genuine)
        genuine = int(self.pairs.genuine.sum() - pairs.genuine.sum())
        details = {
            **self.details,
            "failures": dict(sorted(failed.items())),
            "pairs_left_out": {"genuine": genuine, "impostor": lost - genuine},
        }
        return replace(self, sets=sets, pairs=pairs, details=details)

    def close(self) -> None:
        """Close the pictures."""
        self.source.close()


def open_any_protocol(
    name: ProtocolName,
    data: Path | None,
    *,
    pairs: Path | None = None,
    folds: int | None = None,
    frames: int | None = None,
    align: bool = False,
    align_cache: Path | None = None,
    threads: int | None = None,
) -> OpenedProtocol:
    """Read a protocol and open its pictures, making sure that every picture is there.

    Parameters
    ----------
    name
        What :func:`whyface.data.open_protocol.parse_protocol` returned.
    data
        Folder or uncompressed tar file of pictures; None for ``bin`` and ``bcolz``, which contain them.
    pairs
        LFW's pair file, see :func:`whyface.data.open_protocol.open_protocol`.
    folds
        Number of folds that a list, a ``.bin`` file or a bcolz folder is divided into, by default 10; other
        protocols have their own.
    frames
        Maximum number of pictures of each set, evenly spaced; None uses all.
    align
        Whether the pictures are photographs with faces to detect and align first.
    align_cache
        Folder that keeps the aligned faces; None keeps them only until the end of the run.
    threads
        Threads of ONNX Runtime for the face detector; None leaves it to ONNX Runtime.

    Returns
    -------
    The protocol, to be closed by the caller.

    Raises
    ------
    DataError
        If pictures or pairs are missing or malformed.
    InputError
        If options do not fit the protocol, or it has fewer than two folds.
    OutputError
        If the cache cannot be created.
    """
    if align_cache is not None and not align:
        raise InputError("a cache of aligned faces is for photographs; add --align or leave out --align-cache")
    if folds is not None and name.kind not in FOLDED:
        raise InputError(f"the protocol {name.kind} has folds of its own; leave out --folds")
    folds = 10 if folds is None else folds
    if pairs is not None and name.kind != "lfw":
        raise InputError(f"a separate pair file is for the protocol lfw, not {name.kind}; leave out --pairs")
    if frames is not None and name.kind != "ytf":
        raise InputError(f"a number of frames is for the protocol ytf, not {name.kind}; leave out --frames")
    if name.kind in ("bin", "bcolz") and name.file is not None:
        if data is not None or align:
            raise InputError(
                f"{name.kind}:{name.file.name} holds its own aligned pictures; leave out --data and --align"
            )
        found = read_bin(name.file, folds=folds) if name.kind == "bin" else read_bcolz(name.file, folds=folds)
        check_folds(found.protocol)
        return OpenedProtocol(
            found.source, found.protocol, name.file.name, details={"contradicting_labels": found.contradictions}
        )
    if data is None:
        raise InputError(f"the protocol {name.kind} needs its pictures: give their folder or tar file with --data")
    check_data(data)
    details: dict[str, Any] = {}
    source: PictureSource = open_pictures(data)
    try:
        if align:
            source = AligningPictures(source, cache=align_cache, threads=threads)
            details = {"aligned_by": source.recipe}
        if name.kind == "ytf" and name.file is not None:
            sets = read_video_sets(name.file, source.names(), where=str(data), name="ytf")
            check_folds(sets.pairs)
            sets = sets if frames is None else sets.at_most(frames)
            return OpenedProtocol(source, sets.pairs, data.name, sets, details)
        protocol = read_protocol(name, source, data, pairs=pairs, folds=folds)
        return OpenedProtocol(source, protocol, data.name, details=details)
    except BaseException:
        source.close()
        raise

"""Open any protocol with its pictures: aligned or photographs, in a folder, a tar file or a file of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from whyface.data.aligning import AligningPictures
from whyface.data.insightface_bin import read_bin
from whyface.data.video_sets import read_video_sets
from whyface.errors import InputError
from whyface.evaluate.closing import Closing
from whyface.evaluate.pictures import PictureSource, open_pictures
from whyface.evaluate.protocol_names import ProtocolName, check_data, check_folds, read_protocol
from whyface.evaluate.protocols import PairProtocol
from whyface.evaluate.set_protocol import SetProtocol


@dataclass(frozen=True, eq=False)
class OpenedProtocol(Closing):
    """A protocol and where its pictures are read from.

    Attributes
    ----------
    source
        The open pictures.
    pairs
        Who is compared with whom.
    data
        Name of the file or folder with the pictures.
    sets
        Where sets of pictures are compared: the pictures of each, and ``pairs`` once more; else None.
    details
        What a report says about the protocol besides, as plain JSON values; see :meth:`describe`.
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
        """Say what a report must say about this protocol besides its pairs, as plain JSON values."""
        if self.sets is None:
            return dict(self.details)
        return {"pictures": self.sets.count, "sets": len(self.sets.frames), **self.details}

    def without(self, failed: Mapping[str, str]) -> OpenedProtocol:
        """Leave out pictures, and pairs that are without pictures then; the details say how many and why.

        Parameters
        ----------
        failed
            Why a picture cannot be used, by its name.

        Raises
        ------
        DataError
            If no pairs are left.
        InputError
            If fewer than two folds are left.
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
    folds: int = 10,
    frames: int | None = None,
    align: bool = False,
    align_cache: Path | None = None,
    threads: int | None = None,
) -> OpenedProtocol:
    """Read a protocol and open its pictures, making sure that every picture is there.

    Parameters
    ----------
    name
        What :func:`whyface.evaluate.protocol_names.parse_protocol` returned.
    data
        Folder or uncompressed tar file of pictures; None for ``bin``, whose file holds them.
    pairs
        LFW's pair file, see :func:`whyface.evaluate.protocol_names.open_protocol`.
    folds
        How many folds a pair list or a ``.bin`` file is divided into.
    frames
        Use at most so many pictures of each set, evenly spaced; None uses all.
    align
        The pictures are photographs whose faces must be found and aligned first.
    align_cache
        Folder that keeps the aligned faces; None keeps them until the end of the run only.
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
        If the cache cannot be made.
    """
    if align_cache is not None and not align:
        raise InputError("a cache of aligned faces is for photographs; add --align or leave --align-cache out")
    if pairs is not None and name.kind != "lfw":
        raise InputError(f"a pair file of its own is for the protocol lfw, not {name.kind}; leave --pairs out")
    if frames is not None and name.kind != "ytf":
        raise InputError(f"a number of frames is for the protocol ytf, not {name.kind}; leave --frames out")
    if name.kind == "bin" and name.file is not None:
        if data is not None or align:
            raise InputError("a .bin file holds its own aligned pictures; leave --data and --align out")
        found = read_bin(name.file, folds=folds)
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

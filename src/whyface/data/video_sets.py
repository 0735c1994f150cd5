"""Sets of pictures, such as the frames of two videos, and the protocols that compare them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from whyface.data.protocols import LabelledPair, PairProtocol, build_protocol, read_lines
from whyface.errors import DataError, InputError


@dataclass(frozen=True, eq=False)
class SetProtocol:
    """Pairs of sets of pictures.

    Attributes
    ----------
    pairs
        The pairs; their picture names are the names of the V sets.
    frames
        The pictures of each set, in order; V entries, none of them empty.
    """

    pairs: PairProtocol
    frames: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        if len(self.frames) != len(self.pairs.pictures) or not all(self.frames):
            raise InputError(f"protocol {self.pairs.name}: every set needs one or more pictures")

    @property
    def count(self) -> int:
        """Total number of pictures of all sets."""
        return sum(map(len, self.frames))

    def at_most(self, count: int) -> SetProtocol:
        """Return the protocol with at most ``count`` pictures of each set, evenly spaced.

        Raise InputError if ``count`` is below 1.
        """
        return SetProtocol(self.pairs, tuple(evenly_spaced(names, count) for names in self.frames))

    def without(self, names: Collection[str]) -> SetProtocol:
        """Return the protocol without these pictures and without pairs of sets that have none left.

        Raise DataError if no pairs are left.
        """
        gone = frozenset(names)
        left = [tuple(name for name in frames if name not in gone) for frames in self.frames]
        empty = [name for name, frames in zip(self.pairs.pictures, left, strict=True) if not frames]
        kept = dict(zip(self.pairs.pictures, left, strict=True))
        pairs = self.pairs.without(empty)
        return SetProtocol(pairs, tuple(kept[name] for name in pairs.pictures))


def evenly_spaced(names: tuple[str, ...], count: int) -> tuple[str, ...]:
    """Choose at most ``count`` of N names: the middles of ``count`` equal parts.

    Raise InputError if ``count`` is below 1.
    """
    if count < 1:
        raise InputError(f"at least one picture of each set is needed, got {count}")
    if len(names) <= count:
        return names
    return tuple(names[place] for place in ((2 * np.arange(count) + 1) * len(names) // (2 * count)).tolist())


_NUMBERS: Final = re.compile(r"([0-9]+)")
_SPLIT: Final = re.compile(r"[0-9]{1,4}")


def list_videos(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the pictures of each folder that has any.

    Returns
    -------
    dict
        Folder -> its pictures; numbers within names count as numbers, so that frame 10 comes after frame 9.
    """
    found: dict[str, list[str]] = {}
    for name in names:
        folder, slash, _ = name.rpartition("/")
        if slash:
            found.setdefault(folder, []).append(name)
    return {folder: tuple(sorted(pictures, key=_by_numbers)) for folder, pictures in found.items()}


def read_video_sets(path: str | Path, names: Iterable[str], *, where: str, name: str = "") -> SetProtocol:
    """Read a list of pairs of videos and find their pictures.

    Raise DataError if the list cannot be read, a line is malformed, contradicts the people's names or pairs a video
    with itself, or a video has no pictures.

    Parameters
    ----------
    path
        The list (YouTube Faces calls it ``splits.txt``).
    names
        All picture names; one folder around all people is allowed.

    Returns
    -------
    SetProtocol
        Sets named ``person/video``, folds numbered from 0 in the order of their splits.
    """
    path = Path(path)
    rows = [_parse(line, f"{path}, line {number}") for number, line in _without_header(read_lines(path), path)]
    order = {split: fold for fold, split in enumerate(sorted({row[3] for row in rows}))}
    pairs: list[LabelledPair] = [(left, right, same, order[split]) for left, right, same, split in rows]
    people = {video: video.partition("/")[0] for left, right, _, _ in pairs for video in (left, right)}
    protocol = build_protocol(name or path.stem, pairs, people)
    videos = list_videos(names)
    prefix = _find_prefix(videos)
    missing = [video for video in protocol.pictures if prefix + video not in videos]
    if missing:
        raise DataError(
            f"{where}: {len(missing)} of the {len(protocol.pictures)} videos that {path.name} names have no pictures, "
            f"first {missing[0]}; expected a folder {prefix}PERSON/VIDEO for each"
        )
    return SetProtocol(protocol, tuple(videos[prefix + video] for video in protocol.pictures))


def _without_header(lines: list[tuple[int, str]], path: Path) -> list[tuple[int, str]]:
    first = lines[0][1].partition(",")[0].strip()
    rest = lines if _SPLIT.fullmatch(first) else lines[1:]
    if not rest:
        raise DataError(f"{path}: holds no pairs; expected lines 'split, person/video, person/video, same'")
    return rest


def _parse(line: str, where: str) -> tuple[str, str, bool, int]:
    fields = [field.strip() for field in line.split(",")]
    if len(fields) != 4 or not _SPLIT.fullmatch(fields[0]) or fields[3] not in ("0", "1"):
        raise DataError(f"{where}: expected 'split, person/video, person/video, 0 or 1', got {line[:120]!r}")
    left, right, same = fields[1], fields[2], fields[3] == "1"
    for video in (left, right):
        parts = video.split("/")
        if len(parts) != 2 or any(part in ("", ".", "..") for part in parts) or "\\" in video:
            raise DataError(f"{where}: {video!r} is not a video; expected PERSON/VIDEO")
    if left == right:
        raise DataError(f"{where}: {left} is paired with itself; check the list")
    if (left.partition("/")[0] == right.partition("/")[0]) != same:
        raise DataError(f"{where}: {left} and {right} contradict the label {fields[3]}; check the list")
    return left, right, same, int(fields[0])


def _find_prefix(videos: Mapping[str, object]) -> str:
    """Return the one folder around ``person/video``, with a slash, or ``""`` if there is none."""
    parts = [folder.split("/") for folder in videos]
    wrapped = bool(parts) and all(len(part) == 3 for part in parts) and len({part[0] for part in parts}) == 1
    return f"{parts[0][0]}/" if wrapped else ""


def _by_numbers(name: str) -> tuple[tuple[int, int | str], ...]:
    pieces = _NUMBERS.split(name)
    # Numbers sort before texts, so that pieces of different kinds can be compared; the name itself breaks ties.
    return (*((0, int(p)) if p.isdecimal() else (1, p) for p in pieces), (1, name))

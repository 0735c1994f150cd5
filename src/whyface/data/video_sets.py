"""Sets of pictures as in YouTube Faces: a folder for each video, and a list of pairs of videos.

Pictures lie in ``person/video/picture.jpg``. Each line of the list is ``split, person/video, person/video, same`` with
splits from 1 and ``same`` 1 or 0, fields separated by commas; the first line is a header.

L. Wolf, T. Hassner, I. Maoz, Face recognition in unconstrained videos with matched background similarity, CVPR 2011.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from whyface.errors import DataError
from whyface.evaluate.protocols import LabelledPair, build_protocol, read_lines
from whyface.evaluate.set_protocol import SetProtocol

_NUMBERS: Final = re.compile(r"([0-9]+)")
_SPLIT: Final = re.compile(r"[0-9]{1,4}")


def list_videos(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Collect the pictures of each folder that holds any.

    Parameters
    ----------
    names
        Picture names, such as a source gives.

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

    Parameters
    ----------
    path
        The list (YouTube Faces calls it ``splits.txt``).
    names
        All picture names; one folder around all people is allowed.
    where
        What to call their source in an error message.
    name
        Name of the protocol; the list's stem by default.

    Returns
    -------
    SetProtocol
        Sets named ``person/video``, folds numbered from 0 in the order of their splits.

    Raises
    ------
    DataError
        If the list cannot be read, a line is malformed, contradicts the people's names or pairs a video with itself, or
        a video has no pictures.
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
            raise DataError(f"{where}: {video!r} is no video; expected PERSON/VIDEO")
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
    # Numbers before texts, so that two pieces of different kinds can be compared; the name itself breaks ties.
    return (*((0, int(p)) if p.isdecimal() else (1, p) for p in pieces), (1, name))

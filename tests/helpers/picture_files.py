"""Small pictures in folders and tar files, and the real sets where they are at hand, for the tests of all readers."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

_SHARED = Path(__file__).resolve().parents[3] / "shared"


def shared_data(name: str) -> Path:
    """Path of a real data set, or skip the test."""
    path = _SHARED / "data" / name
    if not path.exists():
        pytest.skip(f"needs the data set ../shared/data/{name}")
    return path


def encoded(pixels: NDArray[np.uint8], kind: str = "png") -> bytes:
    """Encode RGB pixels."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def flat(colour: int | Sequence[int], kind: str = "png", size: int = 112) -> bytes:
    """Encode a picture of one colour; a number is a shade of red."""
    shade = (colour, 0, 0) if isinstance(colour, int) else tuple(colour)
    return encoded(np.full((size, size, 3), shade, np.uint8), kind)


def write_tree(root: Path, files: Mapping[str, bytes]) -> Path:
    """Write files below a folder."""
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def write_tar(path: Path, files: Mapping[str, bytes], mode: str = "w:") -> Path:
    """Write files into a tar file."""
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path

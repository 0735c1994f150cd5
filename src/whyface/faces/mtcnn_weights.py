"""The weights of MTCNN, read from the package ``mtcnn`` 1.0.0 without running any of its code.

They are stored as joblib files, which are pickles. A pickle is a program, so it is never run here: the files must
have the SHA-256 on record, and of the stream only the places where arrays follow are looked for.
"""

from __future__ import annotations

import hashlib
import io
import math
import pickletools
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from whyface.errors import ModelError, ModelIntegrityError
from whyface.faces.mtcnn_networks import Networks, Tensor

Shape = tuple[int, ...]


class _Stored(NamedTuple):
    file: str
    sha256: str
    shapes: tuple[Shape, ...]


def _layers(*kernels: Shape, parted: int) -> tuple[Shape, ...]:
    """Return the shapes of kernel, bias and slopes of each layer; the last ``parted`` layers have no slopes."""
    shapes: list[Shape] = []
    for number, kernel in enumerate(kernels):
        shapes += [kernel, kernel[-1:]]
        if number < len(kernels) - parted:
            shapes.append((1, 1, kernel[-1]) if len(kernel) == 4 else kernel[-1:])
    return tuple(shapes)


_PROPOSAL: Final = _Stored(
    "pnet.lz4",
    "ea6b0c3e685ebee3165326ad6484acc95f2ef78f1c94fbf40a55704fa989f7b5",
    _layers((3, 3, 3, 10), (3, 3, 10, 16), (3, 3, 16, 32), (1, 1, 32, 4), (1, 1, 32, 2), parted=2),
)
_REFINEMENT: Final = _Stored(
    "rnet.lz4",
    "cb00e6460f3c98b0bfafaba3c0a0ded4bdf6e62cee7174d969e8670d7e757fee",
    _layers((3, 3, 3, 28), (3, 3, 28, 48), (2, 2, 48, 64), (576, 128), (128, 4), (128, 2), parted=2),
)
_OUTPUT: Final = _Stored(
    "onet.lz4",
    "94f6ea2f4cf985275ee958cdd762d17b6009348a4fb9d8c6be39ba73ffd22ca3",
    _layers(
        *((3, 3, 3, 32), (3, 3, 32, 64), (3, 3, 64, 64), (2, 2, 64, 128)),
        *((1152, 256), (256, 4), (256, 10), (256, 2)),
        parted=3,
    ),
)


def load_networks() -> Networks:
    """Read the three networks from the installed package ``mtcnn``.

    Raises
    ------
    ModelError
        If the package or its decompressor ``lz4`` is not installed.
    ModelIntegrityError
        If a file is not the one on record.
    """
    spec = find_spec("mtcnn")
    if spec is None or not spec.submodule_search_locations:
        raise ModelError("the detector MTCNN needs the package mtcnn; install it with: pip install 'whyface[mtcnn]'")
    folder = Path(spec.submodule_search_locations[0]) / "assets" / "weights"
    return Networks(*(_read(folder, stored) for stored in (_PROPOSAL, _REFINEMENT, _OUTPUT)))


def arrays_of_joblib(data: bytes, shapes: Sequence[Shape]) -> list[Tensor]:
    """Take the float32 arrays out of an uncompressed joblib file; its pickle is read but not run.

    After the state of each array's wrapper is set (SETITEMS, then BUILD), the stream holds one byte with the number
    of padding bytes, the padding, and the array in C order.

    Raises
    ------
    ModelError
        If the stream does not hold exactly arrays of these shapes.
    """
    stream, arrays, before = io.BytesIO(data), list[Tensor](), ""
    try:
        for operation, _, _ in pickletools.genops(stream):
            if operation.name == "BUILD" and before == "SETITEMS":
                shape = shapes[len(arrays)]
                stream.seek(stream.read(1)[0], io.SEEK_CUR)
                content = stream.read(4 * math.prod(shape))
                arrays.append(np.frombuffer(content, "<f4").reshape(shape).astype(np.float32))
            before = operation.name if operation.name != "MEMOIZE" else before
    except (ValueError, IndexError) as error:
        raise ModelError("the weights are not stored in the form expected; install mtcnn 1.0.0") from error
    if len(arrays) != len(shapes):
        raise ModelError(f"{len(shapes)} arrays of weights expected, {len(arrays)} found; install mtcnn 1.0.0")
    return arrays


def _read(folder: Path, stored: _Stored) -> list[Tensor]:
    try:
        import lz4.frame  # type: ignore[import-untyped, import-not-found, unused-ignore]  # noqa: PLC0415
    except ImportError as error:
        raise ModelError("the weights of MTCNN need the package lz4; install it with: pip install lz4") from error
    path = folder / stored.file
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read; install mtcnn 1.0.0 again") from error
    if hashlib.sha256(data).hexdigest() != stored.sha256:
        raise ModelIntegrityError(f"{path}: not the file of mtcnn 1.0.0; install that version")
    return arrays_of_joblib(lz4.frame.decompress(data), stored.shapes)

"""Find the tensors of an ONNX network that can serve as its grid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from whyface.faces.face import FACE_SIZE
from whyface.models.integrity import read_model
from whyface.models.onnx_session import FaceSession, read_summary
from whyface.models.onnx_tap import add_output
from whyface.models.preprocessing import RAW, Preprocessing

_LARGEST_SIDE: Final = 32


@dataclass(frozen=True)
class GridTensor:
    """A tensor that can serve as a grid: its name and its shape (C, H, W)."""

    name: str
    shape: tuple[int, int, int]


def list_grids(path: Path | str, *, preprocessing: Preprocessing = RAW) -> list[GridTensor]:
    """Find the spatial maps of an ONNX network by running it once on a blank face.

    Returns
    -------
    list of GridTensor
        In file order, those with more than one cell and at most 32 x 32; the last is the usual choice.

    Raises
    ------
    ModelError
        The network cannot be read or run.
    """
    file = Path(path)
    data = read_model(file)
    summary = read_summary(data, file)
    names = summary.spatial()
    inner = [name for name in names if name not in summary.outputs]
    session = FaceSession(add_output(data, *inner), file, preprocessing, threads=1)
    blank = preprocessing.apply(np.zeros((1, 3, FACE_SIZE, FACE_SIZE), np.uint8))
    found = []
    for name, shape in zip(names, session.shapes(names, blank), strict=True):
        if len(shape) == 4 and shape[2] * shape[3] > 1 and max(shape[2:]) <= _LARGEST_SIDE:
            found.append(GridTensor(name, (shape[1], shape[2], shape[3])))
    return found

"""Faces made of coloured places, a network that sees the colours, and attributes that are colours."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyface.faces.face import Face
from whyface.faces.quality import measure_crop
from whyface.models.embedder import Batch, l2_normalise
from whyface.words.attribute_model import AttributeEvidence, AttributeHeads
from whyface.words.identity_evidence import IdentityClasses, identity_cells
from whyface.words.word_explainer import WordExplainer
from whyface.words.word_maps import Heatmap
from whyface.words.word_report import WordSettings
from whyface.xcos.comparison import XcosComparison
from whyface.xcos.model import XcosModel

COLOURS = ("Red", "Green", "Blue")


class ColourNetwork:
    """The grid is each place's mean colour; nothing else."""

    name = "colours"
    sha256 = "0" * 64

    def grid(self, batch: Batch) -> NDArray[np.float32]:
        cells = batch.reshape(len(batch), 3, 7, 16, 7, 16).astype(np.float32)
        return np.ascontiguousarray(cells.mean(axis=(3, 5)))

    def embed(self, batch: Batch) -> NDArray[np.float32]:
        return l2_normalise(self.grid(batch).reshape(len(batch), -1))


class ColourReader:
    """An attribute is a colour that stands out from the other two somewhere."""

    def __init__(self) -> None:
        weight = ((1.5 * np.eye(3) - 0.5) / 10).astype(np.float32)
        self.heads = AttributeHeads(COLOURS, weight, np.full(3, -0.5, np.float32), np.zeros((3, 7, 7), np.float32), {})
        self.network = ColourNetwork()

    def __call__(self, batch: Batch, heatmap: Heatmap = "evidence") -> AttributeEvidence:
        return self.heads(self.network.grid(batch), heatmap)


def coloured_face(cells: NDArray[np.integer[Any]], name: str = "") -> Face:
    """Paint a face of 7 x 7 places, (7, 7, 3); flat colours would be poor, so it is said to be a good one."""
    image = np.kron(cells, np.ones((16, 16, 1))).astype(np.uint8)
    return Face(image, source=name, quality=replace(measure_crop(image), unified=1.0))


def planted_pair(seed: int, red: tuple[slice, slice], green: tuple[slice, slice]) -> tuple[Face, Face]:
    """Two faces of one grey pattern: both have the green places, only the first the red ones."""
    rng = np.random.default_rng(seed)
    base = np.repeat(rng.integers(70, 110, (7, 7, 1)), 3, axis=2)
    first = base + rng.integers(-6, 7, (7, 7, 3))
    second = base + rng.integers(-6, 7, (7, 7, 3))
    for cells in (first, second):
        cells[green] = (20, 250, 20)
    first[red] = (250, 20, 20)
    return coloured_face(first, "a.png"), coloured_face(second, "b.png")


def colour_words(*, threshold: float = 0.999, classes: IdentityClasses | None = None, **settings: Any) -> WordExplainer:
    """Words about colours, decided by xCos with uniform attention."""
    comparison = XcosComparison(XcosModel(ColourNetwork()), "u")
    chosen = WordSettings(**{"eraser": "mean", "draws": 20, **settings})
    reader: Any = ColourReader()
    return WordExplainer(
        comparison, identity_cells(comparison), reader, threshold=threshold, settings=chosen, classes=classes
    )

"""Choices and options that several commands offer."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from whyface.evaluate.set_scoring import Aggregation
    from whyface.models.preprocessing import Preprocessing


class Attention(StrEnum):
    """Kinds of attention on the command line."""

    U = "u"
    P = "p"
    L = "l"


class Sets(StrEnum):
    """How sets of pictures are compared."""

    GRIDS = "grids"
    SCORES = "scores"

    def aggregation(self) -> Aggregation:
        """Return what this stands for."""
        return "grids" if self is Sets.GRIDS else "scores"


class Pixels(StrEnum):
    """What a network of the user's own wants done to pixels."""

    RAW = "raw"
    ARCFACE = "arcface"
    IMAGENET = "imagenet"

    def preprocessing(self) -> Preprocessing:
        """Return what this stands for."""
        from whyface.models.preprocessing import ARCFACE, IMAGENET, RAW  # noqa: PLC0415 - start fast

        return {Pixels.RAW: RAW, Pixels.ARCFACE: ARCFACE, Pixels.IMAGENET: IMAGENET}[self]


ModelName = Annotated[str, typer.Option(help="Known model, or path of an ONNX network of your own.")]

ModelFolder = Annotated[
    Path | None,
    typer.Option(envvar="WHYFACE_MODELS", help="Folder of models that do not come with whyface.", show_default=False),
]

GridTensor = Annotated[
    str | None, typer.Option(help="Own ONNX network: the tensor with its last spatial map.", show_default=False)
]

OwnPixels = Annotated[
    Pixels | None, typer.Option(help="Own ONNX network: what it wants done to the pixels.", show_default=False)
]

Threads = Annotated[int | None, typer.Option(min=1, help="Threads to use.", show_default=False)]

AttentionKind = Annotated[
    Attention | None,
    typer.Option(help="u uniform, p correlated, l learned; the model's own if not given.", show_default=False),
]

Threshold = Annotated[
    float | None, typer.Option(help="Match above this score, instead of a measured threshold.", show_default=False)
]

Fmr = Annotated[
    float | None,
    typer.Option(
        help="Take the threshold measured for this false match rate: 1e-2 or 1e-3 (default).", show_default=False
    ),
]

Figure = Annotated[Path | None, typer.Option(help="Write the figure here (.png, .pdf or .svg).", show_default=False)]

Aligned = Annotated[bool, typer.Option("--aligned", help="The photos are aligned 112 x 112 crops.")]

FaceA = Annotated[int, typer.Option(min=0, help="Which face of photo A; 0 is the largest.")]

FaceB = Annotated[int, typer.Option(min=0, help="Which face of photo B; 0 is the largest.")]

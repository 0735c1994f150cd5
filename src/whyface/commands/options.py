"""Choices and options shared by several commands, with those of model and threshold as one block."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whyface.errors import InputError

if TYPE_CHECKING:
    from whyface.evaluate.set_scoring import Aggregation
    from whyface.models.embedder import Embedder


class Attention(StrEnum):
    """Kinds of attention on the command line."""

    U = "u"
    P = "p"
    L = "l"


class Sets(StrEnum):
    """How to compare sets of pictures."""

    GRIDS = "grids"
    SCORES = "scores"

    def aggregation(self) -> Aggregation:
        """Return the aggregation."""
        return "grids" if self is Sets.GRIDS else "scores"


class Eraser(StrEnum):
    """What replaces erased pixels."""

    BLACK = "black"
    WHITE = "white"
    MEAN = "mean"
    RANDOM = "random"
    BLUR = "blur"


class Pixels(StrEnum):
    """Preprocessing of a user's network, by the names of :data:`whyface.models.preprocessing.PRESETS`."""

    RAW = "raw"
    UNIT = "unit"
    ARCFACE = "arcface"
    ARCFACE_128 = "arcface-128"
    IMAGENET = "imagenet"
    RAW_BGR = "raw-bgr"
    UNIT_BGR = "unit-bgr"
    ARCFACE_BGR = "arcface-bgr"
    ARCFACE_128_BGR = "arcface-128-bgr"
    IMAGENET_BGR = "imagenet-bgr"


ModelName = Annotated[
    str,
    typer.Option(
        help="Name of a known model, path of your own ONNX network, or BACKBONE:FILE.safetensors for a torch network."
    ),
]

ModelFolder = Annotated[
    Path | None,
    typer.Option(envvar="WHYFACE_MODELS", help="Folder of models that do not come with whyface.", show_default=False),
]

GridTensor = Annotated[
    str | None, typer.Option(help="Your own network: name of the tensor with its last spatial map.", show_default=False)
]

OwnPixels = Annotated[
    Pixels | None,
    typer.Option(
        help="Your own network: values of its pixels. raw 0..255 (default), unit 0..1, arcface -1..1, arcface-128 "
        "(x - 127.5) / 128, imagenet mean and std; -bgr: blue first.",
        show_default=False,
    ),
]

OwnOutput = Annotated[
    str | None,
    typer.Option(help="Your own network: name of the output with the embedding, if not the first.", show_default=False),
]

OwnSize = Annotated[
    int | None,
    typer.Option(
        min=16,
        max=512,
        help="Your own network: side of its input in pixels, if the network leaves it free; 112.",
        show_default=False,
    ),
]

Device = Annotated[
    str,
    typer.Option(
        "--device",
        "--providers",
        help="Where the network runs: cpu, cuda (whyface[gpu]), or execution providers of ONNX Runtime by name, with "
        "commas between.",
    ),
]

Unchecked = Annotated[
    bool, typer.Option("--unchecked", help="Your own network: do not try it on the demo photos first.")
]

GalleryPath = Annotated[Path, typer.Argument(help="Folder of the gallery.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
GalleryKey = Annotated[
    Path | None,
    typer.Option(
        "--key",
        help="File with the key of an encrypted gallery, 64 hexadecimal digits; else the variable WHYFACE_KEY.",
        show_default=False,
    ),
]
AcceptPoor = Annotated[
    bool,
    typer.Option(
        "--accept-poor", help="Decide also where a face is too poor to support a verdict; the answer says so."
    ),
]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads to use.", show_default=False)]

AttentionKind = Annotated[
    Attention | None,
    typer.Option(help="u uniform, p correlated, l learned; the model's default if not given.", show_default=False),
]

Threshold = Annotated[
    float | None, typer.Option(help="Match above this score, instead of a measured threshold.", show_default=False)
]

Fmr = Annotated[
    float | None,
    typer.Option(
        help="Use the threshold measured at this false match rate (FMR): 1e-2 or 1e-3 (default).", show_default=False
    ),
]

NoPaths = Annotated[
    bool,
    typer.Option("--no-paths", help="In JSON and reports, name photos and your own network without their folders."),
]

Figure = Annotated[Path | None, typer.Option(help="Write the figure to this .png, .pdf or .svg.", show_default=False)]

Aligned = Annotated[bool, typer.Option("--aligned", help="The photos are aligned 112 x 112 crops.")]

FaceA = Annotated[int, typer.Option(min=0, help="Index of the face in photo A; 0 is the largest.")]

FaceB = Annotated[int, typer.Option(min=0, help="Index of the face in photo B; 0 is the largest.")]


METHOD = "places"
"""The method that takes a reference."""

Reference = Annotated[
    Path | None,
    typer.Option(
        help="Method places with your own network: folder of two dozen or more photos of other people.",
        show_default=False,
    ),
]


def reference_options(
    folder: Path | None,
    embedder: Embedder | None,
    methods: Collection[str] | None,
    *,
    aligned: bool,
    besides: Collection[Path] = (),
    threads: int | None = None,
) -> Mapping[str, Mapping[str, Any]]:
    """Return options made from the faces in a folder, by method; none without a folder.

    Parameters
    ----------
    folder
        The folder of ``--reference``.
    embedder
        The network; None for an xCos model, which the method refuses.
    methods
        The methods requested; None: all that fit.
    aligned, besides, threads
        See :func:`~whyface.faces.load.other_photos`.

    Raises
    ------
    InputError
        If the method was not requested, or the folder has too few faces.
    """
    from whyface.explain.places import mean_map  # noqa: PLC0415
    from whyface.faces.face import describe_choices, stack_faces  # noqa: PLC0415
    from whyface.faces.load import other_photos  # noqa: PLC0415
    from whyface.files.progress import progress_bar  # noqa: PLC0415 - start fast

    if folder is None:
        return {}
    if methods is not None and METHOD not in methods:
        raise InputError(f"--reference is for method {METHOD!r}; add it to --method, or leave --reference out")
    if embedder is None:
        return {}
    with progress_bar("reading faces") as progress:
        faces, left_out = other_photos(folder, besides=besides, aligned=aligned, threads=threads, progress=progress)
    for reason in left_out:
        typer.echo(f"Left out of the reference: {reason}", err=True)
    if (several := describe_choices(faces)) is not None:
        typer.echo(several, err=True)
    with progress_bar("mean of faces") as progress:
        return {METHOD: {"reference": mean_map(embedder, stack_faces(faces), progress=progress)}}


def count_of(number: int, what: str) -> str:
    """Return a number of things, in the plural unless it is one."""
    if what == "person":
        return "1 person" if number == 1 else f"{number} people"
    return f"{number} {what}{'' if number == 1 else 's'}"

"""The first question to somebody's own network: whether it tells people apart, fed as it is.

A network that gets pixels on the wrong scale answers without complaint, and everybody looks like everybody: with values
of 0..1 or -1..1 instead of 0..255, three networks gave two men 0.89 to 0.998. So it is shown the demo photos.
"""

from __future__ import annotations

import contextlib
from importlib import resources
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import ModelError
from whyface.faces.face import FACE_SIZE
from whyface.faces.photo import read_photo
from whyface.models.embedder import Batch
from whyface.models.onnx_embedder import OnnxEmbedder
from whyface.models.preprocessing import PRESETS, Preprocessing

LEAST_GAP: Final = 0.1
"""Two photos of one man must score at least this much above either of them with another man. Of four networks, fed
rightly (in RGB or BGR), the gap was 0.42 to 0.66; wrongly, at most 0.04."""

CROPS: Final = "crops.png"


def demo_crops() -> NDArray[np.uint8]:
    """Return the aligned faces of the demo photos, (3, 3, 112, 112): two of one man, then another man."""
    path = Path(str(resources.files("whyface"))) / "assets" / "photos" / CROPS
    strip = read_photo(path)
    return np.ascontiguousarray(strip.reshape(-1, FACE_SIZE, FACE_SIZE, 3).transpose(0, 3, 1, 2))


def check_network(embedder: OnnxEmbedder) -> None:
    """Refuse a network that does not tell the demo photos' two men apart.

    Raises
    ------
    ModelError
        If its output is one number per face, or the two photos of one man do not score clearly above those of two. The
        message says which preprocessing would pass.
    """
    crops = demo_crops()
    embeddings = embedder.embed(crops)
    if embeddings.shape[1] == 1:
        others = [name for name in embedder.outputs if name != embedder.output_tensor]
        hint = f"name the embedding with --output: {', '.join(others)}" if others else "it is no face network"
        raise ModelError(
            f"{embedder.path}: output {embedder.output_tensor!r} is one number per face, so that everybody would score "
            f"1; {hint}"
        )
    same, other = _scores(embeddings)
    if same - other >= LEAST_GAP:
        return
    raise ModelError(
        f"{embedder.path}: it does not tell the demo photos apart: two of one man score {same:.3f}, two men "
        f"{other:.3f}; {_advice(embedder, crops)}"
    )


def _advice(embedder: OnnxEmbedder, crops: Batch) -> str:
    found: dict[str, tuple[float, float]] = {}
    for name, preset in PRESETS.items():
        # A preprocessing that gives no finite numbers does not pass.
        with contextlib.suppress(ModelError):
            found[name] = _scores(embedder.embed_otherwise(crops, _sized(preset, embedder.preprocessing)))
    # Strangers score about 0, and below it by chance.
    gaps = {name: same - max(other, 0.0) for name, (same, other) in found.items() if same - other >= LEAST_GAP}
    if not gaps:
        return (
            f"nor with any other preprocessing ({', '.join(PRESETS)}), so it seems to be no network for aligned faces; "
            "--unchecked opens it all the same"
        )
    best, *others = sorted(gaps, key=lambda name: -round(gaps[name], 2))
    more = f" (so would {', '.join(others)})" if others else ""
    return f"--pixels {best} would pass with {found[best][0]:.3f} and {found[best][1]:.3f}{more}"


def _sized(preset: Preprocessing, asked: Preprocessing) -> Preprocessing:
    """Return the preset with the columns that were asked for."""
    return Preprocessing(preset.mean, preset.std, preset.divisor, preset.order, asked.columns)


def _scores(embeddings: NDArray[np.float32]) -> tuple[float, float]:
    """Return the score of the two photos of one man, and the higher one of two men."""
    scores = embeddings @ embeddings.T
    return float(scores[0, 1]), float(max(scores[0, 2], scores[1, 2]))

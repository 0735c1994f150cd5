"""The occlusion study: score a protocol's pairs while part of one face (or of both) is covered.

Lin et al., "xCos: An Explainable Cosine Metric for Face Verification Task", ACM TOMM 2021, section 4.5, cover LFW with
free-form masks and take faces with sunglasses or a scarf from the AR database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from studies.reliability.cells import Reliability, apply_reliability
from whyface.data.covering import Accessory, MaskFill, apply_mask, landmark_mask
from whyface.data.masks import Mask, free_form_mask
from whyface.data.protocols import PairProtocol
from whyface.errors import InputError
from whyface.faces.pictures import PictureSource
from whyface.files.progress import ProgressCallback
from whyface.models.embedder import l2_normalise
from whyface.xcos.grid import AttentionKind
from whyface.xcos.open_model import OpenedModel, open_model

Cover = Literal["one", "both"]
Features = NDArray[np.float32]
"""Embeddings (N, D) of unit length, or grids (N, C, H, W)."""

RELIABLE: Final = "+r"
"""Suffix of the name of a score whose attention uses reliability: ``u+r``."""

PERCENTS: Final = (10, 20, 30, 40, 50, 60)
_BATCH: Final = 64
_CHUNK: Final = 1000


@dataclass(frozen=True)
class Condition:
    """One way to cover faces: nothing, a share of the picture, or an accessory.

    Attributes
    ----------
    key
        Short name, such as ``clean``, ``free-30`` or ``sunglasses``.
    percent
        Share that free-form masks cover.
    accessory
        The accessory, if there is one.
    """

    key: str
    percent: int = 0
    accessory: Accessory | None = None

    def mask(self, rng: np.random.Generator) -> Mask | None:
        """Draw a mask for an aligned face, (112, 112) bool; None if nothing is covered."""
        if self.accessory is not None:
            return landmark_mask(self.accessory)
        return free_form_mask(coverage=self.percent / 100, rng=rng) if self.percent else None


CLEAN: Final = Condition("clean")


def study_conditions(percents: tuple[int, ...] = PERCENTS) -> tuple[Condition, ...]:
    """List the conditions of the study: clean, free-form masks of each share, sunglasses, scarf."""
    shares = tuple(Condition(f"free-{percent}", percent) for percent in percents)
    return CLEAN, *shares, Condition("sunglasses", accessory="sunglasses"), Condition("scarf", accessory="scarf")


@dataclass(frozen=True, eq=False)
class StudyModel:
    """A model with a label, and the reliabilities that its attention uses, if any.

    Attributes
    ----------
    label
        Name of the model in tables and of its folder.
    scoring
        The model.
    reliability
        Reliability by kind of attention.
    """

    label: str
    scoring: OpenedModel
    reliability: Mapping[AttentionKind, Reliability] = field(default_factory=dict)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of scores: the model's own, then those that use reliability."""
        own = tuple(self.scoring.comparisons)
        return (*own, *(f"{kind}{RELIABLE}" for kind in own if kind in self.reliability))

    def features(self, batch: NDArray[np.uint8]) -> Features:
        """Return the features of faces (N, 3, 112, 112)."""
        comparison = self.scoring.comparison()
        features = comparison.features(batch)
        return l2_normalise(features) if comparison.attention is None else features

    def compare(self, left: Features, right: Features) -> dict[str, NDArray[np.float64]]:
        """Score P pairs of features, (P,) for each kind."""
        parts: dict[str, list[NDArray[np.float32]]] = {kind: [] for kind in self.kinds}
        for start in range(0, len(left), _CHUNK):
            a, b = left[start : start + _CHUNK], right[start : start + _CHUNK]
            for kind, comparison in self.scoring.comparisons.items():
                maps = comparison.maps(a, b)
                parts[kind].append(comparison.scores(a, b) if maps is None else maps.score)
                seen = None if comparison.attention is None else self.reliability.get(comparison.attention)
                if maps is not None and seen is not None:
                    parts[f"{kind}{RELIABLE}"].append(apply_reliability(maps, seen(a), seen(b)).score)
        return {kind: np.concatenate(scores).astype(np.float64) for kind, scores in parts.items()}


def open_study_model(
    model: str,
    label: str | None = None,
    *,
    reliability: Mapping[AttentionKind, Reliability] | None = None,
    directory: Path | None = None,
    threads: int | None = None,
) -> StudyModel:
    """Open a known model by name, an ``.onnx`` network, or the folder of your own model.

    Parameters
    ----------
    model
        Name, path of an ``.onnx`` file, or folder with ``model.json`` as ``whyface export`` writes it.
    label
        Label of the model; by default, its name.
    reliability
        Reliability fitted for this model, by kind of attention.
    directory
        Folder of models that are not part of whyface.
    threads
        Threads of ONNX Runtime.

    Raises
    ------
    ModelError
        If the model is unknown or unusable.
    InputError
        If a label is not a plain name, or reliability is given for a network without a grid.
    """
    scoring = open_model(model, directory=directory, threads=threads)
    name = label or scoring.name
    if not name or name.startswith(".") or "/" in name or "\\" in name:
        raise InputError(f"{name!r} cannot name a model's results; give a plain label as LABEL=MODEL")
    if reliability and scoring.comparison().attention is None:
        raise InputError(f"{name} compares embeddings, so there are no cells whose reliability could be used")
    return StudyModel(name, scoring, dict(reliability or {}))


def covered_sides(pairs: int, cover: Cover, seed: int) -> NDArray[np.bool_]:
    """Return which faces of each pair are covered, (2, P) bool: one at random, or both."""
    if cover == "both":
        return np.ones((2, pairs), bool)
    left = np.random.default_rng(seed).random(pairs) < 0.5
    return np.stack([left, ~left])


def clean_features(
    model: StudyModel, source: PictureSource, protocol: PairProtocol, *, progress: ProgressCallback | None = None
) -> Features:
    """Return the features of all pictures of a protocol, uncovered, in its order."""
    faces = (source.read(name) for name in protocol.pictures)
    return _stream(faces, len(protocol.pictures), model.features, progress)


def score_condition(
    model: StudyModel,
    source: PictureSource,
    protocol: PairProtocol,
    condition: Condition,
    clean: Features,
    *,
    cover: Cover = "one",
    fill: MaskFill = "black",
    seed: int = 0,
    progress: ProgressCallback | None = None,
) -> dict[str, NDArray[np.float64]]:
    """Score all pairs of a protocol under one condition.

    Every pair has its own mask; the same seed draws the same masks for every model.

    Parameters
    ----------
    model, source, protocol, condition
        The model, the pictures and pairs, and the condition.
    clean
        The result of :func:`clean_features`.
    cover
        Cover one face of each pair, drawn at random, or both (each with its own mask).
    fill
        Fill of the covered pixels.
    seed
        Seed of sides, masks and noise.
    progress
        Called with the number of pictures done and the total.

    Returns
    -------
    Scores (P,) for each of the model's kinds.
    """
    sides = [clean[protocol.left], clean[protocol.right]]
    if condition != CLEAN:
        chosen = covered_sides(len(protocol.genuine), cover, seed)
        rows = (protocol.left, protocol.right)
        names = [[protocol.pictures[number] for number in rows[side][chosen[side]]] for side in (0, 1)]
        rng = np.random.default_rng([seed, *condition.key.encode()])
        faces = (_covered(source.read(name), condition, fill, rng) for side in names for name in side)
        features = _stream(faces, int(chosen.sum()), model.features, progress)
        sides[0][chosen[0]], sides[1][chosen[1]] = np.split(features, [len(names[0])])
    return model.compare(sides[0], sides[1])


def _covered(
    picture: NDArray[np.uint8], condition: Condition, fill: MaskFill, rng: np.random.Generator
) -> NDArray[np.uint8]:
    mask = condition.mask(rng)
    return picture if mask is None else apply_mask(picture, mask, fill, rng=rng)


def _stream(
    faces: Iterator[NDArray[np.uint8]],
    count: int,
    features: Callable[[NDArray[np.uint8]], Features],
    progress: ProgressCallback | None,
) -> Features:
    """Return the features of pictures (112, 112, 3), with only one batch of them in memory."""
    rows: Features | None = None
    for start in range(0, count, _BATCH):
        batch = np.stack([next(faces) for _ in range(min(_BATCH, count - start))]).transpose(0, 3, 1, 2)
        found = features(np.ascontiguousarray(batch))
        if rows is None:
            rows = np.empty((count, *found.shape[1:]), np.float32)
        rows[start : start + len(found)] = found
        if progress is not None:
            progress(start + len(found), count)
    if rows is None:
        raise InputError("there are no pictures to look at")
    return rows

"""The maps of a word and erasing: where a word is on a face, what may be erased, and what that does to the score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.explain.black_box import Fill, fill_picture
from whyface.faces.face import FACE_SIZE
from whyface.faces.regions import REGIONS, region_masks
from whyface.xcos.comparison import Comparison, Features, features_in_parts

FloatArray = NDArray[np.floating[Any]]
Direction = Literal["different", "alike"]

_TINY = 1e-12


def to_unit_range(maps: FloatArray) -> NDArray[np.float32]:
    """Rescale each map (..., H, W) to 0..1; a constant map becomes zero."""
    values = np.asarray(maps, np.float64)
    low = values.min(axis=(-2, -1), keepdims=True)
    span = values.max(axis=(-2, -1), keepdims=True) - low
    return np.asarray(np.where(span > _TINY, (values - low) / np.maximum(span, _TINY), 0.0), np.float32)


def class_activation(evidence: FloatArray) -> NDArray[np.float32]:
    """Turn signed evidence (..., H, W) into a map in 0..1; negative evidence counts as zero."""
    return to_unit_range(np.maximum(evidence, 0))


Heatmap = Literal["evidence", "gradcam", "gradcam++"]
HEATMAPS: Final[tuple[Heatmap, ...]] = get_args(Heatmap)


def weighted_channels(maps: FloatArray, slopes: FloatArray, heatmap: Heatmap) -> NDArray[np.float64]:
    """Return Grad-CAM or Grad-CAM++ before its ReLU: the channels of a spatial map, each with one weight.

    Grad-CAM's weight is the mean slope (Selvaraju et al., ICCV 2017). Grad-CAM++'s is the sum over places of alpha
    times the positive slopes g, with alpha = g^2 / (2 g^2 + g^3 sum(A)); the exponential of the score that it takes is
    a factor, which rescaling removes (Chattopadhyay et al., WACV 2018). Raise InputError for another heat map.

    Parameters
    ----------
    maps
        A, (N, C, H, W).
    slopes
        g, the gradient of each of K scores with respect to the map, (N, K, C, H, W).

    Returns
    -------
    (N, K, H, W).
    """
    if heatmap not in HEATMAPS[1:]:
        raise InputError(f"heat map must be one of {', '.join(HEATMAPS[1:])}, got {heatmap!r}")
    slopes = np.asarray(slopes, np.float64)
    if heatmap == "gradcam":
        weights = slopes.mean(axis=(-2, -1))
    else:
        totals = maps.sum(axis=(-2, -1), dtype=np.float64)[:, None, :, None, None]
        below = 2 + slopes * totals
        # Where the slope is 0, alpha does not matter.
        alpha = np.divide(1, below, out=np.zeros_like(below), where=below != 0)
        weights = (alpha * np.maximum(slopes, 0)).sum(axis=(-2, -1))
    return np.asarray(np.einsum("nkc,nchw->nkhw", weights, maps, optimize=True), np.float64)


def counterfactual_map(own: FloatArray, other: FloatArray, direction: Direction = "different") -> NDArray[np.float32]:
    """Return D: where A looks like itself and unlike B (``"different"``), or like both (``"alike"``).

    Raise InputError if the shapes differ or the direction is unknown.

    Parameters
    ----------
    own, other
        Signed evidence in A for the identity of A and of B, (..., H, W) each.
    direction
        ``"different"`` or ``"alike"``.

    Returns
    -------
    (..., H, W) float32 in 0..1.
    """
    if own.shape != other.shape or own.ndim < 2:
        raise InputError(f"both maps must have one shape (..., H, W), got {own.shape} and {other.shape}")
    if direction not in ("different", "alike"):
        raise InputError(f"direction must be 'different' or 'alike', got {direction!r}")
    g = class_activation(own)
    if direction == "alike":
        return to_unit_range(g * class_activation(other))
    # c keeps its sign: a place that speaks against B is farther from B than a neutral one.
    c = to_unit_range(other)
    return to_unit_range(g * (c.max(axis=(-2, -1), keepdims=True) - c))


Kind = Literal["joint", "no attribute", "no counterfactual"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

THRESHOLD: Final = 0.6
"""Default threshold: pixels with J above this are erased."""

LEAST: Final = 0.25
"""Minimum share of a word's own places that is erased."""


def to_pixels(maps: FloatArray, size: int = FACE_SIZE) -> NDArray[np.float32]:
    """Enlarge maps (N, H, W) to (N, size, size) by linear interpolation between the centres of places."""
    if not len(maps):
        return np.empty((0, size, size), np.float32)
    return np.stack([cv2.resize(one, (size, size), interpolation=cv2.INTER_LINEAR) for one in maps.astype(np.float32)])


def joint_maps(
    counterfactual: FloatArray,
    evidence: FloatArray,
    kind: Kind = "joint",
    *,
    places: NDArray[np.bool_] | None = None,
    size: int = FACE_SIZE,
) -> NDArray[np.float32]:
    """Return J for each attribute of one face: D * H within the word's own places, rescaled to 0..1.

    The published code rescales J with one strategy but not with the other, so the same threshold has two meanings.
    Here, J is always rescaled. Raise InputError if the shapes do not fit or the kind is unknown.

    Parameters
    ----------
    counterfactual
        D, (h, w) in 0..1.
    evidence
        Signed evidence z of the attributes, (K, H, W), of any resolution; H is its positive part, rescaled to 0..1.
    kind
        ``"joint"``: D * H; ``"no attribute"``: D alone, for all attributes; ``"no counterfactual"``: H alone.
    places
        Where each word can be, (K, size, size), see :data:`PLACES`; None: anywhere, as published.
    size
        Side of the result in pixels.

    Returns
    -------
    (K, size, size) float32 in 0..1.
    """
    if counterfactual.ndim != 2 or evidence.ndim != 3:
        raise InputError(f"expected maps (h, w) and (K, H, W), got {counterfactual.shape} and {evidence.shape}")
    if kind not in KINDS:
        raise InputError(f"kind of map must be one of {', '.join(KINDS)}, got {kind!r}")
    if places is not None and places.shape != (len(evidence), size, size):
        raise InputError(f"places must be {(len(evidence), size, size)}, got {places.shape}")
    place = to_pixels(counterfactual[None], size)
    if kind == "no attribute":
        return np.repeat(to_unit_range(place), len(evidence), axis=0)
    words = to_pixels(class_activation(evidence), size) if len(evidence) else np.empty((0, size, size), np.float32)
    if places is not None:
        words = np.where(places, words, 0)
    return to_unit_range(words if kind == "no counterfactual" else place * words)


def erased_pixels(
    joint: FloatArray, threshold: float = THRESHOLD, *, places: NDArray[np.bool_] | None = None, least: float = LEAST
) -> NDArray[np.bool_]:
    """Return the pixels to erase: those with J above the threshold.

    If D is peaked, these may be a sliver of the word's place, and a face without that sliver is not a face "without
    bushy eyebrows". So at least a share of the word's places is erased, the pixels with the largest J. Raise InputError
    if a number is out of range.

    Parameters
    ----------
    joint
        J, (K, size, size) in 0..1.
    threshold
        From 0 to 1.
    places
        Where each word can be, same shape as J. Without it, and for words that can be anywhere, only the threshold
        counts.
    least
        Minimum share of a word's places, from 0 to 1.
    """
    if not 0 <= threshold <= 1 or not 0 <= least <= 1:
        raise InputError(f"the threshold and the least share must be in 0..1, got {threshold:g} and {least:g}")
    masks = np.asarray(joint > threshold)
    if places is not None:
        for mask, values, place in zip(masks, joint, places, strict=True):
            needed = 0 if place.all() else round(least * place.sum())
            # Where J is 0, there is no evidence of the word.
            usable = min(needed, int((values > 0).sum()))
            if mask.sum() < usable:
                mask[np.unravel_index(np.argpartition(-values.ravel(), usable - 1)[:usable], mask.shape)] = True
    return masks


def _both(*names: str) -> tuple[str, ...]:
    return tuple(f"{side} {name}" for name in names for side in ("left", "right"))


_HAIR: Final = ("forehead", *_both("temple", "edge"))
_TOP: Final = ("forehead", *_both("edge"))
_BROWS: Final = _both("brow")
_EYES: Final = ("nose bridge", *_both("eye", "brow"))
_MOUTH: Final = ("mouth", "chin")
_BEARD: Final = ("mouth", "chin", *_both("jaw"))
_SHAPE: Final = ("chin", *_both("jaw", "cheek"))

PLACES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "5_o_Clock_Shadow": (*_BEARD, "nose tip", *_both("cheek")),
        "Arched_Eyebrows": _BROWS,
        "Bags_Under_Eyes": _both("eye", "cheek"),
        "Bald": _TOP,
        "Bangs": ("forehead", *_both("brow", "temple")),
        "Big_Lips": ("mouth",),
        "Big_Nose": ("nose bridge", "nose tip"),
        "Black_Hair": _HAIR,
        "Blond_Hair": _HAIR,
        "Brown_Hair": _HAIR,
        "Bushy_Eyebrows": _BROWS,
        "Chubby": _SHAPE,
        "Double_Chin": ("chin", *_both("jaw")),
        "Eyeglasses": (*_EYES, *_both("temple")),
        "Goatee": _BEARD,
        "Gray_Hair": _HAIR,
        "Heavy_Makeup": ("mouth", *_both("eye", "brow", "cheek")),
        "High_Cheekbones": _both("cheek"),
        "Mouth_Slightly_Open": _MOUTH,
        "Mustache": ("nose tip", "mouth"),
        "Narrow_Eyes": _both("eye"),
        "No_Beard": _BEARD,
        "Oval_Face": _SHAPE,
        "Pointy_Nose": ("nose bridge", "nose tip"),
        "Receding_Hairline": _TOP,
        "Rosy_Cheeks": _both("cheek"),
        "Sideburns": _both("temple", "cheek", "jaw", "edge"),
        "Smiling": ("mouth", *_both("cheek")),
        "Straight_Hair": _HAIR,
        "Wavy_Hair": _HAIR,
        "Wearing_Earrings": _both("edge", "jaw"),
        "Wearing_Hat": _TOP,
        "Wearing_Lipstick": ("mouth",),
    }
)
"""Attribute -> regions (:data:`whyface.faces.regions.REGIONS`); an attribute that is missing can be anywhere."""


def word_places(names: Sequence[str], *, size: int = FACE_SIZE) -> NDArray[np.bool_]:
    """Return the pixels that may be erased for each attribute, (K, size, size) bool."""
    masks = region_masks(size, size)
    return np.stack([np.any([masks[region] for region in PLACES.get(name, REGIONS)], axis=0) for name in names])


ERASERS: Final[Mapping[str, Fill]] = MappingProxyType(
    {"black": 0.0, "white": 255.0, "mean": "mean", "random": "noise", "blur": "blur"}
)
"""Eraser -> fill: black, white, the face's mean colour, seeded uniform noise, or the face, strongly blurred."""


def eraser_fill(eraser: str) -> Fill:
    """Return the fill of an eraser. Raise InputError if the eraser is unknown."""
    if eraser not in ERASERS:
        raise InputError(f"unknown eraser {eraser!r}; use one of {', '.join(ERASERS)}")
    return ERASERS[eraser]


def erased_faces(face: NDArray[Any], masks: NDArray[np.bool_], eraser: str, *, seed: int = 0) -> NDArray[Any]:
    """Return copies of a face with different places erased.

    Raise InputError if the shapes differ or the eraser is unknown.

    Parameters
    ----------
    face
        (3, H, W), RGB, 0..255.
    masks
        (N, H, W) bool: True is erased.
    eraser
        See :data:`ERASERS`.

    Returns
    -------
    (N, 3, H, W), of the face's dtype; pixels that are not erased are unchanged.
    """
    if face.ndim != 3 or masks.ndim != 3 or masks.shape[1:] != face.shape[1:]:
        raise InputError(f"masks {masks.shape} do not fit the face {face.shape}; expected (N, H, W) and (3, H, W)")
    paint = fill_picture(face, eraser_fill(eraser), seed)
    return np.where(masks[:, None], paint, face)


BATCH: Final = 64
"""Maximum number of faces in the network at once."""


@dataclass(frozen=True, eq=False)
class ErasedFace:
    """Features of a face and of its copies with places erased.

    Attributes
    ----------
    features
        Features of the face, one row.
    erased
        Features of the copies, K rows.
    """

    features: Features
    erased: Features


@dataclass(frozen=True, eq=False)
class ErasedScores:
    """Scores of a pair with each of K places erased.

    Attributes
    ----------
    similarity
        The score with nothing erased.
    own
        (2, K): erased A with A, and erased B with B.
    single
        (2, K): erased A with B, and A with erased B.
    both
        (K,): erased A with erased B.
    """

    similarity: float
    own: NDArray[np.float64]
    single: NDArray[np.float64]
    both: NDArray[np.float64]


def erase_in_face(
    comparison: Comparison,
    face: NDArray[Any],
    masks: NDArray[np.bool_],
    eraser: str,
    *,
    seed: int = 0,
    batch: int = BATCH,
) -> ErasedFace:
    """Return the features of a face (3, H, W) and of its copies with ``masks`` (K, H, W) erased."""
    copies = erased_faces(face, masks, eraser, seed=seed)
    features = features_in_parts(comparison, np.concatenate([face[None], copies]), batch)
    return ErasedFace(features[:1], features[1:])


def erased_scores(comparison: Comparison, first: ErasedFace, second: ErasedFace) -> ErasedScores:
    """Score a pair with each place erased. Raise InputError if the faces have different numbers of copies."""
    if len(first.erased) != len(second.erased):
        raise InputError(f"{len(first.erased)} copies of A do not belong to {len(second.erased)} of B")
    if not len(first.erased):
        empty = np.empty((2, 0))
        return ErasedScores(float(comparison.scores(first.features, second.features)[0]), empty, empty, empty[0])
    return ErasedScores(
        similarity=float(comparison.scores(first.features, second.features)[0]),
        own=np.stack([comparison.scores(face.erased, face.features) for face in (first, second)]).astype(np.float64),
        single=np.stack(
            [comparison.scores(first.erased, second.features), comparison.scores(first.features, second.erased)]
        ).astype(np.float64),
        both=comparison.scores(first.erased, second.erased).astype(np.float64),
    )

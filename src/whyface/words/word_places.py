"""Where on a face each word can be: what may be erased for it.

The attribute model has learnt what goes with a word, not only the word: grey hair goes with lined cheeks, a necktie
with a shaven chin. Whoever reads "without grey hair" expects the hair to be gone, so that a word only erases places
that it names. What the model sees elsewhere still counts towards whether the word is present.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from whyface.faces.face import FACE_SIZE
from whyface.faces.regions import REGIONS, region_masks


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
"""Attribute -> regions (:data:`whyface.faces.regions.REGIONS`); an attribute that is not in here can be anywhere."""


def word_places(names: Sequence[str], *, size: int = FACE_SIZE) -> NDArray[np.bool_]:
    """Give the pixels that may be erased for each attribute, (K, size, size) bool."""
    masks = region_masks(size, size)
    return np.stack([np.any([masks[region] for region in PLACES.get(name, REGIONS)], axis=0) for name in names])

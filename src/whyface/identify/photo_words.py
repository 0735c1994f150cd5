"""The places of attribute words on a photo, as they matter for who it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whyface.gallery.gallery import Gallery
from whyface.identify.evidential_head import EvidentialHead
from whyface.identify.features import cell_parts
from whyface.identify.gallery_people import head_features
from whyface.identify.uncertainty_words import Features
from whyface.models.embedder import Batch
from whyface.words.attribute_model import AttributeReader
from whyface.words.attribute_names import attribute
from whyface.words.counterfactual import class_activation
from whyface.words.joint_maps import THRESHOLD, erased_pixels, joint_maps


def gallery_features(gallery: Gallery) -> Features:
    """Give the function from faces to what the gallery's head takes."""
    return lambda faces: head_features(gallery, gallery.features(faces))


def identity_map(head: EvidentialHead, features: NDArray[np.float32], cells: tuple[int, int]) -> NDArray[np.float32]:
    """Give where on a face the likeliest person is seen, (H, W) in 0..1; features (1, D).

    The cosine that the head's evidence comes from is a sum over cells, so this is exact, not an estimate by gradients.
    """
    person = int(head(features).probability[0].argmax())
    return np.asarray(class_activation(cell_parts(features, head.directions[person], cells))[0], np.float32)


def word_masks(
    face: Batch,
    head: EvidentialHead,
    features: NDArray[np.float32],
    cells: tuple[int, int],
    attributes: AttributeReader,
    *,
    threshold: float = THRESHOLD,
    sensitive: bool = False,
) -> dict[str, NDArray[np.bool_]]:
    """Give each word that is present and may be named its pixels: where it is seen and the person is seen too.

    Parameters
    ----------
    face
        (1, 3, 112, 112).
    head, features
        The head, and what it takes of this face, (1, D).
    cells
        (H, W) of the grid.
    attributes
        Reads attributes and where they are seen.
    threshold
        Pixels of the joint map above this are erased.
    sensitive
        Let words about gender, age and race in.

    Returns
    -------
    Phrase -> (112, 112) bool; words without a place are left out.
    """
    evidence = attributes(face)
    heads = attributes.heads
    chosen = np.flatnonzero(evidence.present[0] & heads.usable(sensitive=sensitive))
    joint = joint_maps(identity_map(head, features, cells), evidence.maps[0][chosen])
    masks = erased_pixels(joint, threshold)
    return {
        attribute(heads.names[number]).phrase: mask for number, mask in zip(chosen, masks, strict=True) if mask.any()
    }

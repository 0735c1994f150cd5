"""What happens to a batch of pictures before the network sees it (needs the extra ``torch``)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from whyface.errors import InputError
from whyface.evaluate.masks import free_form_mask
from whyface.train.config import AugmentConfig
from whyface.train.mixing import jitter_geometry, jitter_light, occlude

POOL = 400
"""Masks drawn for a run; enough that a network cannot learn them by heart."""


class Augmentation:
    """Changes that both teacher and student see, and coverings that only the student sees.

    Parameters
    ----------
    config
        What happens, and how often.
    seed
        Draws the pool of masks.

    Raises
    ------
    InputError
        If the coverage is no range.
    """

    def __init__(self, config: AugmentConfig, *, seed: int) -> None:
        low, high = config.coverage
        if low > high:
            raise InputError(f"augment.coverage must be a range from low to high, got {low:g} to {high:g}")
        self.config = config
        self._masks: Tensor | None = None
        if config.masked:
            rng = np.random.default_rng((seed, 7))
            masks = [free_form_mask(coverage=float(rng.uniform(low, high)), rng=rng) for _ in range(POOL)]
            self._masks = torch.from_numpy(np.stack(masks))

    def look(self, faces: Tensor, generator: torch.Generator) -> Tensor:
        """Mirror half of the faces, move and light them; (N, 3, 112, 112) float32 in 0..255."""
        if self.config.geometry:
            # It mirrors half of the faces by itself.
            faces = jitter_geometry(faces, generator)
        elif self.config.flip:
            mirrored = torch.rand(len(faces), generator=generator) < 0.5
            faces = torch.where(mirrored[:, None, None, None], faces.flip(-1), faces)
        return jitter_light(faces, generator) if self.config.light else faces

    def cover(self, faces: Tensor, generator: torch.Generator) -> Tensor:
        """Cover part of some faces: rectangles, and free-form masks in black."""
        if self.config.occluded:
            faces = occlude(faces, self.config.occluded, generator)
        if self._masks is not None:
            masked = torch.rand(len(faces), generator=generator) < self.config.masked
            drawn = self._masks[torch.randint(len(self._masks), (len(faces),), generator=generator)]
            turned = torch.rand(len(faces), generator=generator) < 0.5
            drawn = torch.where(turned[:, None, None], drawn.flip(-1), drawn)
            faces = faces.masked_fill((drawn & masked[:, None, None])[:, None], 0)
        return faces

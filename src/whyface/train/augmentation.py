"""Batches of new faces from old ones: mixtures, geometry, light, occlusion (needs the extra ``torch``).

A distilled network learns a function, not a label, so any picture that the teacher can judge is a training picture.
Mixing two aligned faces, whole or region by region, makes faces of people who do not exist, which a few hundred
identities alone cannot supply (Beyer et al., "Knowledge distillation: A good teacher is patient and consistent",
CVPR 2022). All functions take and give float32 batches (N, 3, 112, 112) in 0..255 and draw from a given generator.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from whyface.data.masks import free_form_mask
from whyface.errors import InputError
from whyface.train.config import AugmentConfig


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator) * (high - low) + low


def blend_people(
    first: Tensor, second: Tensor, groups: int, share: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Turn a share of the people in a batch into people who do not exist.

    Picture k of a virtual person is the blend of picture k of two real ones under one mask for the whole person, so
    that a virtual person, like a real one, has several pictures. Half of them are blended with one opacity, half
    through a smooth random mask (one person's eyes meet another's mouth).

    Parameters
    ----------
    first, second
        Pictures of real people, (groups * pictures, 3, 112, 112), a person's pictures behind each other.
    groups
        Number of people in the batch.
    share
        Share of virtual people, 0..1.

    Returns
    -------
    The batch and a bool tensor (groups * pictures,) that says which faces are virtual.
    """
    n, _, height, width = first.shape
    opacity = _uniform(groups, 0.3, 0.7, generator).view(groups, 1, 1, 1)
    coarse = torch.rand(groups, 1, 4, 4, generator=generator)
    smooth = functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=False)
    smooth = torch.sigmoid((smooth - 0.5) * 12)
    by_region = (torch.rand(groups, generator=generator) < 0.5).view(groups, 1, 1, 1)
    virtual = torch.rand(groups, generator=generator) < share
    mask = torch.where(virtual.view(groups, 1, 1, 1), torch.where(by_region, smooth, opacity), torch.ones(()))
    mask = mask.repeat_interleave(n // groups, dim=0)
    return mask * first + (1 - mask) * second, virtual.repeat_interleave(n // groups)


def jitter_geometry(faces: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror half of the faces; shift by up to 3 pixels, turn by up to 5 degrees, scale by up to 5 %."""
    n, _, _, width = faces.shape
    angle = _uniform(n, -5, 5, generator) * (math.pi / 180)
    scale = _uniform(n, 0.95, 1.05, generator)
    mirror = torch.where(torch.rand(n, generator=generator) < 0.5, -1.0, 1.0)
    shift = _uniform(2 * n, -3, 3, generator).view(n, 2) * (2 / width)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    rows = torch.stack([mirror * cos, -sin, shift[:, 0], mirror * sin, cos, shift[:, 1]], dim=1).view(n, 2, 3)
    grid = functional.affine_grid(rows, list(faces.shape), align_corners=False)
    return functional.grid_sample(faces, grid, padding_mode="border", align_corners=False)


def jitter_light(faces: Tensor, generator: torch.Generator) -> Tensor:
    """Vary brightness, contrast, saturation and sharpness; turn a tenth of the faces grey."""
    n = len(faces)
    view = (n, 1, 1, 1)
    grey = faces.mean(dim=1, keepdim=True)
    saturation = _uniform(n, 0.6, 1.3, generator)
    saturation = torch.where(torch.rand(n, generator=generator) < 0.1, 0.0, saturation).view(view)
    faces = grey + saturation * (faces - grey)
    mean = grey.mean(dim=(2, 3), keepdim=True)
    faces = mean + _uniform(n, 0.75, 1.25, generator).view(view) * (faces - mean)
    faces = faces * _uniform(n, 0.75, 1.25, generator).view(view)
    # Sharpness: between the face and its half-resolution copy, as small or old photographs look.
    soft = functional.interpolate(functional.avg_pool2d(faces, 2), scale_factor=2.0, mode="bilinear")
    blur = (_uniform(n, -1.0, 1.0, generator).clamp_min(0)).view(view)
    return (faces + blur * (soft - faces)).clamp(0, 255)


def occlude(faces: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Cover a share of the faces with one rectangle of 4 to 25 % of the area, flat or noisy."""
    n, _, height, width = faces.shape
    area = _uniform(n, 0.04, 0.25, generator)
    ratio = torch.exp(_uniform(n, -0.9, 0.9, generator))
    box_h, box_w = (area / ratio).sqrt() * height, (area * ratio).sqrt() * width
    top = torch.rand(n, generator=generator) * (height - box_h).clamp_min(0)
    left = torch.rand(n, generator=generator) * (width - box_w).clamp_min(0)
    y, x = torch.arange(height).view(1, -1, 1), torch.arange(width).view(1, 1, -1)

    def column(value: Tensor) -> Tensor:
        return value.view(n, 1, 1)

    inside = (y >= column(top)) & (y < column(top + box_h)) & (x >= column(left)) & (x < column(left + box_w))
    inside &= column(torch.rand(n, generator=generator) < share)
    fill = torch.rand(n, 3, 1, 1, generator=generator) * 255
    noise = torch.randn(faces.shape, generator=generator) * (torch.rand(n, 1, 1, 1, generator=generator) * 60)
    return torch.where(inside[:, None], (fill + noise).clamp(0, 255), faces)


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

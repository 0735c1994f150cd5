"""Augmentations keep shapes and ranges, repeat with a seed and do what they say."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from whyface.train.mixing import jitter_geometry, jitter_light, mix_faces, occlude

Augmentation = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
ALL: list[Augmentation] = [
    jitter_geometry,
    jitter_light,
    lambda x, g: occlude(x, 0.7, g),
    lambda x, g: mix_faces(x, 0.7, g)[0],
]


@pytest.fixture
def faces() -> torch.Tensor:
    return torch.rand(8, 3, 112, 112, generator=torch.Generator().manual_seed(0)) * 255


@pytest.mark.parametrize("augmentation", ALL)
def test_range_shape_seed(augmentation: Augmentation, faces: torch.Tensor) -> None:
    before = faces.clone()
    first = augmentation(faces, torch.Generator().manual_seed(1))
    again = augmentation(faces, torch.Generator().manual_seed(1))
    other = augmentation(faces, torch.Generator().manual_seed(2))
    assert first.shape == faces.shape
    assert first.min() >= -1e-3
    assert first.max() <= 255 + 1e-3
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(faces, before)


def test_no_share_changes_nothing(faces: torch.Tensor) -> None:
    generator = torch.Generator().manual_seed(0)
    mixed, which = mix_faces(faces, 0.0, generator)
    assert not which.any()
    assert torch.equal(mixed, faces)
    assert torch.equal(occlude(faces, 0.0, generator), faces)


def test_occlusion_covers_the_area_it_names(faces: torch.Tensor) -> None:
    covered = occlude(faces, 1.0, torch.Generator().manual_seed(5))
    share = (covered != faces).any(dim=1).float().mean(dim=(1, 2))
    assert (share > 0.02).all()
    assert (share < 0.28).all()


def test_mixtures_lie_between_two_faces() -> None:
    faces = torch.zeros(4, 3, 112, 112)
    faces[1], faces[2], faces[3] = 60, 120, 240
    mixed, which = mix_faces(faces, 1.0, torch.Generator().manual_seed(0))
    assert which.all()
    assert mixed.min() >= 0
    assert mixed.max() <= 240

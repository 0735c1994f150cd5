"""Augmentations keep shapes and ranges, repeat with a seed and do what they say."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from whyface.train.picture_store import blend_people, jitter_geometry, jitter_light, occlude

Augmentation = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
ALL: list[Augmentation] = [
    jitter_geometry,
    jitter_light,
    lambda x, g: occlude(x, 0.7, g),
    lambda x, g: blend_people(x, x.flip(0), 4, 0.9, g)[0],
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
    blended, virtual = blend_people(faces, faces.flip(0), 4, 0.0, generator)
    assert not virtual.any()
    assert torch.equal(blended, faces)
    assert torch.equal(occlude(faces, 0.0, generator), faces)


def test_occlusion_covers_the_area_it_names(faces: torch.Tensor) -> None:
    covered = occlude(faces, 1.0, torch.Generator().manual_seed(5))
    share = (covered != faces).any(dim=1).float().mean(dim=(1, 2))
    assert (share > 0.02).all()
    assert (share < 0.28).all()


def test_a_virtual_person_is_one_blend_in_all_pictures() -> None:
    # Two people of three pictures each: picture k of the first is k everywhere, of the second 100 + k.
    first = torch.arange(3.0).repeat(2).view(6, 1, 1, 1).expand(6, 3, 112, 112)
    blended, virtual = blend_people(first, first + 100, 2, 1.0, torch.Generator().manual_seed(0))
    assert virtual.all()
    for person in (blended[:3], blended[3:]):
        share = (person - first[:3]) / 100
        torch.testing.assert_close(share[0], share[1], atol=1e-5, rtol=0)
        torch.testing.assert_close(share[0], share[2], atol=1e-5, rtol=0)
        assert share.min() >= 0
        assert share.max() <= 1
        assert share.mean() > 0.1

"""Alignment against transforms that are known by construction."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyface.errors import FaceError, InputError
from whyface.faces.align import align, apply_affine, invert_affine, similarity_transform, template, warp

shifts = st.floats(-3000, 3000)


@given(angle=st.floats(-np.pi, np.pi), scale=st.floats(0.01, 50), x=shifts, y=shifts)
def test_a_known_similarity_is_recovered(angle: float, scale: float, x: float, y: float) -> None:
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    known = np.array([[cos, -sin, x], [sin, cos, y]])
    found = similarity_transform(template(), apply_affine(known, template()))
    np.testing.assert_allclose(found, known, rtol=1e-7, atol=1e-6)


@given(angle=st.floats(-np.pi, np.pi), scale=st.floats(0.05, 20), noise=st.integers(0, 2**32 - 1))
def test_no_nearby_similarity_fits_better(angle: float, scale: float, noise: int) -> None:
    random = np.random.default_rng(noise)
    source = random.normal(size=(5, 2)) * 40
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    target = source @ np.array([[cos, sin], [-sin, cos]]) + random.normal(size=(5, 2)) * scale
    best = similarity_transform(source, target)

    def misfit(matrix: np.ndarray) -> float:
        return float(np.sum((apply_affine(matrix, source) - target) ** 2))

    assert best[0, 0] == best[1, 1] and best[0, 1] == -best[1, 0] and np.linalg.det(best[:, :2]) > 0
    for change in ([[1, 0, 0], [0, 1, 0]], [[0, -1, 0], [1, 0, 0]], [[0, 0, 1], [0, 0, 0]], [[0, 0, 0], [0, 0, 1]]):
        for step in (-1e-3, 1e-3):
            assert misfit(best) <= misfit(best + step * np.array(change)) + 1e-9


def test_agrees_with_umeyama_by_singular_values() -> None:
    random = np.random.default_rng(5)
    for _ in range(20):
        source, target = template() + random.normal(size=(5, 2)) * 6, template() * 3 + random.normal(size=(5, 2)) * 9
        a, b = source - source.mean(0), target - target.mean(0)
        u, s, vt = np.linalg.svd(b.T @ a / 5)
        sign = np.diag([1, np.sign(np.linalg.det(u @ vt))])
        linear = (u @ sign @ vt) * np.trace(np.diag(s) @ sign) / a.var(axis=0).sum()
        expected = np.column_stack([linear, target.mean(0) - linear @ source.mean(0)])
        np.testing.assert_allclose(similarity_transform(source, target), expected, atol=1e-9)


def test_two_points_suffice() -> None:
    found = similarity_transform([(0, 0), (1, 0)], [(5, 5), (5, 7)])
    np.testing.assert_allclose(found, [[0, -2, 5], [2, 0, 5]], atol=1e-12)


@pytest.mark.parametrize(
    "points",
    [
        np.full((5, 2), 7.0),
        np.full((5, 2), 1e6) + np.random.default_rng(0).normal(size=(5, 2)) * 1e-3,
        # Mirrored through the middle line: every rotation is as bad as any other for a shape as wide as it is high.
        np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0.5, 0.5)])[[1, 0, 3, 2, 4]],
    ],
)
def test_degenerate_landmarks(points: np.ndarray) -> None:
    target = template() if len(np.unique(points)) != 3 else np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0.5, 0.5)])
    with pytest.raises(FaceError, match="landmarks"):
        similarity_transform(points, target)


@pytest.mark.parametrize("points", [np.zeros((1, 2)), np.zeros((5, 3)), np.full((5, 2), np.nan), "face", np.zeros(10)])
def test_what_is_no_set_of_points(points: object) -> None:
    with pytest.raises(InputError, match="shape"):
        similarity_transform(points, template())  # type: ignore[arg-type]


def test_different_numbers_of_points() -> None:
    with pytest.raises(InputError, match="match"):
        similarity_transform(template()[:4], template())


def test_align_takes_the_template_as_it_is() -> None:
    photo = np.random.default_rng(1).integers(0, 256, (112, 112, 3)).astype(np.uint8)
    crop, crop_to_photo = align(photo, template())
    np.testing.assert_array_equal(crop, photo)
    np.testing.assert_allclose(crop_to_photo, [[1, 0, 0], [0, 1, 0]], atol=1e-9)


@pytest.mark.parametrize(("scale", "angle"), [(0.5, 0.3), (1.0, -0.2), (1.7, 0.0), (3.0, 0.5), (4.3, -1.0)])
def test_align_moves_the_landmarks_to_the_template(scale: float, angle: float) -> None:
    size = int(130 * scale * 2)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    turned = (template() - 56) @ np.array([[cos, sin], [-sin, cos]]) + size / 2
    photo = np.zeros((size, size, 3), np.uint8)
    for number, (x, y) in enumerate(turned):
        # One soft blob per landmark; three colours in turn.
        rows, columns = np.mgrid[:size, :size]
        blob = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * (2.5 * scale) ** 2))
        photo[:, :, number % 3] = np.maximum(photo[:, :, number % 3], blob)
    crop, crop_to_photo = align(photo, turned)
    assert crop.shape == (112, 112, 3) and crop.dtype == np.uint8
    np.testing.assert_allclose(apply_affine(crop_to_photo, template()), turned, atol=1e-6)
    for number, (x, y) in enumerate(template()):
        left, top = round(x) - 7, round(y) - 7
        window = crop[top : top + 15, left : left + 15, number % 3].astype(float)
        rows, columns = np.mgrid[top : top + 15, left : left + 15]
        centre = ((window * columns).sum() / window.sum(), (window * rows).sum() / window.sum())
        np.testing.assert_allclose(centre, (x, y), atol=0.15)


def test_black_beyond_the_photo() -> None:
    photo = np.full((112, 112, 3), 200, np.uint8)
    crop, _ = align(photo, template() - [60, 0])
    assert (crop[:, :50] == 0).all() and (crop[5:-5, 65:] == 200).all()


def test_a_crop_wholly_outside_is_black() -> None:
    crop, _ = align(np.full((20, 20, 3), 200, np.uint8), template() + 5000)
    assert not crop.any()


def test_strong_shrinking_averages_instead_of_skipping() -> None:
    # A fine checkerboard of black and white is grey from afar; sampling single pixels would give stripes.
    rows, columns = np.mgrid[:1200, :1200]
    photo = np.repeat((((rows + columns) % 2) * 255).astype(np.uint8)[:, :, None], 3, axis=2)
    crop, _ = align(photo, template() * 9.3 + 60)
    assert np.abs(crop[2:-2, 2:-2].astype(int) - 127).max() <= 3


def test_shrinking_does_not_shift() -> None:
    ramp = np.repeat(np.linspace(0, 255, 2000)[None, :, None], 2000, axis=0)
    photo = np.repeat(np.rint(ramp), 3, axis=2).astype(np.uint8)
    crop, to_photo = align(photo, template() * 13.7 + 100)
    columns = apply_affine(to_photo, [(x, 56) for x in range(112)])[:, 0]
    np.testing.assert_allclose(crop[56, :, 0], columns * 255 / 1999, atol=1.0)


def test_warp_without_shrinking_is_opencvs() -> None:
    photo = np.random.default_rng(3).integers(0, 256, (300, 400, 3)).astype(np.uint8)
    matrix = np.array([[0.9, -0.3, -20], [0.3, 0.9, -60]])
    expected = cv2.warpAffine(photo, matrix, (112, 112), flags=cv2.INTER_LINEAR)
    assert np.abs(warp(photo, matrix).astype(int) - expected).max() <= 1


def test_photos_wider_than_opencvs_coordinates() -> None:
    photo = np.zeros((120, 40_000, 3), np.uint8)
    photo[:, 39_900:] = 255
    crop, _ = align(photo, np.add(template(), [39_850, 0]))
    assert (crop[:, :45] == 0).all() and (crop[:, 55:] == 255).all()


@pytest.mark.parametrize("shape", [(112, 112), (112, 112, 4), (0, 5, 3)])
def test_what_is_no_photo(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="photo"):
        align(np.zeros(shape, np.uint8), template())


def test_the_number_of_landmarks() -> None:
    with pytest.raises(InputError, match="five"):
        align(np.zeros((112, 112, 3), np.uint8), template()[:4])


def test_inverse() -> None:
    matrix = np.array([[2.0, -1.0, 30.0], [1.0, 2.0, -7.0]])
    points = np.random.default_rng(2).normal(size=(10, 2))
    np.testing.assert_allclose(apply_affine(invert_affine(matrix), apply_affine(matrix, points)), points)
    with pytest.raises(InputError, match="inverse"):
        invert_affine(np.zeros((2, 3)))

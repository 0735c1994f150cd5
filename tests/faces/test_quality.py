"""The measures of quality on pictures and faces whose right answer is known by hand."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from whyface.errors import FaceError, InputError
from whyface.faces.align import align, template
from whyface.faces.quality import (
    FACE_COLUMNS,
    FACE_ROWS,
    HeadPose,
    entropy,
    head_pose,
    inside_photo,
    inter_eye_distance,
    landmark_misfit,
    luminance,
    measure_crop,
    noise_level,
    roll_of,
    share_outside,
    sharpness,
)

# A head by its five points, in distances between the eyes: where the template has them, and how far behind the eyes.
POINTS = (template() - template().mean(axis=0)) / inter_eye_distance(template())
SOLID = np.column_stack([(POINTS[:, 0] - POINTS[[1, 0, 2, 4, 3], 0]) / 2, POINTS[:, 1], [0, 0, -0.52, -0.12, -0.12]])


def turned_head(yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    """The five points of a head that is nodded, then turned, then rolled, seen from far away."""
    a, b, c = np.deg2rad([-yaw, -pitch, roll])
    nod = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    turn = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    tilt = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return np.asarray(40 * (SOLID @ (tilt @ turn @ nod).T)[:, :2] + (300, 200))


def stripes() -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    return np.asarray(rng.uniform(0, 255, (80, 68)), dtype=np.float32)


def test_luminance_weighs_the_colours() -> None:
    picture = np.array([[(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)]], np.uint8)
    np.testing.assert_allclose(luminance(picture), [[54.213, 182.376, 18.411, 255]], atol=1e-3)


def test_one_grey_has_no_sharpness_noise_or_entropy() -> None:
    flat = np.full((80, 68), 97, np.float32)
    assert sharpness(flat) == 0 and noise_level(flat) == 0 and entropy(flat) == 0


def test_entropy_of_known_histograms() -> None:
    assert entropy(np.array([[0, 255]], np.float32)) == pytest.approx(1)
    assert entropy(np.arange(256, dtype=np.float32).reshape(16, 16)) == pytest.approx(8)


def test_noise_of_known_strength() -> None:
    rng = np.random.default_rng(0)
    for sigma in (2, 10, 30):
        plane = np.add.outer(np.arange(200), np.arange(200)) / 4
        grey = (100 + plane + rng.normal(0, sigma, (200, 200))).astype(np.float32)
        assert noise_level(grey) == pytest.approx(sigma, rel=0.03)


@pytest.mark.parametrize("angle", [0, 25, 45, 65, 90, 115, 135, 155])
def test_motion_along_any_direction_lowers_the_sharpness(angle: float) -> None:
    grey = stripes()
    kernel = np.zeros((13, 13), np.float32)
    step = np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))])
    for k in np.linspace(-6, 6, 61):
        x, y = np.rint(6 + k * step).astype(int)
        kernel[y, x] = 1
    moved = np.asarray(cv2.filter2D(grey, -1, kernel / kernel.sum()), dtype=np.float32)
    assert sharpness(moved) < 0.9 * sharpness(grey)


def test_sharpness_falls_with_every_further_blur_and_knows_no_contrast() -> None:
    blurred = [np.asarray(cv2.GaussianBlur(stripes(), (0, 0), s), np.float32) for s in (0.5, 1, 2, 4)]
    values = [sharpness(grey) for grey in blurred]
    assert values == sorted(values, reverse=True) and values[0] > 2 * values[-1]
    assert sharpness((stripes() / 8 + 90).astype(np.float32)) == pytest.approx(sharpness(stripes()), rel=1e-4)


def test_a_crop_is_measured_where_the_face_is() -> None:
    crop = np.zeros((112, 112, 3), np.uint8)
    crop[FACE_ROWS, FACE_COLUMNS] = 128
    measured = measure_crop(crop)
    assert measured.luminance_mean == pytest.approx(128 / 255) and measured.luminance_variance == 0
    assert measured.under_exposure == 0 and measured.over_exposure == 0
    assert (measured.inter_eye_distance, measured.pose, measured.unified) == (None, None, None)


def test_exposure_counts_pixels_near_the_ends() -> None:
    crop = np.full((112, 112, 3), 128, np.uint8)
    middle = (FACE_ROWS.start + FACE_ROWS.stop) // 2
    crop[FACE_ROWS.start : middle] = 10
    assert measure_crop(crop).under_exposure == pytest.approx(0.5)
    crop[FACE_ROWS.start : middle] = 255
    assert measure_crop(crop).over_exposure == pytest.approx(0.5)


def shift(across: float, down: float, scale: float = 1.0) -> NDArray[np.float64]:
    return np.array([[scale, 0, across], [0, scale, down]], np.float64)


def test_share_outside_of_crops_that_are_moved() -> None:
    assert share_outside(shift(0, 0), (112, 112)) == 0
    assert share_outside(shift(56, 0), (112, 112)) == pytest.approx(0.5)
    assert share_outside(shift(56, 56), (112, 112)) == pytest.approx(0.75)
    assert share_outside(shift(-28, 0), (112, 112)) == pytest.approx(0.25)
    assert share_outside(shift(500, 0), (112, 112)) == 1
    # Twice the size: the crop spans -0.5 .. 223.5, of which the photo has a quarter.
    assert share_outside(shift(0.5, 0.5, 2), (112, 112)) == pytest.approx(0.75)


def test_share_outside_of_a_crop_on_its_corner() -> None:
    # A crop turned by 45 degrees around the photo's corner: a quarter of it is inside.
    turn = np.sqrt(0.5)
    middle = np.array([55.5, 55.5])
    linear = np.array([[turn, -turn], [turn, turn]])
    to_photo = np.column_stack([linear, np.array([-0.5, -0.5]) - linear @ middle])
    assert share_outside(to_photo, (1000, 1000)) == pytest.approx(0.75)


@given(
    angle=st.floats(-180, 180),
    scale=st.floats(0.2, 5),
    across=st.floats(-150, 150),
    down=st.floats(-150, 150),
)
def test_share_outside_agrees_with_counting_pixels(angle: float, scale: float, across: float, down: float) -> None:
    a = np.deg2rad(angle)
    to_photo = np.array([[scale * np.cos(a), -scale * np.sin(a), across], [scale * np.sin(a), scale * np.cos(a), down]])
    counted = 1 - inside_photo(to_photo, (120, 90)).mean()
    assert share_outside(to_photo, (120, 90)) == pytest.approx(counted, abs=0.02)


def test_a_map_that_flattens_the_crop_is_refused() -> None:
    with pytest.raises(InputError, match="inverse"):
        share_outside(np.zeros((2, 3)), (10, 10))


def test_the_face_of_a_photo_is_inside_it() -> None:
    photo = np.zeros((112, 112, 3), np.uint8)
    _, to_photo = align(photo, template())
    assert share_outside(to_photo, photo.shape[:2]) == pytest.approx(0, abs=1e-9)
    assert inside_photo(to_photo, photo.shape[:2]).all()


def test_landmarks_of_the_template_fit_at_any_size_place_and_turn() -> None:
    a = np.deg2rad(70)
    turn = 3 * np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    points = template() @ turn.T + (50, -20)
    assert landmark_misfit(points) == pytest.approx(0, abs=1e-9)
    assert roll_of(points) == pytest.approx(70)
    assert inter_eye_distance(points) == pytest.approx(3 * inter_eye_distance(template()))


def test_misfit_of_one_point_that_is_off() -> None:
    points = template()
    points[2] += (0, 40)
    # What the similarity does not take up itself; it can only lessen the distance.
    alone = 40 / np.sqrt(5) / inter_eye_distance(template())
    assert 0.5 * alone < landmark_misfit(points) < alone


@given(yaw=st.floats(-75, 75), pitch=st.floats(-60, 60), roll=st.floats(-179, 179))
def test_the_pose_of_a_head_in_the_round_comes_back(yaw: float, pitch: float, roll: float) -> None:
    found = head_pose(turned_head(yaw, pitch, roll))
    assert found.yaw == pytest.approx(yaw, abs=1e-6) and found.pitch == pytest.approx(pitch, abs=1e-6)
    assert (found.roll - roll + 180) % 360 == pytest.approx(180, abs=1e-6)


def test_the_signs_of_the_pose() -> None:
    points = template()
    points[2] += (8, 0)
    assert head_pose(points).yaw > 5
    points[2] += (-8, -8)
    assert head_pose(points).pitch > 5
    assert head_pose(template()[:, ::-1] * (-1, 1)).roll == pytest.approx(90, abs=1)


@pytest.mark.parametrize("wrong", [np.zeros((4, 2)), np.full((5, 2), np.nan), np.zeros(10)])
def test_what_are_no_landmarks(wrong: NDArray[np.float64]) -> None:
    for measure in (inter_eye_distance, landmark_misfit, head_pose, roll_of):
        with pytest.raises(InputError):
            measure(wrong)


def test_landmarks_in_one_point_span_no_face() -> None:
    with pytest.raises(FaceError):
        landmark_misfit(np.ones((5, 2)))


@pytest.mark.parametrize("wrong", [np.zeros((112, 112), np.uint8), np.zeros((112, 112, 3), np.float32)])
def test_what_is_no_crop(wrong: NDArray[np.generic]) -> None:
    with pytest.raises(InputError):
        measure_crop(wrong)  # type: ignore[arg-type]


def test_the_measures_go_to_json_by_name() -> None:
    measured = replace(measure_crop(np.zeros((112, 112, 3), np.uint8)), pose=HeadPose(1, 2, 3), unified=0.5)
    record = measured.to_dict()
    assert record["pose"] == {"yaw": 1, "pitch": 2, "roll": 3} and record["unified"] == 0.5
    assert record["under_exposure"] == 1 and record["inter_eye_distance"] is None

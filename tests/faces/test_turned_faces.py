"""Faces that lie on their side or upside down, found by the network that comes with whyface."""

from functools import cache
from importlib import resources

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from whyface.faces.align import apply_affine
from whyface.faces.centerface import CenterFaceDetector, CentreSettings, open_centerface
from whyface.faces.detection import Detection
from whyface.faces.photo import read_photo
from whyface.faces.quality import inter_eye_distance, roll_of
from whyface.verification import Verifier

PHOTOS = ("biden-portrait.jpg", "obama-portrait.jpg", "obama-speech.jpg")


@cache
def detector() -> CenterFaceDetector:
    return CenterFaceDetector(open_centerface(threads=1))


@cache
def portrait(name: str) -> tuple[NDArray[np.uint8], Detection]:
    """A small copy of one of the demo photos, and the face that is found in it."""
    with resources.as_file(resources.files("whyface") / "assets/photos" / name) as path:
        photo = read_photo(path)
    scale = 320 / max(photo.shape[:2])
    small = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.uint8)
    return small, detector().detect(small)[0]


def turned(photo: NDArray[np.uint8], degrees: float) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Turn a photo clockwise on a canvas that holds all of it; and where its pixels go."""
    height, width = photo.shape[:2]
    matrix = np.asarray(cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -degrees, 1), np.float64)
    across, down = np.abs(matrix[:, :2]) @ (width, height)
    matrix[:, 2] += (across - width) / 2, (down - height) / 2
    return cv2.warpAffine(photo, matrix, (round(across), round(down))).astype(np.uint8), matrix


def misplaced(face: Detection, truth: NDArray[np.float64]) -> float:
    """Mean distance of the landmarks from where they should be, in distances between the eyes."""
    return float(np.hypot(*(face.landmarks - truth).T).mean() / inter_eye_distance(truth))


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("degrees", [45, 90, 135, 180, 225, 270, 315])
def test_landmarks_are_right_whichever_way_a_photo_lies(name: str, degrees: float) -> None:
    photo, upright = portrait(name)
    picture, matrix = turned(photo, degrees)
    face = detector().detect(picture)[0]
    truth = apply_affine(matrix, upright.landmarks)
    assert misplaced(face, truth) < 0.15
    assert abs((roll_of(face.landmarks) - roll_of(truth) + 180) % 360 - 180) < 10
    # The box goes with the face: it holds the landmarks and is of the upright face's size, whatever its shape.
    x0, y0, x1, y1 = face.box
    assert ((truth > (x0, y0)) & (truth < (x1, y1))).all()
    assert 0.6 < face.area / upright.area < 1.7


def test_without_turning_the_landmarks_of_a_photo_upside_down_are_wrong() -> None:
    photo, upright = portrait(PHOTOS[0])
    picture, matrix = turned(photo, 180)
    plain = CenterFaceDetector(open_centerface(threads=1), CentreSettings(turned=False)).detect(picture)
    assert not plain or misplaced(plain[0], apply_affine(matrix, upright.landmarks)) > 0.2


@pytest.mark.parametrize("name", PHOTOS)
def test_an_upright_photo_is_found_as_without_turning(name: str) -> None:
    photo, upright = portrait(name)
    plain = CenterFaceDetector(open_centerface(threads=1), CentreSettings(turned=False)).detect(photo)[0]
    np.testing.assert_allclose(plain.landmarks, upright.landmarks, atol=1e-4)
    np.testing.assert_allclose(plain.box, upright.box, atol=1e-4)
    assert plain.score == upright.score


def test_a_photo_without_a_face_has_none_in_any_orientation() -> None:
    rng = np.random.default_rng(0)
    assert detector().detect(rng.integers(0, 256, (200, 160, 3)).astype(np.uint8)) == []


@cache
def verifier() -> Verifier:
    return Verifier(threads=1)


@pytest.mark.parametrize("degrees", [45, 90, 135, 180])
def test_a_turned_photo_gets_the_verdict_of_the_upright_one(degrees: float) -> None:
    # Without a tag that says how the photo lies: the score was 0.08 at 135 degrees and 0.21 upside down.
    speech, _ = turned(portrait("obama-speech.jpg")[0], degrees)
    assert verifier()(portrait("obama-portrait.jpg")[0], speech).verdict == "match"
    assert verifier()(portrait("biden-portrait.jpg")[0], speech).verdict == "no match"

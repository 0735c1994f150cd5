"""From file to face: with a made-up detector for the rules, with the real one on the demo photographs."""

import subprocess
import sys
from importlib import resources
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from whyface.errors import FaceError, InputError, ModelError, PhotoError
from whyface.faces.align import apply_affine, template
from whyface.faces.detection import Detection, Detector, largest_first
from whyface.faces.load import default_detector, find_faces, load_face, open_detector

PHOTOS = Path(str(resources.files("whyface"))) / "assets" / "photos"
NAMES = ("obama-portrait.jpg", "obama-speech.jpg", "biden-portrait.jpg")
# Middle of the eyes and of the mouth, read off the photographs by eye.
PLACES = {
    "obama-portrait.jpg": ((498, 214), (497, 325)),
    "obama-speech.jpg": ((311, 370), (298, 520)),
    "biden-portrait.jpg": ((297, 168), (285, 236)),
}


class Finds:
    """A detector that finds what it is told."""

    def __init__(self, *faces: Detection) -> None:
        self.faces = list(faces)

    def detect(self, photo: NDArray[np.uint8]) -> list[Detection]:
        return largest_first(self.faces)


def face_at(x: float, y: float, scale: float) -> Detection:
    points = (template() * scale + [x, y]).astype(np.float32)
    return Detection((x, y, x + 112 * scale, y + 112 * scale), points, 0.9)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_a_face_with_all_that_is_known_about_it(photo: Path) -> None:
    face = load_face(photo, detector=Finds(face_at(20, 30, 1.0)))
    np.testing.assert_array_equal(face.image, np.asarray(Image.open(photo))[30:142, 20:132])
    assert face.source == str(photo) and face.box == (20, 30, 132, 142) and face.score == 0.9
    assert face.to_photo is not None and face.landmarks is not None
    np.testing.assert_allclose(apply_affine(face.to_photo, template()), face.landmarks, atol=1e-3)
    assert (face.index, face.count) == (0, 1)


def test_the_largest_face_comes_first(photo: Path) -> None:
    detector = Finds(face_at(0, 0, 0.5), face_at(100, 50, 2.0), face_at(10, 200, 0.8))
    faces = find_faces(photo, detector=detector)
    assert [round(face.box[2] - face.box[0]) for face in faces if face.box] == [224, 90, 56]
    assert [(face.index, face.count) for face in faces] == [(0, 3), (1, 3), (2, 3)]
    assert load_face(photo, index=2, detector=detector).box == faces[2].box


def test_an_index_that_is_not_there(photo: Path) -> None:
    with pytest.raises(FaceError, match=r"photo.png: there is one face, none with index 1"):
        load_face(photo, index=1, detector=Finds(face_at(0, 0, 1)))
    with pytest.raises(FaceError, match="there are 2 faces"):
        load_face(photo, index=2, detector=Finds(face_at(0, 0, 1), face_at(50, 50, 1)))
    with pytest.raises(InputError, match="index"):
        load_face(photo, index=-1, detector=Finds())


def test_no_face(photo: Path) -> None:
    assert find_faces(photo, detector=Finds()) == []
    with pytest.raises(FaceError, match=r"photo.png: no face found; use"):
        load_face(photo, detector=Finds())


def test_landmarks_that_span_no_face_do_not_cost_the_others(photo: Path) -> None:
    fallen = Detection((0, 0, 300, 300), np.full((5, 2), 9, np.float32), 0.9)
    face = load_face(photo, detector=Finds(fallen, face_at(50, 50, 1)))
    assert (face.index, face.count) == (0, 1) and face.box == (50, 50, 162, 162)


def test_aligned_pictures_are_taken_as_they_are(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (112, 112, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    face = load_face(tmp_path / "a.png", aligned=True)
    np.testing.assert_array_equal(face.image, pixels)
    assert (face.box, face.landmarks, face.score, face.to_photo) == (None, None, None, None)
    with pytest.raises(FaceError, match="a.png: an aligned picture holds one face"):
        load_face(tmp_path / "a.png", aligned=True, index=1)


def test_aligned_pictures_of_another_size(photo: Path) -> None:
    with pytest.raises(FaceError, match="photo.png: 400 x 300 pixels, but an aligned face must be 112 x 112"):
        load_face(photo, aligned=True)


def test_the_pixel_limit_is_passed_on(photo: Path) -> None:
    for aligned in (False, True):
        with pytest.raises(PhotoError, match="limit of 1000"):
            load_face(photo, max_pixels=1000, aligned=aligned)


@pytest.mark.parametrize("name", NAMES)
def test_the_demo_photographs(name: str) -> None:
    (face,) = find_faces(PHOTOS / name)
    assert face.landmarks is not None and face.score is not None and 0.5 < face.score <= 1
    eyes, mouth = face.landmarks[:2].mean(axis=0), face.landmarks[3:].mean(axis=0)
    size = np.hypot(*(np.subtract(*PLACES[name])))
    assert np.hypot(*(eyes - PLACES[name][0])) < 0.15 * size
    assert np.hypot(*(mouth - PLACES[name][1])) < 0.15 * size
    assert face.landmarks[0, 0] < face.landmarks[1, 0] and face.landmarks[3, 0] < face.landmarks[4, 0]


def test_the_face_is_found_whatever_the_size_or_side() -> None:
    upright = np.asarray(Image.open(PHOTOS / NAMES[0]).convert("RGB"))
    reference = default_detector().detect(upright)[0].landmarks
    distance = np.linalg.norm(reference[0] - reference[1])
    for zoom in (0.2, 0.5, 2.0):
        size = (round(upright.shape[1] * zoom), round(upright.shape[0] * zoom))
        (face,) = default_detector().detect(
            np.asarray(cv2.resize(upright, size, interpolation=cv2.INTER_AREA), np.uint8)
        )
        assert np.linalg.norm(face.landmarks / zoom - reference, axis=1).max() < 0.12 * distance
    (face,) = default_detector().detect(np.ascontiguousarray(upright[:, ::-1]))
    mirrored = face.landmarks[[1, 0, 2, 4, 3]]
    mirrored[:, 0] = upright.shape[1] - 1 - mirrored[:, 0]
    assert np.linalg.norm(mirrored - reference, axis=1).max() < 0.12 * distance


def test_two_faces_in_one_photo(tmp_path: Path) -> None:
    one, other = (Image.open(PHOTOS / name).convert("RGB") for name in (NAMES[0], NAMES[2]))
    both = Image.new("RGB", (one.width + other.width, one.height))
    both.paste(one, (0, 0))
    both.paste(other, (one.width, 0))
    both.save(tmp_path / "both.png")
    faces = find_faces(tmp_path / "both.png")
    assert len(faces) == 2 and faces[0].box is not None and faces[1].box is not None
    assert faces[0].box[0] < one.width < faces[1].box[0]


def test_no_face_in_noise_or_on_a_blank_page(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3)).astype(np.uint8)
    for number, pixels in enumerate((noise, np.full((50, 50, 3), 255, np.uint8), np.zeros((1, 1, 3), np.uint8))):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        assert find_faces(tmp_path / f"{number}.png") == []


def test_detectors_by_name() -> None:
    assert isinstance(open_detector("centerface"), Detector)
    assert default_detector() is default_detector()
    with pytest.raises(InputError, match="unknown detector 'haar'; use one of: centerface, mtcnn"):
        open_detector("haar")


def test_mtcnn_on_a_demo_photograph() -> None:
    try:
        detector = open_detector("mtcnn")
    except ModelError as error:
        pytest.skip(str(error))
    (face,) = find_faces(PHOTOS / NAMES[0], detector=detector)
    (other,) = find_faces(PHOTOS / NAMES[0])
    assert face.landmarks is not None and other.landmarks is not None and face.score is not None and face.score > 0.9
    distance = np.linalg.norm(face.landmarks[0] - face.landmarks[1])
    assert np.linalg.norm(face.landmarks - other.landmarks, axis=1).max() < 0.2 * distance


def test_importing_costs_no_heavy_package() -> None:
    code = (
        "import sys, whyface.faces.load, whyface.faces.centerface, whyface.faces.mtcnn; "
        "print([name for name in ('onnxruntime', 'torch', 'matplotlib', 'mtcnn', 'lz4') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""The decoding of CenterFace on a made-up network whose right answer is known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from whyface.errors import InputError, ModelIntegrityError
from whyface.faces import centerface as centerface_network
from whyface.faces.centerface import CenterFaceDetector, CentreSettings, Tensor, open_centerface

ONE_LOOK = CentreSettings(shortest_search=32, close_up=0)
# Shares of the box, (y, x) as the network gives them: eyes, nose, mouth corners.
SHARES = np.array([(0.4, 0.3), (0.4, 0.7), (0.6, 0.5), (0.8, 0.35), (0.8, 0.65)])


class Marks:
    """A network that marks given cells: (row, column, confidence, height, width, offset down, offset across)."""

    def __init__(self, *marks: tuple[float, ...]) -> None:
        self.marks = marks
        self.seen: list[Tensor] = []

    def __call__(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        self.seen.append(pixels)
        rows, columns = pixels.shape[2] // 4, pixels.shape[3] // 4
        heat, sizes, offsets, landmarks = (np.zeros((1, n, rows, columns), np.float32) for n in (1, 2, 2, 10))
        for row, column, score, height, width, down, across in self.marks:
            cell = (int(row), int(column))
            heat[0, 0, *cell] = score
            sizes[0, :, *cell] = np.log(np.array([height, width]) / 4)
            offsets[0, :, *cell] = down, across
            landmarks[0, :, *cell] = SHARES.ravel()
        return heat, sizes, offsets, landmarks


def photo(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


def test_one_face_is_decoded() -> None:
    network = Marks((5, 6, 0.9, 24, 16, 0.25, -0.5))
    (face,) = CenterFaceDetector(network, ONE_LOOK).detect(photo(64, 64))
    # The centre is at ((6 - 0.5 + 0.5) * 4, (5 + 0.25 + 0.5) * 4), less half a pixel for pixel centres.
    np.testing.assert_allclose(face.box, (24 - 8 - 0.5, 23 - 12 - 0.5, 24 + 8 - 0.5, 23 + 12 - 0.5), atol=1e-5)
    expected = SHARES[:, ::-1] * (16, 24) + (15.5, 10.5)
    np.testing.assert_allclose(face.landmarks, expected, atol=1e-5)
    assert face.landmarks.dtype == np.float32 and face.score == pytest.approx(0.9)


def test_the_photo_reaches_the_network_as_it_is() -> None:
    network, pixels = Marks(), photo(40, 64)
    assert CenterFaceDetector(network, ONE_LOOK).detect(pixels) == []
    (seen,) = network.seen
    assert seen.shape == (1, 3, 64, 64) and seen.dtype == np.float32
    np.testing.assert_array_equal(seen[0, :, :40], pixels.transpose(2, 0, 1))
    assert not seen[0, :, 40:].any()


@pytest.mark.parametrize(
    ("size", "searched"), [((20, 10), (32, 32)), ((100, 50), (128, 64)), ((2000, 1000), (640, 320))]
)
def test_the_search_size_follows_the_photo(size: tuple[int, int], searched: tuple[int, int]) -> None:
    network = Marks()
    CenterFaceDetector(network, ONE_LOOK).detect(photo(*size))
    assert network.seen[0].shape[2:] == searched


def test_boxes_come_back_in_photo_pixels() -> None:
    (face,) = CenterFaceDetector(Marks((39, 19, 0.9, 40, 40, 0.5, 0.5)), ONE_LOOK).detect(photo(1280, 640))
    # Searched at half size, where the box spans 60..100 by 140..180 between pixel edges.
    np.testing.assert_allclose(face.box, (119.5, 279.5, 199.5, 359.5), atol=1e-4)


def test_weak_and_overlapping_marks_go_and_the_largest_comes_first() -> None:
    marks = [
        (4, 4, 0.6, 16, 16, 0, 0),
        (4, 5, 0.8, 16, 16, 0, 0),
        (12, 12, 0.55, 24, 24, 0, 0),
        (9, 2, 0.4, 8, 8, 0, 0),
    ]
    found = CenterFaceDetector(Marks(*marks), ONE_LOOK).detect(photo(64, 64))
    assert [round(face.score, 2) for face in found] == [0.55, 0.8]


def test_the_second_look_corrects_the_first() -> None:
    first, second = Marks((8, 8, 0.9, 20, 20, 0, 0)), Marks((15, 16, 0.7, 64, 64, 0, 0))

    def network(pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return (second if first.seen else first)(pixels)

    settings = CentreSettings(shortest_search=32, close_up=128, framing=2.0)
    (face,) = CenterFaceDetector(network, settings).detect(photo(64, 64))
    # The view is 40 pixels around (33.5, 33.5) at 128 / 40; the mark's centre is 2 right and 2 up of its middle.
    np.testing.assert_allclose(np.reshape(face.box, (2, 2)).mean(axis=0), (33.5 + 2 / 3.2, 33.5 - 2 / 3.2), atol=1e-4)
    assert face.box[2] - face.box[0] == pytest.approx(20) and face.score == pytest.approx(0.9)


def test_a_neighbour_or_nothing_in_the_second_look_changes_nothing() -> None:
    settings = CentreSettings(shortest_search=32, close_up=128, framing=2.0)
    for seen in ((), ((2, 2, 0.9, 20, 20, 0, 0),)):
        first, second = Marks((8, 8, 0.9, 20, 20, 0, 0)), Marks(*seen)

        def network(pixels: Tensor, first: Marks = first, second: Marks = second) -> tuple[Tensor, ...]:
            return (second if first.seen else first)(pixels)

        (face,) = CenterFaceDetector(network, settings).detect(photo(64, 64))  # type: ignore[arg-type]
        np.testing.assert_allclose(face.box, (23.5, 23.5, 43.5, 43.5), atol=1e-5)


@pytest.mark.parametrize(
    "wrong", [{"shortest_search": 16}, {"longest_search": 100}, {"threshold": 0}, {"framing": 0.5}, {"close_up": -1}]
)
def test_senseless_settings(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError):
        CentreSettings(**wrong)  # type: ignore[arg-type]


def test_what_is_no_photo() -> None:
    with pytest.raises(InputError, match="RGB"):
        CenterFaceDetector(Marks()).detect(np.zeros((5, 5), np.uint8))


def test_a_changed_network_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(centerface_network, "SHA256", "0" * 64)
    with pytest.raises(ModelIntegrityError, match="install whyface again"):
        open_centerface()


def test_the_real_network_takes_any_size() -> None:
    network = open_centerface(threads=1)
    for height, width in ((32, 32), (64, 160)):
        heat, sizes, offsets, landmarks = network(np.zeros((1, 3, height, width), np.float32))
        assert heat.shape == (1, 1, height // 4, width // 4)
        assert (sizes.shape[1], offsets.shape[1], landmarks.shape[1]) == (2, 2, 10)
        assert heat.max() < 0.5

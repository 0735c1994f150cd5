"""The unified score on components whose answer is known by hand, and the shipped meter on plain cases."""

import json
from dataclasses import replace
from functools import partial
from importlib import resources
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from whyface.data.degradations import add_noise, blur, darken, motion_blur, shrink
from whyface.errors import InputError, ModelError, ModelIntegrityError
from whyface.faces import quality_meter
from whyface.faces.align import template
from whyface.faces.load import find_faces, load_face
from whyface.faces.photo import read_photo
from whyface.faces.quality import FaceQuality, measure_crop
from whyface.faces.quality_meter import Component, QualityMeter, Scale, default_meter, log_odds, open_meter

GOOD = FaceQuality(
    sharpness=0.6,
    noise=1.5,
    luminance_mean=0.5,
    luminance_variance=0.03,
    dynamic_range=7.0,
    under_exposure=0.0,
    over_exposure=0.0,
    recognisability=0.6,
)
RECORD = json.loads((resources.files("whyface") / quality_meter.ASSETS / "quality.json").read_text("utf-8"))


def demo_photo(name: str) -> NDArray[np.uint8]:
    with resources.as_file(resources.files("whyface") / "assets/photos" / name) as path:
        return read_photo(path)


def meter(**components: Component) -> QualityMeter:
    return QualityMeter(components, limit=0.5)


def test_a_component_is_a_half_at_its_middle_and_rises_or_falls_by_the_sign_of_its_width() -> None:
    rising, falling = Component(0.4, 0.1), Component(0.4, -0.1)
    assert rising.value(0.4) == falling.value(0.4) == 0.5
    assert rising.value(0.5) == pytest.approx(1 / (1 + np.exp(-1))) == pytest.approx(1 - falling.value(0.5))
    assert Component(np.log(11), -1, logarithmic=True).value(10) == pytest.approx(0.5)


@given(st.floats(-1e6, 1e6), st.floats(-10, 10), st.floats(1e-3, 10) | st.floats(-10, -1e-3))
def test_a_component_stays_in_0_to_1(measure: float, middle: float, width: float) -> None:
    assert 0 <= Component(middle, width).value(measure) <= 1


def test_the_unified_score_is_the_product_and_the_smallest_component_is_named() -> None:
    tested = meter(sharpness=Component(0.6, 0.1), noise=Component(1.5, -0.2))
    judged = tested.judge(GOOD)
    assert judged.unified == pytest.approx(0.25) and judged.shortcoming == "too noisy"
    blurred = tested.judge(replace(GOOD, sharpness=0.3))
    assert blurred.shortcoming == "too blurred"
    assert tested.judge(replace(GOOD, sharpness=1, noise=0)).shortcoming is None


def test_a_scale_turns_the_product_into_the_unified_score() -> None:
    # The product is 0.5, whose odds are 1 and their logarithm 0, and 1 / 11 at odds of 1 to 10.
    scaled = QualityMeter({"sharpness": Component(0.6, 0.1)}, limit=0.4, scale=Scale([-1, 1], [0.2, 0.8]))
    assert scaled.judge(GOOD).unified == pytest.approx(0.5) and scaled.judge(GOOD).shortcoming is None
    poor = scaled.judge(replace(GOOD, sharpness=0.6 - 0.1 * np.log(10)))
    assert poor.unified == pytest.approx(0.2) and poor.shortcoming == "too blurred"
    assert log_odds(0.5) == 0 and log_odds(0) == -15 and log_odds(1) == 15


@given(st.lists(st.floats(0, 1), min_size=2, max_size=2))
def test_the_shipped_scale_keeps_the_order(products: list[float]) -> None:
    scale = Scale(**RECORD["scale"])
    low, high = (scale.value(product) for product in sorted(products))
    assert 0 <= low <= high <= 1


@pytest.mark.parametrize(("x", "y"), [([0], [1]), ([0, 0], [0, 1]), ([0, 1], [1, 0]), ([0, 1], [0, 2]), ([0, 1], [0])])
def test_a_scale_must_rise_in_0_to_1(x: list[float], y: list[float]) -> None:
    with pytest.raises(InputError, match="rise"):
        Scale(x, y)


def test_measures_that_a_crop_lacks_do_not_count() -> None:
    tested = meter(inter_eye_distance=Component(10, 1))
    assert tested.judge(GOOD).unified == 1
    assert tested.judge(replace(GOOD, inter_eye_distance=5.0)).shortcoming == "too small"


@pytest.mark.parametrize(("mean", "word"), [(0.01, "too dark"), (0.99, "too bright"), (0.5, "too low in contrast")])
def test_a_face_without_range_is_dark_bright_or_flat(mean: float, word: str) -> None:
    tested = meter(sharpness=Component(0.4, 0.01), dynamic_range=Component(5, 0.1))
    # A face of one grey is not sharp either, but that is not what is wrong with it.
    flat = replace(GOOD, dynamic_range=0.0, sharpness=0.0, luminance_mean=mean, luminance_variance=0.0)
    assert tested.judge(flat).shortcoming == word


def test_senseless_settings() -> None:
    with pytest.raises(InputError, match="width"):
        Component(0.5, 0)
    with pytest.raises(InputError, match="beauty"):
        meter(beauty=Component(0.5, 1))
    with pytest.raises(InputError, match="limit"):
        QualityMeter({}, limit=1.5)


@pytest.mark.parametrize("name", ["biden-portrait.jpg", "obama-portrait.jpg", "obama-speech.jpg"])
def test_the_faces_of_the_demo_photos_can_support_a_verdict(name: str) -> None:
    (face, *_) = find_faces(demo_photo(name))
    quality = face.quality
    assert quality is not None and quality.shortcoming is None and quality.unified is not None
    assert quality.unified > 0.9 and quality.outside == 0 and quality.detection_score == face.score
    assert quality.inter_eye_distance is not None and quality.inter_eye_distance > 50
    assert quality.pose is not None and abs(quality.pose.roll) < 20


def spoilt(kind: str) -> NDArray[np.uint8]:
    crop: NDArray[np.floating] = find_faces(demo_photo("obama-portrait.jpg"))[0].image.astype(np.float64)
    rng = np.random.default_rng(0)
    if kind == "blurred":
        crop = np.asarray(cv2.GaussianBlur(crop, (0, 0), 4), np.float64)
    elif kind == "small":
        small = cv2.resize(crop, (16, 16), interpolation=cv2.INTER_AREA)
        crop = np.asarray(cv2.resize(small, (112, 112)), np.float64)
    elif kind == "moved":
        crop = np.asarray(cv2.filter2D(crop, -1, np.full((1, 21), 1 / 21)), np.float64)
    elif kind == "dark":
        crop = crop * 0.04
    elif kind == "noisy":
        crop = crop + rng.normal(0, 60, crop.shape)
    elif kind == "grey":
        crop = np.full_like(crop, 119)
    elif kind == "noise":
        crop = rng.uniform(0, 255, crop.shape)
    return np.asarray(np.clip(np.rint(crop), 0, 255), np.uint8)


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("blurred", "too blurred"),
        ("small", "too blurred"),
        ("moved", "too blurred"),
        ("dark", "too dark"),
        ("noisy", "too noisy"),
        ("grey", "too low in contrast"),
        ("noise", "too noisy"),
    ],
)
def test_crops_that_tell_nothing_are_said_to_and_why(kind: str, word: str) -> None:
    assert default_meter().measure(spoilt(kind)).shortcoming == word


ROWS = {
    **{f"blur {sigma}": partial(blur, sigma=sigma) for sigma in (3, 4, 6)},
    **{f"{side} px": partial(shrink, side=side) for side in (20, 16, 12)},
    **{
        f"motion {length} px, {degrees} degrees": partial(motion_blur, length=length, angle=np.deg2rad(degrees))
        for length in (13, 21, 25)
        for degrees in (0, 30, 45, 90, 120)
    },
    **{f"noise {sigma}": partial(add_noise, deviation=sigma, rng=np.random.default_rng(1)) for sigma in (60, 120)},
    **{f"dark {gain}": partial(darken, gain=gain, rng=np.random.default_rng(1)) for gain in (0.04, 0.01)},
}


@pytest.mark.parametrize("row", ROWS)
def test_what_made_strangers_match_is_turned_away_with_its_reason(row: str) -> None:
    face = ROWS[row](spoilt("as it is"))
    word = {"noise": "too noisy", "dark": "too dark"}.get(row.split(" ", maxsplit=1)[0], "too blurred")
    assert default_meter().measure(face).shortcoming == word


@pytest.mark.parametrize("name", ["drawn-face-17.png", "drawn-face-29.png"])
def test_drawn_faces_that_a_detector_finds_are_no_faces(name: str) -> None:
    for face in find_faces(read_photo(Path(__file__).parents[1] / "cases" / name)):
        assert face.quality is not None and face.quality.shortcoming is not None


def test_a_face_that_is_half_outside_the_photo_cannot_support_a_verdict() -> None:
    photo = demo_photo("obama-portrait.jpg")
    face = find_faces(photo)[0]
    assert face.to_photo is not None
    judged = default_meter().measure(face.image, to_photo=face.to_photo, photo_size=(photo.shape[0], 230))
    assert judged.outside > 0.4 and judged.shortcoming == "cut off by the edge of the photo"


def test_landmarks_in_one_point_are_left_unmeasured() -> None:
    measured = default_meter().measure(spoilt("as it is"), landmarks=np.ones((5, 2)))
    assert measured.inter_eye_distance == 0 and measured.pose is None and measured.landmark_misfit is None


def test_an_aligned_crop_is_measured_without_its_photo(tmp_path: object) -> None:
    path = f"{tmp_path}/crop.png"
    cv2.imwrite(path, spoilt("as it is")[:, :, ::-1])
    quality = load_face(path, aligned=True).quality
    assert quality is not None and quality.unified is not None and quality.shortcoming is None
    assert quality.pose is None and quality.inter_eye_distance is None and quality.detection_score is None


def test_the_shipped_numbers_name_measures_that_there_are() -> None:
    record = RECORD
    assert set(record["components"]) == set(default_meter().components)
    values = default_meter().component_values(replace(measure_crop(spoilt("as it is")), recognisability=0.6))
    assert set(values) <= set(record["components"]) and min(values.values()) > 0.9
    # The limit of the unified score is that of the product, where a single component at its middle is.
    assert record["limit"] == Scale(**record["scale"]).value(0.5) == default_meter().limit
    assert max(record["fitted"]["turned_away"].values()) <= record["fitted"]["turned_away_at_most"]


def test_the_template_has_no_misfit_in_the_meter() -> None:
    measured = default_meter().measure(spoilt("as it is"), landmarks=template())
    assert measured.landmark_misfit == pytest.approx(0, abs=1e-9)


def test_a_changed_network_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality_meter, "SHA256", "0" * 64)
    with pytest.raises(ModelIntegrityError, match="install whyface again"):
        open_meter()


def test_missing_files_are_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality_meter, "ASSETS", "assets/nowhere")
    with pytest.raises(ModelError, match="install whyface again"):
        open_meter()

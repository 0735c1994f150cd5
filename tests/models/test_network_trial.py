"""Networks of one's own: any square input, both orders of axes, and first of all the trial on the demo photos."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers.command_line import assert_refused, run_whyface
from helpers.tiny_networks import flat_faces, shared_weights, write_face_network, write_tiny
from whyface import OnnxEmbedder, Verifier, list_grids
from whyface.demo import demo_photo
from whyface.errors import InputError, ModelError
from whyface.faces.face import stack_faces
from whyface.faces.load import load_face
from whyface.models.own_network import LEAST_GAP, check_network, demo_crops
from whyface.models.preprocessing import ARCFACE, PRESETS, RAW, Preprocessing, as_preprocessing, preprocessing_from_dict
from whyface.xcos.open_model import open_model

pytestmark = pytest.mark.trial
OBAMA, SPEECH, BIDEN = (str(demo_photo(f"{name}.jpg")) for name in ("obama-portrait", "obama-speech", "biden-portrait"))


def test_the_crops_are_those_of_the_demo_photos() -> None:
    """Another detector may place them a little differently."""
    faces = stack_faces([load_face(photo) for photo in (OBAMA, SPEECH, BIDEN)])
    assert demo_crops().shape == faces.shape
    verifier = Verifier()
    features = [verifier.method.comparison.features(batch) for batch in (demo_crops(), faces)]
    assert verifier.method.comparison.scores(*features).min() > 0.9


@pytest.mark.parametrize("size", [112, 160, 224, 96, "side"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_any_square_in_any_order(tmp_path: Path, size: int | str, channels_last: bool) -> None:
    network = write_face_network(tmp_path / "net.onnx", size=size, channels_last=channels_last)
    verifier = Verifier(network, threshold=0.5, accept_poor=True)
    assert verifier(OBAMA, SPEECH).is_match and not verifier(OBAMA, BIDEN).is_match
    assert OnnxEmbedder(network).embed(demo_crops()) @ np.array([1, 0]) == pytest.approx([1, 1, 0], abs=0.02)
    assert list_grids(network)[-1].shape == (3, 7, 7)


def test_a_free_size_is_an_option(tmp_path: Path) -> None:
    network = write_face_network(tmp_path / "net.onnx", size="side")
    # 224 pixels give 14 x 14 places, which the linear layer does not take.
    with pytest.raises(ModelError, match="ONNX Runtime cannot use this network"):
        OnnxEmbedder(network, preprocessing=Preprocessing(side=224)).embed(demo_crops())
    assert OnnxEmbedder(network, preprocessing=Preprocessing(side=112)).embed(demo_crops()).shape == (3, 2)
    fixed = write_face_network(tmp_path / "fixed.onnx", size=160)
    with pytest.raises(ModelError, match="takes 160 x 160 pixels, but it was to be given 112 x 112"):
        OnnxEmbedder(fixed, preprocessing=Preprocessing(side=112)).embed(demo_crops())


def test_resizing_keeps_colours(tmp_path: Path) -> None:
    for size in (64, 160):
        network = write_tiny(tmp_path / f"{size}.onnx", size=(3, size, size))
        embedding = OnnxEmbedder(network).embed(flat_faces((200, 0, 0), (0, 0, 200)))
        expected = OnnxEmbedder(write_tiny(tmp_path / "112.onnx")).embed(flat_faces((200, 0, 0), (0, 0, 200)))
        np.testing.assert_allclose(embedding, expected, atol=1e-6)


@pytest.mark.parametrize("size", [(3, 112, 96), (3, 8, 8), (3, 1024, 1024), (1, 112, 112), (4, 112, 112)])
def test_other_shapes_are_refused(tmp_path: Path, size: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match=r"the network takes .* (a face is a square|no batch of pictures)"):
        OnnxEmbedder(write_tiny(tmp_path / "net.onnx", size=size)).embed(flat_faces((1, 2, 3)))


def test_presets_by_name() -> None:
    assert as_preprocessing("arcface-128-bgr") == replace(PRESETS["arcface-128"], order="bgr")
    assert as_preprocessing(None) is None and as_preprocessing(ARCFACE) is ARCFACE
    with pytest.raises(InputError, match="unknown preprocessing 'tv'; use one of: raw, unit, arcface"):
        as_preprocessing("tv")
    grey = np.full((1, 3, 112, 112), 255, np.uint8)
    expected = {"raw": 255, "unit": 1, "arcface": 1, "arcface-128": 127.5 / 128, "imagenet": (1 - 0.485) / 0.229}
    for name, value in expected.items():
        assert PRESETS[name].apply(grey)[0, 0].max() == pytest.approx(value)
        assert PRESETS[f"{name}-bgr"].apply(grey)[0, 0].max() == pytest.approx(value)


def test_a_side_is_kept_on_record() -> None:
    sized = Preprocessing(side=160)
    assert preprocessing_from_dict(sized.to_dict()) == sized and sized.size == (160, 160)
    assert "side" not in RAW.to_dict()
    with pytest.raises(InputError, match="16 to 512 pixels a side, got 8"):
        Preprocessing(side=8)
    with pytest.raises(InputError, match="either columns or a side"):
        Preprocessing(side=112, columns=(8, 104))


@pytest.mark.parametrize("wanted", ["unit", "arcface", "imagenet"])
def test_wrong_preprocessing_is_refused_with_the_right_one(
    tmp_path: Path, wanted: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Raw values where a network wants -1..1 made everybody match everybody, in silence."""
    network = str(write_face_network(tmp_path / "net.onnx", preprocessing=PRESETS[wanted]))
    arguments = ("verify", OBAMA, BIDEN, "--model", network, "--threshold", "0.5")
    assert_refused(monkeypatch, capsys, f"--pixels {wanted}", *arguments)
    assert run_whyface(monkeypatch, capsys, *arguments, "--pixels", wanted)[0] == 1
    with pytest.raises(ModelError, match="it does not tell the demo photos apart: two of one man score"):
        Verifier(network, threshold=0.5)
    assert Verifier(network, threshold=0.5, preprocessing=wanted)(OBAMA, SPEECH).is_match


def test_one_number_per_face_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Everybody scored 1.0000."""
    network = str(write_face_network(tmp_path / "net.onnx", norm_first=True))
    arguments = ("verify", OBAMA, BIDEN, "--model", network, "--threshold", "0.5")
    assert_refused(monkeypatch, capsys, "output 'norm' is one number per face", *arguments)
    assert_refused(monkeypatch, capsys, "name the embedding with --output: y", *arguments)
    assert_refused(monkeypatch, capsys, "no tensor 'z'", *arguments, "--output", "z")
    assert run_whyface(monkeypatch, capsys, *arguments, "--output", "y")[0] == 1
    assert Verifier(network, threshold=0.5, output="y")(OBAMA, SPEECH).is_match


def test_a_network_to_which_all_are_alike_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    network = str(write_tiny(tmp_path / "net.onnx"))
    arguments = ("verify", OBAMA, BIDEN, "--model", network, "--threshold", "0.5")
    assert_refused(monkeypatch, capsys, "nor with any other preprocessing", *arguments)
    assert run_whyface(monkeypatch, capsys, *arguments, "--unchecked")[0] == 0
    with pytest.raises(ModelError, match="does not tell the demo photos apart"):
        open_model(network)
    for command in (
        ("gallery", "enroll", str(tmp_path / "g"), str(demo_photo("").parent)),
        ("batch", str(demo_photo("").parent), "--threshold", "0.5", "--out", str(tmp_path / "r.csv")),
        ("explain", OBAMA, BIDEN, "--threshold", "0.5"),
    ):
        code, _, err = run_whyface(monkeypatch, capsys, *command, "--model", network)
        assert code == 2 and ("demo photos" in err or "no person's folder" in err)


def test_a_network_for_bytes_is_tried_raw_only(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nor with any other preprocessing"):
        check_network(OnnxEmbedder(write_tiny(tmp_path / "net.onnx", elem="UINT8")))


def test_uniform_attention_on_an_untrained_map_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its scores lie on another scale: at the threshold of the README's recipe, strangers matched."""
    network = str(write_face_network(tmp_path / "net.onnx"))
    arguments = ("verify", OBAMA, BIDEN, "--model", network, "--grid", "map", "--threshold", "0.3")
    assert run_whyface(monkeypatch, capsys, *arguments)[0] == 1
    for command in ("verify", "explain", "words"):
        assert_refused(
            monkeypatch, capsys, "whyface explain --method places", command, *arguments[1:], "--attention", "u"
        )
    with pytest.raises(ModelError, match="scores on a scale of its own"):
        Verifier(network, threshold=0.3, grid="map", attention="u")


@pytest.mark.parametrize(
    ("name", "preset"),
    [("mobilefacenet-large", "raw"), ("mobilefacenet-ms1m", "raw"), ("mobilefacenet192", "arcface-128")],
)
def test_published_networks(name: str, preset: str) -> None:
    """They pass as they should be fed (one of them with the channels last), and not 255 times too bright or dark."""
    path = shared_weights(f"{name}.onnx")
    network = OnnxEmbedder(path, preprocessing=PRESETS[preset], threads=1)
    check_network(network)
    scores = network.embed(demo_crops()) @ network.embed(demo_crops()).T
    assert scores[0, 1] - max(scores[0, 2], scores[1, 2]) > 4 * LEAST_GAP
    with pytest.raises(ModelError, match=preset if preset == "raw" else "would pass"):
        check_network(OnnxEmbedder(path, preprocessing=PRESETS["unit" if preset == "raw" else "raw"], threads=1))

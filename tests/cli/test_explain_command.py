"""``whyface explain`` as a user meets it."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.face_folders import write_faces
from helpers.tiny_networks import write_tiny
from whyface.cli import main
from whyface.demo import demo_photo
from whyface.explain.explanation import Explanation
from whyface.models.catalogue import FAST_MODEL

PHOTOS = [str(demo_photo(name)) for name in ("obama-portrait.jpg", "biden-portrait.jpg")]


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["whyface", "explain", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    out, err = capsys.readouterr()
    assert isinstance(stop.value.code, int)
    return stop.value.code, out, err


def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], message: str, *arguments: str) -> None:
    code, out, err = run(monkeypatch, capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err


def test_methods_side_by_side(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    figure = tmp_path / "why.png"
    code, out, err = run(monkeypatch, capsys, *PHOTOS, "-m", "xcos,random,centre", "--figure", str(figure))
    assert (code, err) == (0, "")
    assert out.startswith("NO MATCH: score 0.0")
    assert "xcos (2 forward passes" in out
    # A control must not be read as reasons.
    assert out.count("Not an explanation: ") == 2
    with Image.open(figure) as picture:
        assert picture.width > 900


def test_a_report_lays_the_maps_of_other_methods_over_the_faces(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    target = tmp_path / "why.html"
    given = ("-m", "xcos,centre,random", "--report", str(target))
    code, out, _ = run(monkeypatch, capsys, *PHOTOS, *given, "--language", "de")
    assert code == 0
    assert f"Report: {target}" in out
    assert target.stat().st_size <= 400_000
    found = re.findall(r'id="whyface-data">(.*?)</script>', target.read_text(encoding="utf-8"), re.DOTALL)
    data = json.loads(found[0])
    assert data["language"] == "de"
    # The grid's own maps are in the report anyway.
    assert data["explanation"]["method"] == "xcos"
    assert [(one["method"], one["control"]) for one in data["others"]] == [("centre", True), ("random", True)]
    for one in data["others"]:
        for key in ("map_a", "map_b"):
            steps = np.frombuffer(base64.b64decode(one[key]["steps"]), np.int8)
            assert len(steps) == np.prod(one[key]["size"])
            assert np.abs(steps.astype(int)).max() == 127
    refused(monkeypatch, capsys, "a report is .html or .pdf", *PHOTOS, "--report", str(tmp_path / "why.txt"))
    third = ("--non-mate", PHOTOS[1], "--report", str(target))
    refused(monkeypatch, capsys, "a report shows two faces", *PHOTOS, *third)


def test_one_method_with_several_options(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("torch", reason="needs the extra torch")
    figure = tmp_path / "why.png"
    specs = ["xssab:kind=positive", "xssab:kind=negative", "xssab"]
    given = (*PHOTOS, "--model", FAST_MODEL, "-m", ",".join(specs))
    code, out, _ = run(monkeypatch, capsys, *given, "--figure", str(figure), "--blend")
    assert code == 0
    assert all(f"{spec} (2 forward passes" in out for spec in specs)
    assert figure.stat().st_size > 10_000
    code, out, _ = run(monkeypatch, capsys, *given, "--json")
    for_match, against, both = (Explanation.from_dict(values).map_a for values in json.loads(out)["explanations"])
    assert for_match is not None
    assert against is not None
    assert both is not None
    assert for_match.min() >= 0 >= against.max()
    np.testing.assert_allclose(both, for_match + against, atol=1e-7)
    refused(monkeypatch, capsys, "kind must be one of", *PHOTOS, "-m", "xssab:kind=sideways")


def test_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(monkeypatch, capsys, *PHOTOS, "--method", "xcos,random", "--json", "--seed", "3")
    assert code == 0
    document = json.loads(out)
    assert document["schema"] == "whyface/explanations/1"
    xcos, random = (Explanation.from_dict(values) for values in document["explanations"])
    assert (xcos.method, random.method) == ("xcos", "random")
    assert random.settings["seed"] == 3
    assert random.score == pytest.approx(xcos.score, abs=1e-5)


def test_own_network(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    network = str(write_tiny(tmp_path / "tiny.onnx"))
    code, out, _ = run(monkeypatch, capsys, *PHOTOS, "--model", network, "--threshold", "0.9", "-m", "centre")
    assert code == 0
    assert "set by the user" in out
    refused(
        monkeypatch,
        capsys,
        "needs a model with attention",
        *PHOTOS,
        "--model",
        network,
        "--threshold",
        "0.9",
        "-m",
        "xcos",
    )
    refused(monkeypatch, capsys, "no threshold", *PHOTOS, "--model", network, "-m", "centre")


def test_places_of_an_own_network(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    network = str(write_tiny(tmp_path / "tiny.onnx", offset=2))
    faces = write_faces(tmp_path / "faces", dict.fromkeys("abcdefgh", 2))
    pair = [str(faces / "a" / "0.png"), str(faces / "b" / "0.png")]
    own = ("--model", network, "--grid", "map", "--threshold", "0.9", "--aligned", "--accept-poor")
    (faces / "c" / "0.png").write_bytes(b"no picture")
    code, out, err = run(monkeypatch, capsys, *pair, *own, "-m", "places,centre", "--reference", str(faces), "--json")
    assert code == 0
    assert err.startswith("Left out of the reference: ")
    assert "0.png: not a picture" in err
    places = Explanation.from_dict(json.loads(out)["explanations"][0])
    assert places.method == "places"
    assert places.map_a is not None
    assert places.map_a.shape == (7, 7)
    few, none, empty = tmp_path / "faces" / "a", tmp_path / "none", tmp_path / "empty"
    empty.mkdir()
    for message, *arguments in (
        ("needs the mean map of 'tiny'", "-m", "places"),
        ("1 faces are too few", "-m", "places", "--reference", str(few)),
        ("none: not a folder", "-m", "places", "--reference", str(none)),
        ("empty: no picture in it shows a face", "-m", "places", "--reference", str(empty)),
        ("--reference is for method 'places'", "-m", "centre", "--reference", str(faces)),
    ):
        refused(monkeypatch, capsys, message, *pair, *own, *arguments)
    refused(monkeypatch, capsys, "use xcos, or a model that compares embeddings", *PHOTOS, "-m", "places")


def test_list(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(monkeypatch, capsys, "--list")
    assert code == 0
    assert "Knoche et al., WACV Workshops 2023; needs any embedder" in out


def test_bad_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    refused(monkeypatch, capsys, "did you mean 'xface'?", *PHOTOS, "-m", "xcos,xfaec")
    refused(monkeypatch, capsys, "no method given", *PHOTOS, "-m", ",")
    refused(monkeypatch, capsys, "create it first", *PHOTOS, "--figure", str(tmp_path / "no" / "why.png"))
    refused(monkeypatch, capsys, "missing.jpg", PHOTOS[0], "missing.jpg", "-m", "centre")
    refused(monkeypatch, capsys, "unknown model", *PHOTOS, "--model", "xcos-mobile")


def test_command_starts_fast() -> None:
    script = "import sys, whyface.commands.explain\nassert not {'torch', 'numpy', 'onnxruntime'} & set(sys.modules)\n"
    subprocess.run([sys.executable, "-c", script], check=True)


def verify(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str]:
    monkeypatch.setattr(sys, "argv", ["whyface", "verify", *PHOTOS, *arguments])
    with pytest.raises(SystemExit):
        main()
    return capsys.readouterr()


def test_probability_and_its_prior(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = verify(monkeypatch, capsys)
    assert "Probability of the same person: at most 0.5 % (Platt with quality" in out
    assert "fitted on CelebA, 290 people, 57734 pairs, prior 50 %)" in out
    found = {}
    for prior in ("0.5", "0.1"):
        out, _ = verify(monkeypatch, capsys, "--prior", prior, "--json")
        found[prior] = Explanation.from_json(out).probability or 0.0
    odds = {prior: p / (1 - p) for prior, p in found.items()}
    assert odds["0.5"] / odds["0.1"] == pytest.approx(9)
    assert verify(monkeypatch, capsys, "--prior", "0")[1].startswith("whyface: a prior is a probability")
    out, err = verify(monkeypatch, capsys, "--prior", "0.5", "--model", "mobilefacenet-ms1m")
    assert "no probability was calibrated" in err


def test_a_triplet_with_several_mates_and_non_mates(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    speech, fast = str(demo_photo("obama-speech.jpg")), ("--model", FAST_MODEL, "-m", "xcos")
    others = tmp_path / "others"
    others.mkdir()
    for name in ("one.jpg", "two.jpg"):
        shutil.copy(PHOTOS[1], others / name)
    sets = ("--mate", PHOTOS[0], "--non-mate", str(others), "--figure", str(tmp_path / "why.png"), "--json")
    code, out, err = run(monkeypatch, capsys, PHOTOS[0], speech, *sets, *fast)
    assert (code, err) == (0, "")
    document = json.loads(out)
    scores = {role: [one["score"] for one in document[role]] for role in ("mates", "non_mates")}
    assert [len(some) for some in scores.values()] == [2, 2]
    # The photo itself is a mate, too, which is as alike as can be.
    assert scores["mates"][1] == pytest.approx(1, abs=1e-3)
    expected = np.mean(scores["mates"]) - np.mean(scores["non_mates"])
    assert np.sum(document["maps"][0]["map"]) == pytest.approx(expected, abs=1e-4)
    (tmp_path / "empty").mkdir()
    refused(monkeypatch, capsys, "no photos", PHOTOS[0], speech, "--non-mate", str(tmp_path / "empty"), *fast)
    refused(monkeypatch, capsys, "--mate is for triplets", PHOTOS[0], speech, "--mate", speech, *fast)


def test_photos_of_a_triplet_are_named_and_non_mates_that_match_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    speech, fast = str(demo_photo("obama-speech.jpg")), ("--model", FAST_MODEL, "-m", "xcos")
    others = ("--non-mate", PHOTOS[1], "--non-mate", speech)
    code, out, err = run(monkeypatch, capsys, PHOTOS[0], speech, *others, *fast)
    assert code == 0
    assert out.startswith("Mate: MATCH: ")
    assert f"Non-mate {PHOTOS[1]}: NO MATCH: " in out
    assert f"Non-mate {speech}: MATCH: " in out
    assert err == "non-mates that match the probe: 1 of 2; leave out photos of the same person\n"
    _, _, err = run(monkeypatch, capsys, PHOTOS[0], speech, *others[2:], *fast, "--json")
    assert err == "non-mates that match the probe: 1 of 1; leave out photos of the same person\n"


def test_a_triplet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    speech, figure = str(demo_photo("obama-speech.jpg")), tmp_path / "why.png"
    fast = ("--model", FAST_MODEL, "-m", "xcos,xface:patch_sizes=28:stride=28")
    triplet = (PHOTOS[0], speech, "--non-mate", PHOTOS[1], *fast)
    code, out, err = run(monkeypatch, capsys, *triplet, "--figure", str(figure))
    assert (code, err) == (0, "")
    assert out.startswith("Mate: MATCH: score 0.6")
    assert "\nNon-mate: NO MATCH: score " in out
    assert out.count("  Of the map's weight, for the mate the ") == 2
    with Image.open(figure) as picture:
        assert picture.width > 700
    code, out, _ = run(monkeypatch, capsys, *triplet, "--json")
    document = json.loads(out)
    assert (code, document["schema"]) == (0, "whyface/triplet/1")
    mate, other = (Explanation.from_dict(document[role][0]) for role in ("mates", "non_mates"))
    xcos, xface = (np.array(one["map"]) for one in document["maps"])
    # xCos splits both scores, so the difference of its maps is that of the scores.
    assert xcos.sum() == pytest.approx(mate.score - other.score, abs=1e-4)
    assert xface.shape == (112, 112)
    refused(monkeypatch, capsys, "nobody.jpg", PHOTOS[0], speech, "--non-mate", "nobody.jpg", *fast)
    code, out, _ = run(monkeypatch, capsys, *triplet[:3], PHOTOS[1], *fast, "--blend", "--figure", str(figure))
    assert code == 0

"""Checks by other programs: their results stand beside the verdict, which never depends on them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from numpy.typing import NDArray

from helpers.command_line import assert_refused, run_whyface
from whyface import Verifier
from whyface.demo import demo_photo
from whyface.errors import InputError
from whyface.explain.checks import CHECKS, Check, CheckScore, find_checks, register_check
from whyface.faces.face import Face
from whyface.models.catalogue import FAST_MODEL

PHOTOS = tuple(str(demo_photo(name)) for name in ("obama-portrait.jpg", "obama-speech.jpg"))
RATES = {"APCER": 0.05, "BPCER": 0.01}


def brightness(photo: NDArray[np.uint8], face: Face) -> CheckScore:
    """Score the mean of the photo, and spoil what was handed over."""
    score = float(photo.mean())
    photo[:] = 0
    assert face.image.shape == (112, 112, 3)
    return CheckScore(score, 255.0, RATES, "nothing but two photos")


def broken(photo: NDArray[np.uint8], face: Face) -> CheckScore:
    raise RuntimeError("no such\nweights")


TOYS = {
    "toy": brightness,
    "broken": broken,
    "nan": lambda _photo, _face: CheckScore(float("nan")),
    "text": lambda _photo, _face: "fine",
    "rates": lambda _photo, _face: CheckScore(0.5, None, {"APCER": 1.5}, "a set"),
    "unsaid": lambda _photo, _face: CheckScore(0.5, None, RATES),
    "bare": lambda _photo, _face: CheckScore(0.5),
}


@pytest.fixture(autouse=True)
def toys() -> Iterator[None]:
    for name, run in TOYS.items():
        register_check(Check(name, f"the {name} check", run))  # type: ignore[arg-type]
    yield
    for name in TOYS:
        CHECKS.unregister(name)


@pytest.fixture(scope="module")
def verifier() -> Verifier:
    return Verifier(FAST_MODEL)


def test_no_check_comes_with_whyface() -> None:
    assert set(CHECKS) == set(TOYS)
    assert find_checks(()) == []


def test_the_verdict_is_the_same_whatever_checks_say(verifier: Verifier) -> None:
    plain = verifier(*PHOTOS)
    checked = verifier(*PHOTOS, checks=tuple(TOYS))
    assert plain.checks == ()
    assert len(checked.checks) == 2 * len(TOYS)
    assert (checked.score, checked.verdict, checked.sentences) == (plain.score, plain.verdict, plain.sentences)
    assert checked.explanation.warnings == plain.explanation.warnings
    assert checked.explanation.undecided is plain.explanation.undecided
    found = {(one.check, one.photo): one for one in checked.checks}
    toy = found["toy", "A"]
    assert toy.found is not None
    assert toy.found.score > 1
    assert toy.describe().endswith("APCER 5 %, BPCER 1 % on nothing but two photos. The verdict does not depend on it.")
    assert "not above its limit 255" in toy.describe()
    for name, said in (
        ("broken", "RuntimeError: no such\nweights"),
        ("nan", "ValueError: its score or limit is not a finite number"),
        ("text", "TypeError: it returned str, not a CheckScore"),
        ("rates", "ValueError: an error rate is not between 0 and 1"),
        ("unsaid", "ValueError: it has error rates, but does not say what they were measured on"),
    ):
        assert (found[name, "B"].found, found[name, "B"].error) == (None, said)
    assert "its error rates are not known" in found["bare", "A"].describe()


def test_on_the_command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["verify", *PHOTOS, "--model", FAST_MODEL]
    code, text, _ = run_whyface(monkeypatch, capsys, *command, "--check", "toy", "--check", "broken")
    assert code == 0
    assert text.count("Check toy, photo ") == 2
    assert "Check broken, photo B (the broken check): failed (RuntimeError: no such weights)" in text
    _, text, _ = run_whyface(monkeypatch, capsys, *command, "--check", "toy", "--check", "nan", "--json")
    made = json.loads(text)
    assert [(one["check"], one["photo"], one["found"] is None) for one in made["checks"]] == [
        *(("toy", "A", False), ("nan", "A", True)),
        *(("toy", "B", False), ("nan", "B", True)),
    ]
    schema = json.loads((resources.files("whyface") / "assets/schemas/explanation-2.json").read_text(encoding="utf-8"))
    jsonschema.validate(made, schema)
    _, text, _ = run_whyface(monkeypatch, capsys, *command, "--json")
    assert "checks" not in json.loads(text)
    assert_refused(monkeypatch, capsys, "did you mean 'toy'?", *command, "--check", "toyy")


def test_packages_offer_checks_and_a_broken_one_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Point:
        def __init__(self, name: str, made: Any) -> None:
            self.name, self.made = name, made

        def load(self) -> Any:
            if isinstance(self.made, Exception):
                raise self.made
            return self.made

    offered = Check("offered", "from a package", brightness)
    points = [Point("offered", offered), Point("bad", ImportError("no torch")), Point("odd", "not a check")]
    monkeypatch.setattr(
        "whyface.explain.registry.entry_points", lambda group: points if group == "whyface.checks" else []
    )
    monkeypatch.setattr(CHECKS, "_asked", False)
    try:
        assert find_checks(["offered"]) == [offered]
        with pytest.raises(InputError, match="cannot be loaded: ImportError: no torch"):
            find_checks(["bad"])
        with pytest.raises(InputError, match="not a Check with a unique name"):
            find_checks(["odd"])
    finally:
        CHECKS.unregister("offered")
        CHECKS._broken.clear()


def test_bad_input(verifier: Verifier) -> None:
    with pytest.raises(InputError, match="there is no check 'liveness'"):
        verifier(*PHOTOS, checks=("liveness",))
    with pytest.raises(InputError, match="already"):
        register_check(Check("toy", "again", brightness))
    with pytest.raises(InputError, match="registered by a Check"):
        register_check("toy")  # type: ignore[arg-type]
    stream = io.BytesIO(Path(PHOTOS[0]).read_bytes())
    with pytest.raises(InputError, match="whole photo"):
        verifier(stream, PHOTOS[1], checks=("toy",))

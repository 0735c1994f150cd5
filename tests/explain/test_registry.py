"""Methods of others: registered in Python, or offered by an installed package to all commands and figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from helpers.command_line import Ended, in_process
from helpers.face_folders import write_faces
from whyface.demo import demo_photo
from whyface.errors import InputError, ModelError
from whyface.explain.method_table import MethodEntry
from whyface.explain.methods import open_method
from whyface.explain.pair_method import PairMaps, PairMethod
from whyface.explain.registry import (
    GROUP,
    METHODS,
    EntryRegistry,
    method_entry,
    options_of,
    parse_specs,
    register_method,
)
from whyface.models.catalogue import FAST_MODEL
from whyface.models.embedder import Batch
from whyface.verification import Verifier

PLUG_IN = '''
import numpy as np
from whyface.explain.method_table import MethodEntry
from whyface.explain.pair_method import PairMaps, PairMethod

class LeftMethod(PairMethod):
    """Everything speaks on the left."""

    name = "left-half"

    def maps(self, first, second):
        a, b = self.embedder.embed(first), self.embedder.embed(second)
        maps = np.zeros((len(first), 7, 7), np.float32)
        maps[:, :, :3] = 1
        return PairMaps((a * b).sum(axis=1).astype(np.float32), maps, maps.copy(), forward=2)

ENTRY = MethodEntry("left-half", "Left half", "left_half:LeftMethod", "any embedder", "density", "nobody",
                    "says left", "Blue is on the left.")
'''


class OnesMethod(PairMethod):
    """Every place counts alike."""

    name = "ones"

    def maps(self, first: Batch, second: Batch) -> PairMaps:
        scores = (self.embedder.embed(first) * self.embedder.embed(second)).sum(axis=1).astype(np.float32)
        ones = np.ones((len(first), 7, 7), np.float32)
        return PairMaps(scores, ones, ones.copy(), forward=2)


@pytest.fixture
def ones() -> Iterator[MethodEntry]:
    entry = register_method(OnesMethod, unit="density")
    yield entry
    METHODS.unregister("ones")


def test_a_registered_class_opens_like_any_other(ones: MethodEntry) -> None:
    assert ones.summary == "Every place counts alike."
    assert METHODS["ones"] is ones
    verifier = Verifier()
    result = verifier(demo_photo("obama-portrait.jpg"), demo_photo("obama-speech.jpg"))
    found = open_method("ones", verifier.method)((result.face_a, result.face_b))
    assert found.method == "ones"
    assert found.map_a is not None
    assert found.map_a.sum() == 49


def test_a_name_is_taken_once(ones: MethodEntry) -> None:
    with pytest.raises(InputError, match="already"):
        register_method(OnesMethod)
    with pytest.raises(InputError, match="already"):
        register_method(MethodEntry("xface", "Mine", OnesMethod, "any embedder", "density", "", "", ""))


@pytest.mark.parametrize("wrong", [3, "xface"])
def test_what_is_no_method_is_refused(wrong: object) -> None:
    with pytest.raises(InputError, match="MethodEntry"):
        register_method(wrong)  # type: ignore[arg-type]


def test_a_class_without_a_name_is_refused() -> None:
    class Nameless(PairMethod):
        pass

    with pytest.raises(InputError, match="has no name"):
        register_method(Nameless)


def test_a_name_that_no_command_line_takes_is_refused() -> None:
    registry = EntryRegistry(MethodEntry, GROUP, "method")
    with pytest.raises(InputError, match="made of a-z"):
        registry.register(MethodEntry("a, b", "", OnesMethod, "any embedder", "density", "", "", ""))


def test_a_factory_that_is_not_installed_is_told() -> None:
    entry = MethodEntry("away", "", "no_such_package_at_all:Thing", "any embedder", "density", "", "", "")
    with pytest.raises(ModelError, match="no_such_package_at_all, which is not installed"):
        entry.load()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install a tiny package with one method, and one whose import fails, as files that pip would leave."""
    site = tmp_path_factory.mktemp("site")
    (site / "left_half.py").write_text(PLUG_IN)
    (site / "bad_plug.py").write_text("raise RuntimeError('no licence')\n")
    for package, points in (("left_half", "left-half = left_half:ENTRY"), ("bad_plug", "bad-plug = bad_plug:ENTRY")):
        info = site / f"{package}-0.1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.1\n")
        (info / "entry_points.txt").write_text(f"[whyface.methods]\n{points}\n")
    return site


@pytest.fixture
def run(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Ended]]:
    """Run a command where the packages are installed, as if nobody had asked for the methods before."""
    monkeypatch.syspath_prepend(site)
    for name, value in (("_asked", False), ("_entries", dict(METHODS)), ("_broken", {})):
        monkeypatch.setattr(METHODS, name, value)
    yield partial(in_process, monkeypatch, capsys)
    sys.modules.pop("left_half", None)


def test_an_installed_method_explains_and_is_drawn(run: Callable[..., Ended], tmp_path: Path) -> None:
    photos = [str(demo_photo("obama-portrait.jpg")), str(demo_photo("obama-speech.jpg"))]
    figure = tmp_path / "why.png"
    found = run("explain", *photos, "--method", "left-half", "--figure", str(figure), "--json")
    assert found.returncode == 0, found.stderr
    (explanation,) = json.loads(found.stdout)["explanations"]
    assert explanation["method"] == "left-half"
    assert figure.stat().st_size > 10_000


def test_a_new_process_lists_an_installed_method(site: Path) -> None:
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "whyface", "explain", "--list"]
    environment = {**os.environ, "PYTHONPATH": path}
    listed = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert "left-half" in listed.stdout


def test_an_installed_method_enters_the_bench(run: Callable[..., Ended], tmp_path: Path) -> None:
    faces = write_faces(tmp_path / "faces", dict.fromkeys("abcd", 2))
    lines = [f"{p}/0.png {p}/1.png 1" for p in "abcd"] + [f"a/0.png {q}/1.png 0" for q in "bcd"] + ["b/0.png c/1.png 0"]
    (tmp_path / "pairs.txt").write_text("\n".join(lines))
    arguments = ["--data", str(faces), "--protocol", f"pairs:{tmp_path / 'pairs.txt'}", "--out", str(tmp_path / "out")]
    arguments += ["--pairs", "8", "--replicates", "100", "--tests", "erasure", "--method", "left-half,random"]
    arguments += ["--model", FAST_MODEL]
    found = run("benchmark", *arguments)
    assert found.returncode == 0, found.stderr
    assert set(json.loads((tmp_path / "out" / "summary.json").read_text())["methods"]) == {"left-half", "random"}


def test_a_package_that_fails_is_named_and_the_others_work(run: Callable[..., Ended]) -> None:
    photos = [str(demo_photo("obama-portrait.jpg")), str(demo_photo("obama-speech.jpg"))]
    found = run("explain", *photos, "--method", "bad-plug")
    assert found.returncode == 2
    assert "no licence" in found.stderr
    assert "Traceback" not in found.stderr


def test_unknown_names_still_point_to_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'xface'"):
        method_entry("xfaec")


def test_options_on_the_command_line() -> None:
    text = "xface:pairing=both:stride=7:shape=circle:fill=0:patch_sizes=7+28:smooth=false, xcos ,corrrise:masks=40,xcos"
    assert parse_specs(text) == [
        (
            text.partition(",")[0],
            "xface",
            {"pairing": "both", "stride": 7, "shape": "circle", "fill": 0.0, "patch_sizes": (7, 28), "smooth": False},
        ),
        ("xcos", "xcos", {}),
        ("corrrise:masks=40", "corrrise", {"masks": 40}),
    ]


def test_every_option_on_the_command_line_is_one_of_its_class() -> None:
    pytest.importorskip("torch", reason="needs the extra torch")
    for entry in METHODS.values():
        for name, default in options_of(entry).items():
            assert name not in {"embedder", "score", "comparison", "threshold", "reference", "progress"}
            assert default is None or isinstance(default, bool | int | float | str | tuple)
    assert options_of(METHODS["xssab"]) == {"kind": "combined"}
    assert {"pairing", "fill", "shape", "stride"} <= set(options_of(METHODS["xface"]))
    assert {"preset", "masks", "fill"} <= set(options_of(METHODS["corrrise"]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("xface:colour=red", "has no option 'colour'; it has pairing"),
        ("xface:stride", "has no option 'stride'"),
        ("xface:stride=x", "'x' does not fit"),
        ("xface:smooth=maybe", "'maybe' does not fit"),
        ("xface:patch_sizes=7+x", "does not fit"),
        ("centre:sigma=nan", "does not fit"),
        ("cells:x=1", "it has none"),
        ("xfacee:stride=1", "did you mean 'xface'"),
        (" , ", "no method given"),
    ],
)
def test_bad_options_are_refused_in_a_line(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_specs(text)

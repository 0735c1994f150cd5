"""The benchmark command on a few made-up faces: results on disk, resumed to the same numbers, mistakes in a line."""

import json
from pathlib import Path
from typing import Protocol

import pytest

from helpers.command_line import Ended, in_process
from helpers.face_folders import write_faces
from helpers.tiny_networks import write_tiny
from whyface.models.catalogue import FAST_MODEL


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_faces(tmp_path_factory.mktemp("bench") / "faces", dict.fromkeys("abcdef", 2))
    people = "abcdef"
    lines = [f"{p}/0.png {p}/1.png 1" for p in people]
    lines += [f"{p}/0.png {q}/1.png 0" for p, q in zip(people, people[1:] + people[0], strict=True)]
    (root.parent / "pairs.txt").write_text("\n".join(lines), encoding="utf-8")
    return root


class Run(Protocol):
    def __call__(self, faces: Path, out: Path, *arguments: str) -> Ended: ...


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(faces: Path, out: Path, *arguments: str) -> Ended:
        options = ["--protocol", f"pairs:{faces.parent / 'pairs.txt'}", "--out", str(out), "--pairs", "8"]
        if "--model" not in arguments:
            options += ["--model", FAST_MODEL]
        if "--others" not in arguments:
            options += ["--others", "0"]
        options += ["--replicates", "100", *arguments]
        return in_process(monkeypatch, capsys, "benchmark", "--data", str(faces), *options)

    return call


def test_a_run_and_its_resumption(run: Run, faces: Path, tmp_path: Path) -> None:
    chosen = ("--method", "xcos,random", "--tests", "erasure,replacement", "--pairs", "4")
    found = run(faces, tmp_path / "out", *chosen)
    assert found.returncode == 0, found.stderr
    document = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert set(document["methods"]) == {"xcos", "random"}
    assert {"deletion", "insertion", "replacement"} <= set(document["methods"]["xcos"]["merits"])
    assert document["settings"]["seed"] == 0
    assert (tmp_path / "out" / "merits.png").stat().st_size > 10_000
    next((tmp_path / "out" / "xcos").glob("part-*.parquet")).unlink()
    again = run(faces, tmp_path / "out", *chosen)
    assert again.returncode == 0
    repeated = json.loads((tmp_path / "out" / "summary.json").read_text())
    for name in ("deletion", "insertion", "replacement"):
        assert repeated["methods"]["xcos"]["merits"][name] == document["methods"]["xcos"]["merits"][name]
    other = run(faces, tmp_path / "out", *chosen, "--seed", "1")
    assert other.returncode == 2
    assert "other settings" in other.stderr


def test_maps_of_other_pairs_and_of_another_model_are_put_in_place(run: Run, faces: Path, tmp_path: Path) -> None:
    chosen = ("--method", "xcos,centre", "--tests", "erasure", "--others", "4", "--pairs", "4")
    found = run(faces, tmp_path / "out", *chosen, "--other-model", FAST_MODEL)
    assert found.returncode == 0, found.stderr
    document = json.loads((tmp_path / "out" / "summary.json").read_text())
    merits = document["methods"]["centre"]["merits"]
    assert merits["deletion specific"]["value"] == merits["insertion specific"]["value"] == 0
    assert document["methods"]["xcos"]["merits"]["deletion over network"]["value"] == 0
    assert document["settings"]["threshold"]["from"] == "equal error on 8 other pairs"
    assert "deletion specific" in document["methods"]["xcos"]["less another on the same pairs"]["centre"]
    assert "Deletion, specific" in (tmp_path / "out" / "leaderboard.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--tests", "truth"), "unknown test 'truth'"),
        (("--method", "xcoss"), "did you mean 'xcos'"),
        (("--method", "kernelshap:trial=3"), "has no option 'trial'"),
        (("--pairs", "50"), "genuine pairs, not 25"),
    ],
)
def test_mistakes(run: Run, faces: Path, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    found = run(faces, tmp_path / "out", *arguments)
    assert found.returncode == 2
    assert message in found.stderr
    assert found.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_method_that_does_not_fit_leaves_no_folder(run: Run, faces: Path, tmp_path: Path) -> None:
    found = run(faces, tmp_path / "out", "--method", "random,places")
    assert found.returncode == 2
    assert "compared by xCos" in found.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_of_other_things_is_refused(run: Run, faces: Path) -> None:
    before = sorted(faces.rglob("*"))
    done = run(faces, faces, "--method", "centre", "--tests", "erasure")
    assert done.returncode == 2
    assert "holds other things than results of a benchmark" in done.stderr
    assert sorted(faces.rglob("*")) == before


def test_the_first_pairs_are_measured_with_all_methods_and_the_rest_later(
    run: Run, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whyface.bench.run.CHUNK", 2)
    chosen = ("--method", "centre,random", "--tests", "pointing")
    merits = {}
    for name, first in (("whole", ()), ("halves", ("--first", "3")), ("halves", ("--first", "8"))):
        found = run(faces, tmp_path / name, *chosen, *first)
        assert found.returncode == 0, found.stderr
        document = json.loads((tmp_path / name / "summary.json").read_text())
        counts = {label: method["pairs"] for label, method in document["methods"].items()}
        # Whole chunks of two are measured.
        assert counts == dict.fromkeys(("centre", "random"), 4 if "3" in first else 8)
        assert document["settings"]["pairs"] == (4 if "3" in first else 8)
        merits[name] = document["methods"]["random"]["merits"]["overlap"]
    assert merits["whole"] == merits["halves"]
    again = run(faces, tmp_path / "whole", *chosen, "--first", "4")
    assert again.returncode == 0
    assert json.loads((tmp_path / "whole" / "summary.json").read_text())["methods"]["random"]["pairs"] == 4


def test_the_threshold_is_kept_for_the_same_pairs_only(run: Run, faces: Path, tmp_path: Path) -> None:
    chosen = ("--method", "centre", "--tests", "pointing")
    assert run(faces, tmp_path / "out", *chosen).returncode == 0
    kept = tmp_path / "out" / "threshold.json"
    right = json.loads(kept.read_text())
    for text in ("{", json.dumps({**right, "threshold": 0.75, "of": "other pairs"}), "[]"):
        kept.write_text(text)
        assert run(faces, tmp_path / "out", *chosen).returncode == 0
        assert json.loads(kept.read_text()) == right
    kept.write_text(json.dumps({**right, "threshold": 0.75}))
    used = run(faces, tmp_path / "out", *chosen)
    assert used.returncode == 2
    assert "other settings" in used.stderr


def test_an_empty_pair_list(run: Run, faces: Path, tmp_path: Path) -> None:
    (tmp_path / "none.txt").write_text("", encoding="utf-8")
    found = run(faces, tmp_path / "out", "--protocol", f"pairs:{tmp_path / 'none.txt'}")
    assert found.returncode == 2
    assert "none.txt: empty" in found.stderr
    assert not (tmp_path / "out").exists()


def test_an_own_network_with_a_reference(run: Run, faces: Path, tmp_path: Path) -> None:
    network = write_tiny(tmp_path / "tiny.onnx", offset=2)
    chosen = ("--model", str(network), "--grid", "map", "--unchecked", "--tests", "replacement", "--effort", "light")
    found = run(faces, tmp_path / "out", *chosen, "--method", "places,random", "--reference", str(faces))
    assert found.returncode == 0, found.stderr
    document = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert set(document["methods"]) == {"places", "random"}
    without = run(faces, tmp_path / "without", *chosen, "--method", "places")
    assert without.returncode == 2
    assert "--reference FOLDER" in without.stderr


def test_light_effort_is_recorded_and_slow_methods_take_the_first_pairs(run: Run, faces: Path, tmp_path: Path) -> None:
    chosen = (
        "--method",
        "kernelshap:trials=40,random",
        "--tests",
        "replacement",
        "--effort",
        "light",
        "--slow-pairs",
        "2",
    )
    found = run(faces, tmp_path / "out", *chosen)
    assert found.returncode == 0, found.stderr
    document = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert document["methods"]["kernelshap trials=40"]["pairs"] == 2
    assert document["methods"]["random"]["pairs"] == 8
    assert document["settings"]["options"]["kernelshap trials=40"] == {"trials": 40}

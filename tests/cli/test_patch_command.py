"""``whyface patch``: the five steps of the published repository by name, on a few made-up faces."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.command_line import assert_refused, run_whyface
from helpers.face_folders import write_faces
from whyface.commands.patch import parse_shares
from whyface.errors import InputError


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_faces(tmp_path_factory.mktemp("patch") / "faces", dict.fromkeys("abcd", 2))
    lines = [f"{p}/0.png {p}/1.png 1" for p in "abcd"]
    lines += [f"{p}/0.png {q}/1.png 0" for p, q in zip("abcd", "bcda", strict=True)]
    (root.parent / "pairs.txt").write_text("\n".join(lines), encoding="utf-8")
    return root


def test_create_evaluate_replace_plot(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], faces: Path, tmp_path: Path
) -> None:
    def run(*arguments: str) -> str:
        code, out, err = run_whyface(monkeypatch, capsys, "patch", *arguments)
        assert (code, err) == (0, "")
        return out

    made = str(tmp_path / "set")
    protocol = ("--protocol", f"pairs:{faces.parent / 'pairs.txt'}")
    assert "6 pairs" in run("create", str(faces), made, *protocol, "--pairs", "6", "--seed", "3")
    rates = json.loads(run("evaluate", made, "--json", "--threads", "1"))
    assert (rates["pairs"], set(rates["clean"])) == (6, {"FMR", "FNMR"})
    assert "patched" in run("evaluate", made, "--threshold", "0.4", "--threads", "1")
    files = []
    for name, more in (("best", ["--method", "xcos"]), ("random", ["--strategy", "random"])):
        files.append(str(tmp_path / f"{name}.json"))
        assert "50 %" in run("replace", made, files[-1], "--share", "0.5,0.9", "--threads", "1", *more)
    curves = [json.loads(Path(file).read_text()) for file in files]
    assert [curve["strategy"] for curve in curves] == ["best_worst", "random"]
    # Both begin with the same patched pairs, at the threshold of equal errors on the clean ones.
    assert curves[0]["fmr"][0] == curves[1]["fmr"][0] == rates["patched"]["FMR"]
    assert curves[0]["threshold"] == pytest.approx(rates["threshold"])
    run("plot", *files, "--figure", str(tmp_path / "x.png"))
    assert (tmp_path / "x.png").stat().st_size > 5000


def test_mistakes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], faces: Path, tmp_path: Path
) -> None:
    refused = [
        ("patch create", ["evaluate", str(faces)]),
        ("already exists", ["create", str(faces), str(faces), "--protocol", f"pairs:{faces.parent / 'pairs.txt'}"]),
        ("cannot be read", ["plot", str(tmp_path / "no.json"), "--figure", str(tmp_path / "x.png")]),
        ("does not exist", ["plot", str(tmp_path / "no.json"), "--figure", str(tmp_path / "no" / "x.png")]),
    ]
    for message, arguments in refused:
        assert_refused(monkeypatch, capsys, message, "patch", *arguments)


@pytest.mark.parametrize("share", ["0.5,0.2", "x", "0", "1", "0.5,0.5", "nan", ""])
def test_shares_that_do_not_rise(share: str) -> None:
    with pytest.raises(InputError, match="shares must"):
        parse_shares(share)

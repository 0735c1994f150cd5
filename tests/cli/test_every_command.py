"""What holds for every command: it takes a device, shows progress, and bad input leaves no folder of results behind."""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from helpers.command_line import assert_refused, run_whyface
from whyface.cli import app
from whyface.demo import demo_photo
from whyface.models.catalogue import FAST_MODEL

ON_THE_CPU = {
    **dict.fromkeys(("models", "page", "mask", "patch create", "patch plot"), "runs no network"),
    **dict.fromkeys(("album merge", "album split", "album rename"), "runs no network"),
    **dict.fromkeys(
        ("gallery index", "gallery remove", "gallery repair", "gallery info", "gallery copy"), "no network"
    ),
    **dict.fromkeys(("leaderboard", "words auc", "words top5"), "reads results"),
    **dict.fromkeys(("export", "import"), "converts a network and tries it on a few faces"),
    "demo": "shows two photos",
    "detect": "runs the face detector alone, which is for the CPU",
    "train": "its configuration has accelerator",
}
QUICK = {
    **dict.fromkeys(("models", "leaderboard", "page", "words auc", "words top5", "patch plot"), "writes small files"),
    **dict.fromkeys(("demo", "verify", "check", "explain", "serve"), "two photos, or none"),
    **dict.fromkeys(("album merge", "album split", "album rename", "album why"), "notes one change"),
    **dict.fromkeys(("gallery remove", "gallery repair"), "one file"),
    **dict.fromkeys(("export", "import"), "one network"),
}


def commands() -> Iterator[tuple[str, Any]]:
    def walk(group: Any, name: str) -> Iterator[tuple[str, Any]]:
        for part, inner in group.commands.items():
            whole = f"{name} {part}".strip()
            if hasattr(inner, "commands"):
                yield from walk(inner, whole)
            else:
                yield whole, inner

    return walk(typer.main.get_command(app), "")


COMMANDS = dict(commands())


def test_every_command_that_opens_a_network_takes_a_device() -> None:
    without = {
        name for name, one in COMMANDS.items() if not any("--device" in parameter.opts for parameter in one.params)
    }
    assert without == ON_THE_CPU.keys()


def test_every_command_that_takes_long_shows_progress() -> None:
    silent = set()
    for name, one in COMMANDS.items():
        module = inspect.getmodule(inspect.unwrap(one.callback))
        assert module is not None
        if "progress_bar(" not in inspect.getsource(module):
            silent.add(name)
    assert silent <= QUICK.keys()


BAD: dict[str, Callable[[str, str], list[str]]] = {
    "evaluate": lambda bad, out: ["--protocol", "pairs:" + bad, "--data", bad, "--out", out],
    "audit": lambda bad, out: [bad, "--by", "group", "--out", out],
    "test": lambda bad, out: [bad, "--out", out],
    "detect": lambda bad, out: [bad, "--out", out],
    "represent": lambda bad, out: [bad, "--out", out + ".npy"],
    "analyse": lambda bad, out: [bad, "--out", out],
    "cluster": lambda bad, out: [bad, "--out", out],
    "train": lambda bad, out: [bad, "--out", out],
    "export": lambda bad, out: [bad, "--out", out],
    "import": lambda bad, out: ["xcos", bad, "--out", out],
    "benchmark": lambda bad, out: ["--data", bad, "--out", out],
    "leaderboard": lambda bad, out: [bad, "--out", out],
    "fit-explainer": lambda bad, out: ["--data", bad, "--out", out],
    "batch": lambda bad, out: [bad, "--out", out + ".csv"],
    "uncertainty": lambda bad, out: [bad, out, "--gallery", bad],
    "mask": lambda bad, out: [bad, out, "--coverage", "0.3"],
    "page": lambda bad, out: [out, "--runtime", bad],
    "gallery enroll": lambda bad, out: [out, bad],
    "patch create": lambda bad, out: [bad, out],
    "patch replace": lambda bad, out: [bad, out],
    "words batch": lambda bad, out: [bad, out],
    "words top5": lambda bad, out: [bad, out],
}
HARMLESS = {"demo": "has no input"}


def test_every_command_with_a_place_for_results_is_tried() -> None:
    places = {
        name
        for name, one in COMMANDS.items()
        if any(parameter.name == "out" or "--out" in parameter.opts for parameter in one.params)
    }
    assert places | {"gallery enroll"} == BAD.keys() | HARMLESS.keys()


@pytest.mark.parametrize("kind", ["missing", "empty folder", "text"])
@pytest.mark.parametrize("name", BAD)
def test_bad_input_leaves_nothing_behind(
    name: str, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    bad = tmp_path / "input"
    if kind == "empty folder":
        bad.mkdir()
    elif kind == "text":
        bad.write_text("nothing of use\n")
    before = sorted(tmp_path.rglob("*"))
    code, _, err = run_whyface(monkeypatch, capsys, *name.split(), *BAD[name](str(bad), str(tmp_path / "out")))
    assert code in (1, 2), err
    assert sorted(tmp_path.rglob("*")) == before
    assert "Traceback" not in err
    # The system's reason, without its number and a second time the path.
    assert "[Errno" not in err


FIGURES = {
    "verify": ["no.jpg", "no.jpg"],
    "explain": ["no.jpg", "no.jpg"],
    "words pair": ["no.jpg", "no.jpg"],
    "identify": ["no.jpg", "--gallery", "no"],
    "watch": ["no.mp4", "--gallery", "no"],
    "patch plot": ["no.json"],
}


def test_every_command_that_draws_is_tried() -> None:
    assert {name for name, one in COMMANDS.items() if any("--figure" in part.opts for part in one.params)} == set(
        FIGURES
    )


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_of_an_unknown_kind_is_refused_before_the_work(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    figure = ("--figure", str(tmp_path / "why.txt"))
    assert_refused(monkeypatch, capsys, "cannot write figures as .txt", *name.split(), *FIGURES[name], *figure)


@pytest.mark.parametrize("name", ["analyse", "cluster", "gallery sync", "test"])
def test_the_device_reaches_the_network(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "ann").mkdir()
    shutil.copy(demo_photo("obama-portrait.jpg"), tmp_path / "ann")
    if name == "gallery sync":
        assert not run_whyface(
            monkeypatch, capsys, "gallery", "enroll", str(tmp_path / "g"), str(tmp_path), "--model", FAST_MODEL
        )[0]
    (tmp_path / "suite.yaml").write_text(f"models: [{FAST_MODEL}]\nprotocols: [{{protocol: lfw, data: .}}]\n")
    arguments = {
        "analyse": [str(tmp_path)],
        "cluster": [str(tmp_path / "ann"), "--out", str(tmp_path / "album")],
        "gallery sync": [str(tmp_path / "g"), str(tmp_path)],
        "test": [str(tmp_path / "suite.yaml")],
    }[name]
    assert_refused(monkeypatch, capsys, "NoSuchProvider", *name.split(), *arguments, "--device", "NoSuchProvider")

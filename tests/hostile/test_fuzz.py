"""A few hundred spoilt files of every kind; ``make fuzz`` tries more of them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs the extra test")
pytest.importorskip("pyarrow", reason="needs the extra evaluate")
pytest.importorskip("pydantic", reason="needs the extra train")

from hostile.fuzz import Watch, fuzz
from hostile.samples import KINDS
from whyface.errors import DataError


def test_300_inputs() -> None:
    """To see one again: python -m hostile.fuzz --kinds KIND --one NUMBER --keep FOLDER."""
    report = fuzz(300, seed=0)
    assert report["found"] == []
    assert sum(kind["done"] for kind in report["kinds"].values()) == 300
    assert set(report["kinds"]) == set(KINDS)
    # Not all of what is spoilt is refused, nor read.
    assert sum(kind["results"] for kind in report["kinds"].values()) > 15
    assert sum(kind["refused"] for kind in report["kinds"].values()) > 100


@pytest.mark.parametrize("name", KINDS)
def test_whole_samples_are_read(tmp_path: Path, name: str) -> None:
    """Spoilt ones would be refused for the wrong reason otherwise."""
    for number, files in enumerate(KINDS[name].samples()):
        for inner, data in files.items():
            path = tmp_path / str(number) / inner
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        KINDS[name].read(tmp_path / str(number))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("home", "tmp", "input"):
        (tmp_path / name).mkdir()
    return tmp_path


def fail(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    ("problem", "step"),
    [
        ("KeyError", lambda _: fail(KeyError("x"))),
        ("not one line", lambda _: fail(DataError("two\nlines"))),
        ("printed: 'out", lambda _: print("out")),
        ("printed: 'err", lambda _: print("err", file=sys.stderr)),
        ("TooSlow", lambda _: [None for _ in iter(lambda: 0, 1)]),
        ("wrote", lambda root: (root / "home" / "x").write_text("")),
        ("wrote", lambda root: (root / "tmp" / "x").mkdir()),
        ("MiB", lambda _: np.ones(2**28, np.uint8)),
    ],
)
def test_what_breaks_the_rule_is_found(
    root: Path, capfd: pytest.CaptureFixture[str], problem: str, step: Callable[[Path], object]
) -> None:
    watch = Watch(root, memory=2**28 if problem == "MiB" else 2**40, seconds=1 if problem == "TooSlow" else 60)
    # It catches output itself.
    with capfd.disabled():
        found = watch(lambda: step(root))[0]
    assert problem in found


def test_what_keeps_the_rule_is_not(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    watch = Watch(root)
    with capfd.disabled():
        assert watch(lambda: fail(DataError("one line")))[:2] == ("", True)
        assert watch(lambda: (root / "input" / "x").write_text(""))[:2] == ("", False)
        assert watch.command(["verify", "no.jpg", "such.jpg"])[:2] == ("", True)


def test_commands_that_break_the_rule_are_found(
    root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    watch = Watch(root)
    monkeypatch.setattr("whyface.cli.main", lambda: sys.exit("two\nlines"))
    with capfd.disabled():
        assert "exit status two" in watch.command(["x"])[0]
    monkeypatch.setattr("whyface.cli.main", lambda: (print("a\nb", file=sys.stderr), sys.exit(2)))
    with capfd.disabled():
        assert "standard error 'a\\nb\\n'" in watch.command(["x"])[0]

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from whyface.errors import OutputError
from whyface.figures.style import save_figure


def figure() -> Figure:
    made = Figure(figsize=(2, 1), dpi=100)
    made.text(0.5, 0.5, "whyface")
    return made


@pytest.mark.parametrize(("name", "start"), [("a.png", b"\x89PNG"), ("a.PDF", b"%PDF"), ("a.svg", b"<?xml")])
def test_the_extension_chooses_the_format(tmp_path: Path, name: str, start: bytes) -> None:
    path = save_figure(figure(), tmp_path / name)
    assert path.read_bytes().startswith(start)
    assert [found.name for found in tmp_path.iterdir()] == [name]


def test_size_follows_the_figure_or_dpi(tmp_path: Path) -> None:
    assert Image.open(save_figure(figure(), tmp_path / "a.png")).size == (200, 100)
    assert Image.open(save_figure(figure(), tmp_path / "b.png", dpi=200)).size == (400, 200)


def test_the_same_figure_gives_the_same_bytes(tmp_path: Path) -> None:
    for suffix in ("png", "pdf"):
        one, two = (save_figure(figure(), tmp_path / f"{name}.{suffix}").read_bytes() for name in "ab")
        assert one == two


def test_an_existing_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("old")
    assert np.asarray(Image.open(save_figure(figure(), str(path)))).shape == (100, 200, 4)


@pytest.mark.parametrize("name", ["a.jpg", "a", ".png", "missing/a.png", "folder.png"])
def test_what_cannot_be_written_leaves_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.png").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OutputError) as caught:
        save_figure(figure(), tmp_path / name)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_failing_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_text("old")

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OutputError, match="No space left on device"):
        save_figure(figure(), path)
    assert path.read_text() == "old"
    assert [found.name for found in tmp_path.iterdir()] == ["a.png"]


def test_the_text_of_an_svg_stays_text(tmp_path: Path) -> None:
    one = save_figure(figure(), tmp_path / "a.svg").read_bytes()
    assert b">whyface</text>" in one
    assert b"Verdana, sans-serif" in one
    assert one == save_figure(figure(), tmp_path / "b.svg").read_bytes()


def test_the_settings_of_other_figures_stay() -> None:
    from matplotlib import rcParams

    before = dict(rcParams)
    save_figure(figure(), io.BytesIO(), kind="svg")
    assert dict(rcParams) == before


@pytest.mark.parametrize(("kind", "start"), [(None, b"\x89PNG"), ("pdf", b"%PDF"), ("SVG", b"<?xml")])
def test_an_open_file_is_written_to(kind: str | None, start: bytes) -> None:
    target = io.BytesIO()
    assert save_figure(figure(), target, kind=kind) is target
    assert target.getvalue().startswith(start)
    with pytest.raises(OutputError, match="cannot write figures as .bmp"):
        save_figure(figure(), io.BytesIO(), kind="bmp")

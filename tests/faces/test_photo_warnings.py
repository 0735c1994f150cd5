"""Reading photos leaves Python's warning filters alone, whichever thread reads; the command line prints no warnings."""

from __future__ import annotations

import ast
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from whyface.errors import PhotoError
from whyface.faces.photo import read_photo

SOURCES = Path(__file__).resolve().parents[2] / "src"


def odd_metadata(path: Path) -> Path:
    """Write a whole picture with EXIF data that are cut off, which Pillow warns about."""
    exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x02\x01\x0e\0\x02\0\0\0\x20\0\0\x10\0\x01\x12\0\x03\0\0\0\x01\0\x01\0\0"
    Image.fromarray(np.full((112, 112, 3), 128, np.uint8)).save(path, exif=exif)
    return path


def test_threads_that_overlap_leave_no_filter_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.png")
    real = Image.open
    first_is_in, second_is_in, first_is_out = (threading.Event() for _ in range(3))

    def slow(*given: Any, **options: Any) -> Any:
        if threading.current_thread().name == "first":
            first_is_in.set()
            assert second_is_in.wait(10)
        else:
            second_is_in.set()
            assert first_is_out.wait(10)
        return real(*given, **options)

    monkeypatch.setattr(Image, "open", slow)
    before = list(warnings.filters)
    first = threading.Thread(target=read_photo, args=(tmp_path / "a.png",), name="first")
    second = threading.Thread(target=read_photo, args=(tmp_path / "a.png",), name="second")
    first.start()
    assert first_is_in.wait(10)
    second.start()
    first.join(10)
    first_is_out.set()
    second.join(10)
    assert not first.is_alive() and not second.is_alive()
    assert list(warnings.filters) == before


def test_only_the_command_line_sets_filters() -> None:
    setters = {"catch_warnings", "simplefilter", "filterwarnings", "resetwarnings", "captureWarnings"}
    found = {
        path.relative_to(SOURCES / "whyface").as_posix()
        for path in SOURCES.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in setters
    }
    assert found == {"cli.py"}


def test_warnings_go_where_the_programs_filters_send_them(tmp_path: Path) -> None:
    path = odd_metadata(tmp_path / "a.jpg")
    with pytest.warns(UserWarning, match="Truncated"):
        assert read_photo(path).shape == (112, 112, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(PhotoError, match="Truncated"):
            read_photo(path)


def test_the_command_line_prints_no_warnings(tmp_path: Path) -> None:
    path = str(odd_metadata(tmp_path / "a.jpg"))
    for options, speaks in ((), False), (("-W", "default"), True):
        done = subprocess.run(
            [sys.executable, *options, "-m", "whyface", "verify", path, path, "--aligned", "--accept-poor"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert ("Truncated" in done.stderr) == speaks
        assert speaks or not done.stderr

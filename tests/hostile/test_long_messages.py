"""No message repeats more than 200 characters of what a user gave, whatever the class of the error."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.command_line import run_whyface
from helpers.tiny_networks import write_tiny
from whyface import OnnxEmbedder, Verifier, errors, load_face, open_method, verify
from whyface.batch.pair_source import open_pair_source
from whyface.errors import LONGEST_DATA, LONGEST_MESSAGE, WhyfaceError, shortened
from whyface.faces.face import Face
from whyface.faces.pictures import FolderPictures, decode_aligned
from whyface.files.integrity import check_digest, write_atomic
from whyface.models.catalogue import model_entry

MARK = "§"
LONG = MARK * 20_000


def deep(folder: Path) -> Path:
    """A folder whose path is as long as the system lets it be."""
    for _ in range(12):
        folder = folder / (MARK * 120)
    folder.mkdir(parents=True)
    return folder


def blank_file(folder: Path, content: bytes = b"") -> Path:
    path = deep(folder) / "a.jpg"
    path.write_bytes(content)
    return path


def long_table(folder: Path) -> Path:
    path = folder / "pairs.csv"
    path.write_text(f"a,b,{LONG},{LONG}\nx,y,1,2\n", encoding="utf-8")
    return path


def no_face(folder: Path) -> Face:
    from PIL import Image

    path = deep(folder) / "a.png"
    Image.new("RGB", (50, 50)).save(path)
    return load_face(path)


CASES: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "a path": ("PhotoError", lambda _: load_face(LONG)),
    "a path object": ("PhotoError", lambda _: load_face(Path(LONG))),
    "a path with spaces": ("PhotoError", lambda _: load_face(f"{MARK} " * 9000)),
    "an empty file": ("PhotoError", lambda folder: load_face(blank_file(folder))),
    "a broken file": ("PhotoError", lambda folder: load_face(blank_file(folder, b"x"))),
    "bytes": ("PhotoError", lambda _: load_face(LONG.encode())),
    "a data URI": ("PhotoError", lambda _: load_face("data:image/png;base64," + LONG)),
    "an odd data URI": ("InputError", lambda _: load_face("data:" + LONG)),
    "a URL": ("InputError", lambda _: load_face("https://" + LONG)),
    "a list": ("InputError", lambda _: load_face([LONG])),  # type: ignore[arg-type]
    "an array of text": ("InputError", lambda _: load_face(np.array([LONG]))),
    "no face": ("FaceError", no_face),
    "no such face": ("FaceError", lambda folder: load_face(blank_file(folder), aligned=True, index=3)),
    "a model": ("ModelError", lambda _: model_entry(LONG)),
    "a model's path": ("ModelError", lambda _: Verifier(f"/{LONG}.onnx", threshold=0.5)),
    "a tensor": ("ModelError", lambda folder: OnnxEmbedder(write_tiny(folder / "n.onnx"), grid=LONG)),
    "an attention": ("ModelError", lambda _: verify("a", "b", attention=LONG)),  # type: ignore[arg-type]
    "a method": ("InputError", lambda _: open_method(LONG, Verifier().method)),
    "a digest": ("ModelIntegrityError", lambda folder: check_digest("0" * 64, LONG, deep(folder))),
    "a table": ("DataError", lambda folder: open_pair_source(long_table(folder))),
    "a folder": ("DataError", lambda _: FolderPictures(LONG[:100])),
    "a picture's name": ("DataError", lambda _: decode_aligned(b"x", LONG)),
    "a result": ("OutputError", lambda folder: write_atomic(folder / "no" / LONG[:100] / LONG[:100], b"x")),
}


@pytest.mark.parametrize("case", sorted(CASES))
def test_messages_are_short(case: str, tmp_path: Path) -> None:
    name, call = CASES[case]
    with pytest.raises(WhyfaceError) as caught:
        call(tmp_path)
    assert type(caught.value).__name__ == name
    assert str(caught.value).count(MARK) <= LONGEST_DATA
    assert len(str(caught.value)) <= LONGEST_MESSAGE


def test_every_class_is_tried() -> None:
    """A new class of errors belongs into the table above."""
    classes = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, WhyfaceError)}
    assert classes - {"WhyfaceError"} == {name for name, _ in CASES.values()}


@pytest.mark.parametrize("kind", WhyfaceError.__subclasses__())
def test_every_class_shortens(kind: type[WhyfaceError]) -> None:
    error = kind(f"{LONG}: wrong; do that")
    assert str(error).count(MARK) <= LONGEST_DATA
    assert str(error).endswith("wrong; do that")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind and str(again) == str(error)
    assert len(str(kind("word " * 5000))) <= LONGEST_MESSAGE
    assert str(kind("short: stays as it is")) == "short: stays as it is"


def test_shortened() -> None:
    assert shortened("a" * 200) == "a" * 200
    cut = shortened("a" * 100 + "b" * 100 + "c" * 100)
    assert len(cut) == 200 and cut.startswith("a" * 100) and " ... " in cut and cut.endswith("c" * 60)


@pytest.mark.parametrize(
    "arguments",
    [
        ("verify", LONG, LONG),
        ("verify", "a.jpg", "b.jpg", "--model", LONG),
        ("verify", "a.jpg", "b.jpg", "--threshold", LONG),
        ("verify", "a.jpg", "b.jpg", "--pixels", LONG),
        (LONG,),
        ("explain", "a.jpg", "b.jpg", "--method", LONG),
        ("words", "a.jpg", "b.jpg", "--attribute", LONG),
        ("gallery", "search", LONG, "a.jpg"),
        ("identify", "a.jpg", "--gallery", LONG),
        ("batch", LONG, "--out", "r.csv"),
        ("batch", ".", "--out", LONG),
        ("evaluate", "--protocol", LONG),
        ("evaluate", "--protocol", "pairs:" + LONG),
        ("train", LONG),
        ("export", LONG, "--out", "x"),
    ],
)
def test_the_command_line_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run_whyface(monkeypatch, capsys, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.count(MARK) <= LONGEST_DATA

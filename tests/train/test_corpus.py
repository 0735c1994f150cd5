"""Training pictures by person, from made-up folders."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from corpus import Corpus, load_corpus, sample_batch
from whyface.errors import DataError
from whyface.train.corpus import bundle_singles, people_left_out


def picture(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((112, 112, 3), value, np.uint8)).save(path)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for person in range(1, 6):
        for side, count in (("frontal", 10), ("profile", 4)):
            for number in range(1, count + 1):
                picture(tmp_path / f"cfp/Images/{person:03}/{side}/{number:02}.png", 10 * person)
    for name, count in (("Ann", 3), ("Barack_Obama", 2), ("Carl", 1)):
        for number in range(count):
            picture(tmp_path / f"glint/glint24/{name}/{number}.png", 200)
    (tmp_path / "cfp-root").mkdir()
    (tmp_path / "cfp").rename(tmp_path / "cfp-root/cfp")
    return tmp_path / "cfp-root", tmp_path / "glint"


def load(
    folders: tuple[Path, Path], left_out: frozenset[str] = frozenset(), held_out: int = 2
) -> tuple[Corpus, Corpus]:
    return load_corpus(*folders, left_out, held_out=held_out, seed=0)


def test_held_out_people_are_nowhere_else(folders: tuple[Path, Path]) -> None:
    train, held_out = load(folders)
    assert train.people == 3 + 3
    assert held_out.people == 2
    # Each CFP person has a grey level of their own.
    seen, kept = (set(corpus.pictures[:, 0, 0, 0].tolist()) for corpus in (train, held_out))
    assert not seen & kept
    assert len(held_out.pictures) == 2 * 10, "frontal pictures only"


def test_people_left_out_are_left_out(folders: tuple[Path, Path]) -> None:
    train, _ = load(folders, frozenset({"cfp/001", "glint/Ann", "glint/Barack_Obama"}), held_out=0)
    assert train.people == 4 + 1
    assert 10 not in train.pictures[:, 0, 0, 0].tolist()
    assert train.summary() == f"{4 * 14 + 1} pictures of 5 people"


def test_labels_fit_rows(folders: tuple[Path, Path]) -> None:
    train, _ = load(folders)
    for label, rows in enumerate(train.rows):
        assert (train.labels[rows] == label).all()
    assert sum(len(rows) for rows in train.rows) == len(train.pictures)


def test_batches_repeat_with_a_seed_and_serve_people_with_one_picture(folders: tuple[Path, Path]) -> None:
    train, _ = load(folders)
    one, two = (sample_batch(train, 6, 4, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one[0], two[0])
    assert one[0].shape == (24, 3, 112, 112)
    assert len(set(one[1].tolist())) == 6
    assert (one[1].view(6, 4) == one[1].view(6, 4)[:, :1]).all()


def test_nobody_left_is_an_error(folders: tuple[Path, Path]) -> None:
    everybody = frozenset({f"cfp/{p:03}" for p in range(1, 6)} | {"glint/Ann", "glint/Barack_Obama", "glint/Carl"})
    with pytest.raises(DataError, match="no training pictures"):
        load(folders, everybody, held_out=0)


def test_report_of_people_to_leave_out(tmp_path: Path) -> None:
    report = tmp_path / "overlap.json"
    report.write_text(json.dumps({"cfp": [{"person": "007"}], "glint24": [{"person": "Ann"}]}))
    assert people_left_out(report) == {"cfp/007", "glint/Ann", "glint/Barack_Obama"}


@pytest.mark.parametrize("text", [None, "{", "[]", '{"cfp": [{"name": "007"}], "glint24": []}'])
def test_report_that_is_none(tmp_path: Path, text: str | None) -> None:
    report = tmp_path / "overlap.json"
    if text is not None:
        report.write_text(text)
    with pytest.raises(DataError, match=r"lfw_overlap\.py"):
        people_left_out(report)


def test_people_with_one_picture_are_drawn_in_groups() -> None:
    rows = (torch.tensor([0, 1]), torch.tensor([2]), torch.tensor([3]), torch.tensor([4, 5]), torch.tensor([6]))
    groups = [part.tolist() for part in bundle_singles(rows, 2)]
    assert groups == [[0, 1], [4, 5], [2, 3], [6]]
    assert bundle_singles(rows[:1], 2) == rows[:1]

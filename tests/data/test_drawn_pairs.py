"""Pairs drawn from a list of pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

from whyface.data.drawn_pairs import draw_pairs, read_names
from whyface.errors import DataError


def test_who_is_in_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "ar.txt"
    path.write_text("# AR\nm-001-14.bmp\nw-001-14.bmp\nann/1.png\nx.png\tBob Ray\n")
    assert read_names(path) == {
        "m-001-14.bmp": "m-001",
        "w-001-14.bmp": "w-001",
        "ann/1.png": "ann",
        "x.png": "Bob Ray",
    }
    for text, message in (("x.png\n", "after a tab"), ("a/1.png\na/1.png\n", "twice")):
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            read_names(path)


def test_different_pairs_of_both_kinds_by_the_seed() -> None:
    people = {f"{person}/{k}.png": person for person in "abcdef" for k in range(4)}
    drawn = draw_pairs(people, name="ar", folds=5, pairs=30, seed=1)
    assert int(drawn.genuine.sum()) == 30
    assert len(drawn.genuine) == 60
    pairs = {frozenset(pair) for pair in zip(drawn.left.tolist(), drawn.right.tolist(), strict=True)}
    assert len(pairs) == 60
    assert all(len(pair) == 2 for pair in pairs)
    assert ((drawn.people_left == drawn.people_right) == drawn.genuine).all()
    assert {int(drawn.genuine[drawn.fold == fold].sum()) for fold in range(5)} == {6}
    again, other = (draw_pairs(people, name="ar", folds=5, pairs=30, seed=seed) for seed in (1, 2))
    assert again.pictures == drawn.pictures
    assert (other.pictures, other.left.tolist()) != (drawn.pictures, drawn.left.tolist())
    # 6 x 6 genuine pairs are all that there are.
    assert int(draw_pairs(people, name="ar", folds=5).genuine.sum()) == 36
    with pytest.raises(DataError, match="too few"):
        draw_pairs({"a/1.png": "a", "b/1.png": "b"}, name="ar", folds=2)

"""Every protocol by its name, with the options that fit it."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from helpers.picture_files import encoded, flat, shared_data, write_tree
from whyface.data.open_protocol import ProtocolName, open_any_protocol, open_protocol, parse_protocol
from whyface.data.pair_lists import read_lfw_pairs
from whyface.data.protocols import build_protocol
from whyface.errors import DataError, InputError
from whyface.evaluate.scoring import embed_all, pair_scores
from whyface.faces.pictures import TarPictures
from whyface.models.catalogue import open_embedder


@pytest.fixture
def bin_file(tmp_path: Path) -> ProtocolName:
    pictures = [flat((level, 10, 20)) for level in (0, 1, 0, 9, 5, 6, 5, 9)]
    (tmp_path / "toy.bin").write_bytes(pickle.dumps((pictures, [True, False, True, False])))
    return parse_protocol(f"bin:{tmp_path / 'toy.bin'}")


@pytest.fixture
def videos(tmp_path: Path) -> tuple[ProtocolName, Path]:
    names = [f"{person}/{video}/{frame}.png" for person in "ab" for video in "01" for frame in range(3)]
    (tmp_path / "splits.txt").write_text("head\n1,a/0,a/1,1\n1,a/0,b/0,0\n2,b/0,b/1,1\n2,a/1,b/1,0\n")
    return parse_protocol(f"ytf:{tmp_path / 'splits.txt'}"), write_tree(tmp_path / "v", dict.fromkeys(names, flat(9)))


def test_bin_holds_its_own_pictures(bin_file: ProtocolName) -> None:
    with open_any_protocol(bin_file, None, folds=2) as opened:
        assert (opened.pairs.name, opened.data, opened.sets) == ("toy", "toy.bin", None)
        assert opened.pairs.fold.tolist() == [0, 0, 1, 1]
        assert opened.source.read(opened.pictures[0]).shape == (112, 112, 3)
        assert opened.describe() == {"contradicting_labels": 0}


def test_videos(videos: tuple[ProtocolName, Path]) -> None:
    name, data = videos
    with open_any_protocol(name, data, frames=2) as opened:
        assert opened.pairs.name == "ytf"
        assert opened.describe() == {"pictures": 8, "sets": 4}
        assert opened.pictures[:2] == ("a/0/0.png", "a/0/2.png")
        fewer = opened.without({"a/0/0.png": "no face found", "a/1/0.png": "no face", "a/1/2.png": "no face"})
    assert fewer.pairs.genuine.tolist() == [False, True]
    assert fewer.describe()["pairs_left_out"] == {"genuine": 1, "impostor": 1}
    assert fewer.describe()["sets"] == 3
    assert list(fewer.details["failures"]) == ["a/0/0.png", "a/1/0.png", "a/1/2.png"]


def test_options_that_do_not_fit(bin_file: ProtocolName, videos: tuple[ProtocolName, Path], tmp_path: Path) -> None:
    name, data = videos
    for arguments, options, message in (
        ((bin_file, tmp_path), {}, "leave out --data"),
        ((bin_file, None), {"align": True}, "--data and --align"),
        ((bin_file, None), {"pairs": tmp_path}, "leave out --pairs"),
        ((bin_file, None), {"frames": 3}, "leave out --frames"),
        ((bin_file, None), {"folds": 1}, "single fold"),
        ((name, data), {"pairs": tmp_path}, "leave out --pairs"),
        ((name, None), {}, "--data"),
        ((ProtocolName("lfw"), None), {}, "--data"),
        ((ProtocolName("lfw"), data), {"align_cache": tmp_path}, "add --align"),
    ):
        with pytest.raises(InputError, match=message):
            open_any_protocol(*arguments, **options)
    with pytest.raises(DataError, match="no such folder"):
        open_any_protocol(name, tmp_path / "nothing")


def test_a_video_list_of_one_split_is_refused(videos: tuple[ProtocolName, Path], tmp_path: Path) -> None:
    (tmp_path / "splits.txt").write_text("1,a/0,a/1,1\n1,a/0,b/0,0\n")
    with pytest.raises(InputError, match="single fold"):
        open_any_protocol(*videos)


def test_too_few_faces_leave_no_folds(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = {
        f"{p}/{k}.png": encoded(rng.integers(0, 256, (112, 112, 3)).astype(np.uint8)) for p in "ab" for k in "01"
    }
    data = write_tree(tmp_path / "p", pictures)
    (tmp_path / "pairs.txt").write_text("a/0.png a/1.png 1\na/0.png b/0.png 0\nb/0.png b/1.png 1\na/1.png b/1.png 0\n")
    with open_any_protocol(parse_protocol(f"pairs:{tmp_path / 'pairs.txt'}"), data, folds=2) as opened:
        with pytest.raises(InputError, match="single fold"):
            opened.without({"b/1.png": "no face found"})
        with pytest.raises(DataError, match="no pair with two usable pictures is left"):
            opened.without({"a/0.png": "no face found", "b/1.png": "no face found"})


@pytest.mark.parametrize("count", [60, pytest.param(300, marks=pytest.mark.slow)])
def test_a_bin_made_of_lfw_gives_the_scores_of_lfw(tmp_path: Path, count: int) -> None:
    """Pairs of LFW's first fold as an insightface file, and by LFW's own protocol."""
    whole = read_lfw_pairs(shared_data("lfw-pairs.txt"))
    rows = [
        (whole.pictures[left], whole.pictures[right], bool(same), 0)
        for left, right, same in zip(whole.left[:600], whole.right[:600], whole.genuine[:600], strict=True)
    ]
    rows = rows[:count] + rows[300 : 300 + count]
    lfw = build_protocol("lfw", rows, dict(zip(whole.pictures, whole.people, strict=True)))
    embedder = open_embedder("xcos-mobilefacenet", threads=1)
    with TarPictures(shared_data("lfw-aligned-112.tar")) as source:
        expected = pair_scores(embed_all(embedder, source, lfw.pictures), lfw.left, lfw.right)
        encoded_pairs = [source.read_bytes(name) for row in rows for name in row[:2]]
    (tmp_path / "lfw.bin").write_bytes(pickle.dumps((encoded_pairs, [row[2] for row in rows]), protocol=2))
    with open_any_protocol(parse_protocol(f"bin:{tmp_path / 'lfw.bin'}"), None) as opened:
        pairs = opened.pairs
        assert pairs.genuine.tolist() == lfw.genuine.tolist()
        assert opened.details["contradicting_labels"] == 0
        found = pair_scores(embed_all(embedder, opened.source, pairs.pictures), pairs.left, pairs.right)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_missing_pair_file_is_told_with_the_options_that_name_it(tmp_path: Path) -> None:
    write_tree(tmp_path / "faces", {"a/0.png": flat((1, 2, 3))})
    with pytest.raises(DataError, match=r"\(evaluate --pairs, benchmark --pair-file\)"):
        open_protocol(parse_protocol("lfw"), tmp_path / "faces")

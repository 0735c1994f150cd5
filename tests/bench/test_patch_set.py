"""A patched protocol on disk: the bench's own patches and curve, files as published, one figure of several curves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.toy_bench import FlatMethod, Pictures, PixelModel, ProductMethod, chunk_of, subject_of
from whyface.bench.base import Subject
from whyface.bench.patch_set import (
    PatchCurve,
    evaluate_patches,
    read_patch_set,
    replacement_curve,
    write_patch_set,
)
from whyface.bench.planted import STEPS, ReplacementTest, patched_faces
from whyface.data.pair_lists import read_pair_list
from whyface.errors import DataError, InputError, OutputError
from whyface.figures.bench import patch_figure

NUMBERS = [0, 1, 2, 6, 7, 8]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("patches") / "set"
    pictures = Pictures()
    write_patch_set(path, pictures.protocol(), pictures, np.asarray(NUMBERS), seed=5)
    return path


def test_pictures_are_those_of_the_bench(folder: Path) -> None:
    chunk = chunk_of(Pictures(), NUMBERS, seed=5)
    patched, masks = patched_faces(chunk)
    known = read_patch_set(folder)
    ((found, faces),) = known.chunks()
    assert np.array_equal(found.first, chunk.first)
    assert np.array_equal(found.second, chunk.second)
    assert np.array_equal(faces, patched)
    assert found.genuine.tolist() == chunk.genuine.tolist()
    for pair, mask in zip(known.pairs, masks, strict=True):
        drawn = np.zeros((112, 112), bool)
        for top, left in pair.corners:
            drawn[top : top + 16, left : left + 16] = True
        assert len(pair.corners) == 27
        assert np.array_equal(drawn, mask)


def test_the_source_of_every_patch_is_named(folder: Path) -> None:
    pictures = Pictures()
    protocol = pictures.protocol()
    known = read_patch_set(folder)
    ((_, faces),) = known.chunks()
    for pair, face in zip(known.pairs, faces, strict=True):
        top, left = pair.corners[-1]
        window = (slice(top, top + 16), slice(left, left + 16))
        assert np.array_equal(face.transpose(1, 2, 0)[window], pictures.read(pair.source)[window])
        people = {protocol.people[side[pair.number]] for side in (protocol.left, protocol.right)}
        assert (pair.source.split("/")[0] in people) != pair.genuine


def test_the_curve_is_that_of_the_bench(folder: Path) -> None:
    subject = subject_of()
    chunk = chunk_of(Pictures(), NUMBERS, seed=5)
    (rows, *_) = ReplacementTest().run(chunk, subject, subject.method.maps)
    found = replacement_curve(read_patch_set(folder), subject, subject.method.maps)
    np.testing.assert_allclose(found, rows.value.reshape(len(NUMBERS), len(STEPS)))


def test_lists_as_published(folder: Path) -> None:
    protocol = read_pair_list(folder / "pairs.txt", folds=1)
    assert protocol.genuine.tolist() == [True] * 3 + [False] * 3
    assert sorted(p.name for p in (folder / "clean").iterdir()) == sorted(f"{n}.png" for n in range(12))
    assert sorted(p.name for p in (folder / "patched").iterdir()) == sorted(f"{n}.png" for n in range(12))
    (line, *_) = (folder / "patch_idx_imp.txt").read_text().splitlines()
    ids, rows, columns = line.split("\t")
    assert ids == "6, 7"
    assert len(json.loads(rows)) == len(json.loads(columns)) == 27
    assert len((folder / "patch_idx_gen.txt").read_text().splitlines()[0].split("\t")[0].split(", ")) == 3
    clean, patched = (np.asarray(Image.open(folder / name / "7.png")) for name in ("clean", "patched"))
    assert np.array_equal(clean, patched)


def test_rates(folder: Path) -> None:
    found = evaluate_patches(read_patch_set(folder), PixelModel())
    assert found.clean == {"FMR": 0.0, "FNMR": 0.0}
    # A stranger's patches lower genuine scores, and the other face's raise those of impostors.
    strict = evaluate_patches(read_patch_set(folder), PixelModel(), 2.0)
    assert (strict.clean, strict.patched) == ({"FMR": 0.0, "FNMR": 1.0}, {"FMR": 0.0, "FNMR": 1.0})
    lenient = evaluate_patches(read_patch_set(folder), PixelModel(), -2.0)
    assert lenient.patched == {"FMR": 1.0, "FNMR": 0.0}


def test_replaced_pictures_are_kept(folder: Path, tmp_path: Path) -> None:
    subject = subject_of()
    replacement_curve(read_patch_set(folder), subject, subject.method.maps, (0.05, 0.9), pictures=tmp_path / "kept")
    assert sorted(p.name for p in (tmp_path / "kept").iterdir()) == ["5_percent", "90_percent"]
    clean = np.asarray(Image.open(folder / "clean" / "0.png"))
    patched, few, most = (
        np.asarray(Image.open(path / "0.png"))
        for path in (folder / "patched", tmp_path / "kept" / "5_percent", tmp_path / "kept" / "90_percent")
    )
    wrong = [(one != clean).any(axis=2).mean() for one in (patched, few, most)]
    assert wrong[0] > wrong[1] > wrong[2]
    assert wrong[2] <= 0.1 + 1 / 112**2


def curve(folder: Path, subject: Subject, strategy: str = "best_worst") -> PatchCurve:
    known = read_patch_set(folder)
    scores = replacement_curve(known, subject, subject.method.maps, (0.2, 0.5))
    return PatchCurve.of(known, subject, "random" if strategy == "random" else "best_worst", (0.2, 0.5), scores)


def test_a_curve_comes_back_from_its_file(folder: Path, tmp_path: Path) -> None:
    found = curve(folder, subject_of())
    assert found.shares == (0.0, 0.2, 0.5)
    assert 0 <= found.area <= 1
    (tmp_path / "x.json").write_text(json.dumps(found.to_dict()))
    assert PatchCurve.read(tmp_path / "x.json") == found


def test_one_figure_of_several_curves(folder: Path) -> None:
    pytest.importorskip("matplotlib")
    curves = [curve(folder, subject_of(kind)) for kind in (ProductMethod, FlatMethod)]
    drawn = patch_figure([*curves, curve(folder, subject_of(FlatMethod), "random")])
    panels = {axes.get_label(): axes for axes in drawn.axes}
    assert set(panels) == {"FMR", "FNMR"}
    for name, axes in panels.items():
        labels = [line.get_label() for line in axes.lines]
        assert labels == ["product", "flat", "random, pixels"]
        shown = np.asarray(axes.lines[0].get_ydata())
        np.testing.assert_allclose(shown, 100 * np.array(curves[0].fmr if name == "FMR" else curves[0].fnmr))
    with pytest.raises(InputError, match="1 to"):
        patch_figure([])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "x"}, "schema"),
        ({"pairs": [{"number": -1}]}, "lacks 'files'"),
        ({"pairs": []}, "needs genuine and impostor"),
        ({"seed": "x"}, "whole number"),
    ],
)
def test_bad_records_are_refused(folder: Path, tmp_path: Path, change: dict[str, object], message: str) -> None:
    document = json.loads((folder / "patches.json").read_text()) | change
    (tmp_path / "patches.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match=message):
        read_patch_set(tmp_path)


def test_files_outside_are_not_read(folder: Path, tmp_path: Path) -> None:
    document = json.loads((folder / "patches.json").read_text())
    document["pairs"][0]["files"][0] = "../../secret.png"
    (tmp_path / "patches.json").write_text(json.dumps(document))
    with pytest.raises(DataError):
        list(read_patch_set(tmp_path).chunks())


def test_a_missing_set_and_a_taken_name(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="patch create"):
        read_patch_set(tmp_path)
    with pytest.raises(OutputError, match="already exists"):
        write_patch_set(folder, Pictures().protocol(), Pictures(), np.arange(2))


@pytest.mark.parametrize("rows", [{"shares": [0, 0]}, {"fmr": [0, 1]}, {"fnmr": "x"}, {"schema": 1}, {"model": 2}])
def test_bad_curves_are_refused(folder: Path, tmp_path: Path, rows: dict[str, object]) -> None:
    (tmp_path / "x.json").write_text(json.dumps(curve(folder, subject_of()).to_dict() | rows))
    with pytest.raises(DataError, match="patch replace"):
        PatchCurve.read(tmp_path / "x.json")

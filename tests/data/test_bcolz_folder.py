"""The xCos authors' verification sets: written as bcolz does, read back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from whyface.data.bcolz_folder import read_bcolz
from whyface.data.open_protocol import open_any_protocol, parse_protocol
from whyface.errors import DataError, InputError

blosc = pytest.importorskip("blosc")
GENUINE = np.array([True, False, True, False])


def faces() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (8, 112, 112, 3), np.uint8)


def write(folder: Path, kind: str = "float64", rows: int = 3) -> Path:
    values = faces()[..., ::-1].transpose(0, 3, 1, 2).astype(kind) / 255 * 2 - 1
    for part in ("data", "meta"):
        (folder / part).mkdir(parents=True)
    for number, start in enumerate(range(0, 8, rows)):
        chunk = np.ascontiguousarray(values[start : start + rows]).tobytes()
        header = b"blpk" + bytes([1, 0, 0, 0]) + (1).to_bytes(8, "little")
        (folder / "data" / f"__{number}.blp").write_bytes(header + blosc.compress(chunk, typesize=8))
    (folder / "meta" / "sizes").write_text(json.dumps({"shape": values.shape, "nbytes": 1, "cbytes": 1}))
    (folder / "meta" / "storage").write_text(json.dumps({"dtype": kind, "chunklen": rows}))
    np.save(folder.with_name(f"{folder.name}_list.npy"), GENUINE)
    return folder


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_pictures_are_rgb_again_and_pairs_in_order(tmp_path: Path, kind: str) -> None:
    with open_any_protocol(parse_protocol(f"bcolz:{write(tmp_path / 'lfw', kind)}"), None, folds=2) as opened:
        names = opened.source.names()
        np.testing.assert_array_equal(np.stack([opened.source.read(name) for name in names]), faces())
        assert opened.pairs.genuine.tolist() == GENUINE.tolist()
        assert opened.pairs.fold.tolist() == [0, 0, 1, 1]
        assert [opened.pairs.pictures[k] for k in opened.pairs.left] == list(names[::2])


def test_damaged_sets_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "lfw")
    chunk = folder / "data" / "__1.blp"
    whole = chunk.read_bytes()
    huge = whole[:20] + (2**31 - 8).to_bytes(4, "little") + whole[24:]
    for damaged in (b"", whole[:-1], b"x" + whole[1:], huge):
        chunk.write_bytes(damaged)
        with pytest.raises(DataError):
            read_bcolz(folder)
    chunk.unlink()
    with pytest.raises(DataError, match="__1"):
        read_bcolz(folder)
    (folder / "meta" / "sizes").write_text('{"shape": [8, 3, 96, 112]}')
    with pytest.raises(DataError, match="does not hold"):
        read_bcolz(folder)
    (folder / "meta" / "storage").write_text('{"dtype": "int8"}')
    with pytest.raises(DataError, match="float"):
        read_bcolz(folder)
    np.save(tmp_path / "lfw_list.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(DataError, match="no list of labels"):
        read_bcolz(folder)
    with pytest.raises(InputError, match="leave out"):
        open_any_protocol(parse_protocol(f"bcolz:{folder}"), tmp_path)

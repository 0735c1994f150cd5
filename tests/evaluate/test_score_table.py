"""Parquet tables of scores: what goes in comes out, and what is none is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from whyface.data.protocols import PairProtocol, build_protocol
from whyface.errors import DataError, InputError, OutputError
from whyface.evaluate.report import read_scores, write_scores
from whyface.files.parts import require_pyarrow

pytest.importorskip("pyarrow", reason="needs pyarrow (the extra evaluate)")


@pytest.fixture
def protocol() -> PairProtocol:
    pairs = [("ä/1.jpg", "ä/2.jpg", True, 0), ("ä/1.jpg", "b/1.jpg", False, 1)]
    return build_protocol("tiny", pairs, {"ä/1.jpg": "ä", "ä/2.jpg": "ä", "b/1.jpg": "b"})


def test_round_trip(protocol: PairProtocol, tmp_path: Path) -> None:
    path = tmp_path / "fold=1" / "scores.parquet"
    path.parent.mkdir()
    scores = {"u": np.array([0.9, 0.1]), "l": np.array([0.8, 1 / 3])}
    write_scores(path, protocol, scores, {"seed": 7, "model": {"name": "é"}})
    columns, metadata = read_scores(path)
    assert metadata == {"seed": 7, "model": {"name": "é"}}
    assert list(columns) == ["left", "right", "person_left", "person_right", "genuine", "fold", "score_u", "score_l"]
    assert columns["right"].tolist() == ["ä/2.jpg", "b/1.jpg"]
    assert columns["person_right"].tolist() == ["ä", "b"]
    assert columns["genuine"].tolist() == [True, False]
    assert columns["fold"].tolist() == [0, 1]
    assert columns["score_l"].tolist() == [0.8, 1 / 3]


def test_the_same_scores_give_the_same_bytes(protocol: PairProtocol, tmp_path: Path) -> None:
    paths = tmp_path / "a.parquet", tmp_path / "b.parquet"
    for path in paths:
        write_scores(path, protocol, {"u": np.array([0.9, 0.1])}, {})
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("content", [b"", b"PAR1 no table", None])
def test_other_files_are_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "scores.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match="not a table of scores"):
        read_scores(path)


def test_tables_of_others_are_refused(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "scores.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"x": [1]}), path)
    with pytest.raises(DataError, match="not a table of scores"):
        read_scores(path)


def test_a_damaged_name_of_a_column(protocol: PairProtocol, tmp_path: Path) -> None:
    """It ended in a UnicodeDecodeError."""
    path = tmp_path / "scores.parquet"
    write_scores(path, protocol, {"u": np.array([0.9, 0.1])}, {})
    path.write_bytes(path.read_bytes().replace(b"person_left", b"person\xffleft"))
    with pytest.raises(DataError, match="not a table of scores"):
        read_scores(path)


def test_nowhere_to_write(protocol: PairProtocol, tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        write_scores(tmp_path / "no" / "scores.parquet", protocol, {"u": np.array([0.9, 0.1])}, {})


def test_without_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"pip install 'whyface\[evaluate\]'"):
        require_pyarrow()

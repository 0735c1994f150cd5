"""The page of the bench: its figures are drawn from the same summaries as its tables."""

import json
from pathlib import Path

import numpy as np
import pytest

from studies.bench.page import main, read_summaries
from studies.occlusion.report import END
from whyface.bench.summary import Curve, Merit, MethodSummary, summary_document
from whyface.evaluate.intervals import Interval

STEPS = np.array([0.0, 0.5, 1.0])


def summary(value: float) -> MethodSummary:
    return MethodSummary(
        merits={"replacement": Merit(value, Interval(value - 0.1, value + 0.1)), "processor": Merit(0.25)},
        curves={"replacement": Curve(STEPS, np.array([0.5, 0.25, 0.0]), np.array([1.0, 0.5, value]))},
        rates={"FNMR clean": 0.125},
        randomisation=((0.5, 0.75), (1.0, 0.25)),
        pairs=8,
    )


def document() -> dict[str, object]:
    settings = {"model": {"name": "net"}, "protocol": "lfw", "pairs": 8}
    return summary_document(settings, {"xcos": summary(0.25), "random": summary(0.5)})


def test_summaries_come_back_from_json() -> None:
    found = read_summaries(json.loads(json.dumps(document())))
    assert list(found) == ["xcos", "random"]
    for name, value in (("xcos", 0.25), ("random", 0.5)):
        expected = summary(value)
        assert found[name].merits == expected.merits
        assert found[name].rates == expected.rates
        assert found[name].randomisation == expected.randomisation
        assert found[name].pairs == expected.pairs
        curve = found[name].curves["replacement"]
        rows = np.stack([curve.steps, curve.genuine, curve.impostor])
        assert np.array_equal(rows, [[0, 0.5, 1], [0.5, 0.25, 0], [1, 0.5, value]])


def test_writes_table_and_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page, source = tmp_path / "page.md", tmp_path / "net-summary.json"
    page.write_text(f"# Bench\n<!-- results: written by studies/bench/page.py -->\n{END}\n", encoding="utf-8")
    source.write_text(json.dumps(document()), encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["page", str(page), str(source)])
    main()
    assert "| xcos | 8 | **25.0 (15.0 to 35.0)** |" in page.read_text(encoding="utf-8")
    for name in ("net-merits.png", "net-curves.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")

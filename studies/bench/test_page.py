"""The page of the bench: tables in the right order, exact zeros, and what is certain from the same summaries."""

import json
from pathlib import Path
from typing import Any

import pytest

from studies.bench.page import kept, main, section
from studies.occlusion.report import END
from whyface.bench.summary import Merit, MethodSummary, summary_document
from whyface.evaluate.intervals import Interval


def summary(gain: float, *, is_control: bool = False) -> MethodSummary:
    width = 0.0 if is_control else 0.1
    merits = {
        "replacement specific": Merit(gain, Interval(gain - width, gain + width)),
        "replacement": Merit(0.25, Interval(0.2, 0.3)),
        "pointing information": Merit(0.5),
        "forward": Merit(2.0),
        "backward": Merit(4.0),
    }
    return MethodSummary(merits=merits, curves={}, rates={}, randomisation=((1.0, 0.25),), pairs=8)


def document() -> dict[str, Any]:
    settings = {"model": {"name": "net"}, "protocol": "lfw", "pairs": 8, "tests": ["replacement", "partner"]}
    methods = {"random": summary(0.0, is_control=True), "ebp": summary(0.25), "xcos": summary(0.5)}
    certain = {"replacement specific": Merit(0.25, Interval(0.125, 0.375))}
    less = {"xcos": {"ebp": certain, "random": certain}, "ebp": {}, "random": {}}
    return summary_document(settings, methods, less)


def test_the_best_leads_controls_come_last_and_zeros_are_exact() -> None:
    lines = section(document()).splitlines()
    assert lines[0] == "### net, LFW: undoing and finding patches"
    rows = [line for line in lines if line.startswith("| ") and "method" not in line]
    assert [row.split(" | ")[0] for row in rows] == ["| xcos", "| ebp", "| random"]
    assert rows[0] == "| xcos | 8 | 2 + 4 | **50.0 (40.0 to 60.0)** | 25.0 (20.0 to 30.0) | 0.50 |"
    assert "| 0 exactly |" in rows[2]


def test_what_is_certain_is_said_in_words() -> None:
    said = [line for line in section(document()).splitlines() if line.startswith("- *undoing, specific*")]
    assert said == ["- *undoing, specific*: Best: xcos, better than random and ebp."]


def test_the_page_is_written_from_small_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page, source = tmp_path / "page.md", tmp_path / "lfw-net" / "summary.json"
    source.parent.mkdir()
    page.write_text(f"# Bench\n<!-- results: written by studies/bench/page.py -->\n{END}\n", encoding="utf-8")
    source.write_text(json.dumps(document()), encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["page", str(page), str(source), "--keep", str(tmp_path / "kept")])
    main()
    written = page.read_text(encoding="utf-8")
    copy = tmp_path / "kept" / "lfw-net.json"
    assert section(json.loads(copy.read_text(encoding="utf-8"))) in written
    assert "curves" not in copy.read_text(encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["page", str(page), str(copy)])
    main()
    assert page.read_text(encoding="utf-8") == written


def test_a_copy_leaves_out_differences_of_what_no_table_shows() -> None:
    found = document()
    found["methods"]["xcos"]["less another on the same pairs"]["ebp"]["seconds"] = {"value": 1.0, "interval": None}
    assert set(kept(found)["methods"]["xcos"]["less another on the same pairs"]["ebp"]) == {"replacement specific"}

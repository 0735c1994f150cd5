"""The leaderboard: who is called better than whom follows from the intervals, and the page holds what it says."""

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.command_line import in_process
from whyface.bench.leaderboard import compare_all, in_words, leaderboard_page, read_summary, section_names
from whyface.errors import DataError


def merit(value: float, low: float, high: float) -> dict[str, Any]:
    return {"value": value, "interval": [low, high]}


def document() -> dict[str, Any]:
    less = {
        "xface": {"corrrise": {"deletion": merit(-0.1, -0.2, -0.01)}, "centre": {"deletion": merit(-0.1, -0.2, 0.01)}},
        "corrrise": {},
        "centre": {},
    }
    values = {"xface": 0.5, "corrrise": 0.6, "centre": 0.4}
    return {
        "settings": {"model": {"name": "net <1>"}, "protocol": "lfw", "pairs": 20},
        "agreement of the fills, Kendall's W": {"deletion": 0.75},
        "methods": {
            name: {
                "pairs": 20,
                "merits": {"deletion": merit(value, value - 0.1, value + 0.1)},
                "less another on the same pairs": less[name],
            }
            for name, value in values.items()
        },
    }


def test_only_an_interval_without_zero_makes_another_worse() -> None:
    found = compare_all(document()["methods"], "deletion")
    assert found is not None
    assert (found.best, found.worse, found.even) == ("xface", ("corrrise",), ("centre",))
    assert in_words(found) == "Best: xface, better than corrrise. centre is not certainly worse on these pairs."
    assert compare_all(document()["methods"], "insertion") is None


def test_the_page_holds_every_method_and_escapes_names() -> None:
    page = leaderboard_page({"net <1>": document()})
    assert "net &lt;1&gt;" in page
    assert "net <1>" not in page
    assert page.count("<tr") == 1 + 3
    assert '<tr class="control"><th>centre' in page
    assert "better than corrrise" in page
    assert "deletion 0.75" in page


def test_runs_of_one_network_all_stay_on_the_page() -> None:
    """Two tests on two sets are four sections; the fourth took the third's place."""
    kinds = [
        (protocol, tests) for protocol in ("lfw", "cfp-fp") for tests in (["pointing", "partner"], ["replacement"])
    ]
    found: list[tuple[str, dict[str, Any]]] = [
        ("net", {**document(), "settings": {"protocol": one, "tests": tests}}) for one, tests in kinds
    ]
    names = section_names(found)
    assert names[0] == "net, LFW, pointing, partner"
    assert names[3] == "net, CFP-FP, replacement"
    assert len(set(names)) == 4
    assert section_names([*found[:1], ("other", found[1][1])]) == ["net", "other"]
    assert section_names([found[0], found[2]]) == ["net, LFW", "net, CFP-FP"]
    assert section_names([found[0], found[0]])[1] == "net, LFW, pointing, partner (2)"


def test_the_command_joins_results_and_refuses_what_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "summary.json").write_text(json.dumps(document()), encoding="utf-8")
    out = tmp_path / "board.html"
    folders = [str(tmp_path / name) for name in ("one", "two")]
    done = in_process(monkeypatch, capsys, "leaderboard", *folders, "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert out.read_text(encoding="utf-8").count("<h2>") == 2
    (tmp_path / "one" / "summary.json").write_text('{"settings": {}}', encoding="utf-8")
    refused = in_process(monkeypatch, capsys, "leaderboard", folders[0], "--out", str(out))
    assert refused.returncode == 2
    assert "no summary of whyface benchmark" in refused.stderr
    assert refused.stderr.count("\n") == 1
    with pytest.raises(DataError, match="cannot be read"):
        read_summary(tmp_path / "none")

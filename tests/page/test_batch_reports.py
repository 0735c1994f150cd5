from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from helpers.command_line import assert_refused, run_whyface
from helpers.group_photos import BIDEN, OBAMA, SPEECH, group_photo
from helpers.poor_photos import poor_photo

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HOSTILE = "<img src=x onerror=alert(1)>.png"


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Return a list of pairs of every kind: match, no match, undecided, failed, several faces, a name like markup."""
    one, other, third = (poor_photo(tmp_path, name, "none").name for name in (OBAMA, SPEECH, BIDEN))
    poor = poor_photo(tmp_path, OBAMA, "dark").name
    group_photo(tmp_path / "both.png", BIDEN, OBAMA, heights=(900, 300))
    shutil.copy(tmp_path / one, tmp_path / HOSTILE)
    lines = ["a,b", f"{one},{other}", f"{one},{third}", f"{poor},{other}", f"missing.png,{one}", f"both.png,{third}"]
    (tmp_path / "pairs.csv").write_text("\n".join([*lines, f"{HOSTILE},{other}"]) + "\n")
    return tmp_path / "pairs.csv"


def test_reports_and_their_index(
    pairs: Path, browser: Browser, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = pairs.parent / "reports"
    out = str(pairs.parent / "results.csv")
    code, said, _ = run_whyface(monkeypatch, capsys, "batch", str(pairs), "--out", out, "--reports", str(folder))
    assert code == 0
    assert "index.html: 5 reports" in said
    index = (folder / "index.html").read_text(encoding="utf-8")
    (data,) = re.findall(r'id="whyface-data">(.*?)</script>', index, re.DOTALL)
    rows = json.loads(data)["rows"]
    assert [row["verdict"] for row in rows] == ["match", "no match", "undecided", "failed", "match", "match"]
    assert rows[2]["remark"] == "the first face is too dark to compare"
    assert rows[3]["remark"].startswith("missing.png: no such file")
    assert sorted(path.name for path in folder.iterdir()) == [f"{k:06d}.html" for k in (0, 1, 2, 4, 5)] + ["index.html"]
    assert "<img src=x" not in index

    page = browser.new_page(locale="en-GB")
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    page.goto((folder / "index.html").as_uri())
    assert page.get_by_role("status").inner_text() == "6 of 6 pairs"
    assert page.get_by_role("cell", name=HOSTILE).count() == 1
    for name, count in (("Undecided", 1), ("Several faces", 1), ("Failed", 1), ("Close calls", 0)):
        page.get_by_label(name, exact=True).check()
        assert page.locator("tbody tr").count() == count
        page.get_by_label(name, exact=True).uncheck()
    page.get_by_label("Name contains").fill("BIDEN")
    assert page.locator("tbody tr").count() == 2
    page.get_by_role("link").first.click()
    page.wait_for_selector(".verdict")
    # The language that was asked for, whatever the browser's.
    (folder / "german.html").write_text(index.replace('"language": null', '"language": "de"'), encoding="utf-8")
    page.goto((folder / "german.html").as_uri())
    assert page.title() == "Berichte"
    page.close()
    refused = ("batch", str(pairs), "--out", f"{out}.csv", "--reports", str(folder))
    assert_refused(monkeypatch, capsys, "is not an empty folder", *refused)

"""Every row of the page about hard inputs names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/studies/any-photo.md").read_text(encoding="utf-8")
ROWS = [line.strip("|").split("|") for line in PAGE.splitlines() if line.startswith("| ")][1:]
NODE = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def test_the_page_has_its_rows() -> None:
    assert len(ROWS) == 17 and {len(row) for row in ROWS} == {4}
    assert NODE.search(ROWS[0][3])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].strip()[:40])
def test_each_row_is_shown_by_a_test(row: list[str]) -> None:
    found = NODE.findall(row[3])
    assert found or row[3].strip() == "the same"
    for file, name in found:
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8")

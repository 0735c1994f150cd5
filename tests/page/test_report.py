from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.command_line import assert_refused, run_whyface
from helpers.page_examples import HOSTILE, example, faces, maps_only, picture, undecided
from whyface.demo import demo_photo
from whyface.errors import InputError, OutputError
from whyface.explain.explanation import Explanation
from whyface.page.bundle import joined_script, page_files
from whyface.page.printing import BROWSER_VARIABLE, save_report
from whyface.page.report import notebook_frame, report_html

DATA = re.compile(r'<script type="application/json" id="whyface-data">(.*?)</script>', re.DOTALL)


def data_of(report: str) -> dict[str, object]:
    found = DATA.findall(report)
    assert len(found) == 1
    plain: dict[str, object] = json.loads(found[0])
    return plain


@pytest.mark.parametrize("made", [example(), undecided(), maps_only()])
def test_a_report_holds_the_whole_explanation_and_both_faces_to_the_bit(made: Explanation) -> None:
    data = data_of(report_html(made, picture(0), picture(1)))
    assert Explanation.from_dict(data["explanation"]) == made  # type: ignore[arg-type]
    for url, face in zip(data["pictures"], (picture(0), picture(1)), strict=True):  # type: ignore[call-overload]
        png = np.frombuffer(base64.b64decode(url.removeprefix("data:image/png;base64,")), np.uint8)
        decoded = np.asarray(cv2.imdecode(png, cv2.IMREAD_COLOR))
        np.testing.assert_array_equal(decoded[:, :, ::-1], face)


def test_the_policy_allows_this_script_and_style_and_nothing_from_outside() -> None:
    report = report_html(example(), picture(), picture())
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', report)
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert "unsafe" not in policy[1]
    for element, pattern in (("script", r'<script type="module">(.*?)</script>'), ("style", r"<style>(.*?)</style>")):
        (text,) = re.findall(pattern, report, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}'" in policy[1]
    assert set(re.findall(r"https?://[^\"' )]*", report)) <= {"http://www.w3.org/2000/svg"}


def test_names_are_never_markup() -> None:
    made = example(faces=faces(HOSTILE, HOSTILE))
    report = report_html(made, picture(), picture())
    assert data_of(report)["explanation"]["faces"][0]["source"] == HOSTILE  # type: ignore[index]
    assert report.count("<script") == 2
    assert "<img src=x" not in report
    assert "<script" not in notebook_frame(report)


def test_the_modules_join_without_what_only_a_browser_with_files_understands() -> None:
    for entry in ("report.js",):
        script = joined_script(entry)
        assert not re.search(r"^(import|export)\b", script, re.MULTILINE)
        assert "</script" not in script.lower()


def test_texts_are_never_set_as_markup() -> None:
    dangerous = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function")
    assert [name for name, text in page_files().items() if dangerous.search(text)] == []


def test_bad_faces_and_languages_are_refused() -> None:
    with pytest.raises(InputError, match="a report shows aligned faces"):
        report_html(example(), picture()[:100], picture())
    with pytest.raises(InputError, match="no language 'fr'; use one of: en, de"):
        report_html(example(), picture(), picture(), language="fr")


def test_a_report_needs_a_known_ending_and_a_pdf_a_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OutputError, match="a report is .html or .pdf"):
        save_report("x", tmp_path / "why.txt")
    monkeypatch.setenv(BROWSER_VARIABLE, "no-such-browser")
    with pytest.raises(OutputError, match=f"no-such-browser: no such program; correct {BROWSER_VARIABLE}"):
        save_report("x", tmp_path / "why.pdf")
    monkeypatch.delenv(BROWSER_VARIABLE)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OutputError, match="a PDF needs Chromium or Chrome"):
        save_report("x", tmp_path / "why.pdf")
    assert list(tmp_path.iterdir()) == []


def test_verify_writes_a_report_of_at_most_400_kb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "why.html"
    photos = [str(demo_photo(name)) for name in ("obama-portrait.jpg", "obama-speech.jpg")]
    code, out, _ = run_whyface(monkeypatch, capsys, "verify", *photos, "--report", str(target), "--language", "de")
    assert code == 0
    assert f"Report: {target}" in out
    assert target.stat().st_size <= 400_000
    data = data_of(target.read_text(encoding="utf-8"))
    assert data["language"] == "de"
    assert data["explanation"]["verdict"] == "match"  # type: ignore[index]
    for wrong, message in (("why.txt", "a report is .html or .pdf"), ("no/why.html", "create it first")):
        assert_refused(monkeypatch, capsys, message, "verify", *photos, "--report", str(tmp_path / wrong))

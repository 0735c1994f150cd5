from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from helpers.browser_site import runtime_archive, served_site
from helpers.group_photos import BIDEN, OBAMA, SPEECH, group_photo
from helpers.poor_photos import poor_photo
from whyface.explain.explanation import Explanation
from whyface.explain.sentences import describe
from whyface.models.catalogue import FAST_MODEL
from whyface.page.site import write_site

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HOSTILE = "<img src=x onerror=alert(1)>.png"
DROP = """([which, name, text]) => {
    const bytes = Uint8Array.from(atob(text), one => one.charCodeAt(0));
    const given = new DataTransfer();
    given.items.add(new File([bytes], name, {type: "image/png"}));
    const zone = document.querySelectorAll(".drop")[which];
    zone.dispatchEvent(new DragEvent("drop", {dataTransfer: given, bubbles: true, cancelable: true}));
}"""
PASTE = """([name, text]) => {
    const bytes = Uint8Array.from(atob(text), one => one.charCodeAt(0));
    const given = new DataTransfer();
    given.items.add(new File([bytes], name, {type: "image/png"}));
    document.dispatchEvent(new ClipboardEvent("paste", {clipboardData: given}));
}"""


@pytest.fixture(scope="module")
def page(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Return the page with its networks open, the former default model in it; whatever goes wrong fails at the end."""
    with served_site(tmp_path_factory.mktemp("site") / "out", model="xcos-mobilefacenet") as address:
        opened = browser.new_page(viewport={"width": 1280, "height": 900}, locale="en-GB")
        opened.set_default_timeout(120_000)
        troubles: list[str] = []
        opened.on("pageerror", lambda error: troubles.append(str(error)))
        opened.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
        opened.on("dialog", lambda dialog: dialog.dismiss())
        asked: list[str] = []
        opened.on("request", lambda request: asked.append(request.url))
        opened.goto(address)
        opened.locator(".status", has_text="Ready.").wait_for()
        yield opened
        opened.close()
        assert troubles == []
        assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []


def drop(page: Page, which: int, path: Path, name: str | None = None) -> None:
    """Drop a photo on a field; whatever was compared before is gone with the same call."""
    page.evaluate(DROP, [which, name or path.name, base64.b64encode(path.read_bytes()).decode()])


def settled(page: Page, which: int) -> str:
    """Wait until a photo has been looked at, and return what its field says."""
    zone = page.locator(".drop").nth(which)
    zone.locator(".preview, .trouble").first.wait_for()
    return zone.inner_text()


def explained(page: Page, verdict: str) -> Explanation:
    page.locator(".status", has_text=f"Done: {verdict}.").wait_for()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save the numbers (JSON)").click()
    return Explanation.from_json(Path(waiting.value.path()).read_text(encoding="utf-8"))


def test_dropped_photos_are_compared_and_the_report_opens_offline(page: Page, browser: Browser, tmp_path: Path) -> None:
    drop(page, 0, poor_photo(tmp_path, OBAMA, "none"), HOSTILE)
    drop(page, 1, poor_photo(tmp_path, SPEECH, "none"))
    found = explained(page, "match")
    assert found.faces is not None
    assert found.faces[0].source == HOSTILE
    assert page.locator(".file", has_text=HOSTILE).count() == 2
    assert found.sentences == describe(found)
    assert found.model.name == "xcos-mobilefacenet"
    assert found.probability is not None
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save the report (HTML)").click()
    report = tmp_path / "why.html"
    waiting.value.save_as(report)
    assert report.stat().st_size <= 400_000
    offline = browser.new_context(offline=True, locale="en-GB")
    other = offline.new_page()
    other.goto(report.as_uri())
    other.wait_for_selector(".verdict")
    assert other.locator(".sentences p").all_inner_texts() == list(found.sentences)
    assert other.locator(".face img").first.evaluate("image => image.naturalWidth") == 112
    offline.close()


def test_another_threshold_is_applied(page: Page, tmp_path: Path) -> None:
    drop(page, 0, poor_photo(tmp_path, OBAMA, "none"))
    drop(page, 1, poor_photo(tmp_path, BIDEN, "none"))
    explained(page, "no match")
    page.locator(".app-foot select").select_option("FMR 1e-6")
    page.locator(".verdict", has_text="FMR 1e-6").wait_for()
    found = explained(page, "no match")
    assert found.threshold_source.name == "FMR 1e-6"
    assert found.threshold == next(point.threshold for point in found.operating_points if point.name == "FMR 1e-6")


def test_several_faces_are_offered_and_one_can_be_picked(page: Page, tmp_path: Path) -> None:
    # The smaller face is the one that matches.
    drop(page, 0, group_photo(tmp_path / "both.png", BIDEN, OBAMA, heights=(900, 300)))
    drop(page, 1, poor_photo(tmp_path, SPEECH, "none"))
    assert "2 faces were found. Which one is compared?" in settled(page, 0)
    assert explained(page, "no match").faces is not None
    page.get_by_role("radio").nth(1).check()
    found = explained(page, "match")
    assert found.faces is not None
    assert (found.faces[0].index, found.faces[0].count) == (1, 2)
    assert "Photo A shows 2 faces; number 2 by size was compared." in page.locator(".warnings").inner_text()


def test_what_cannot_be_compared_says_why(page: Page, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0 not a picture")
    drop(page, 0, broken)
    assert "This file is damaged, or not a picture" in settled(page, 0)
    (tmp_path / "empty.png").write_bytes(b"")
    drop(page, 0, tmp_path / "empty.png")
    page.get_by_text("This file is empty.").wait_for()
    drop(page, 0, poor_photo(tmp_path, OBAMA, "dark"))
    drop(page, 1, poor_photo(tmp_path, SPEECH, "none"))
    found = explained(page, "undecided")
    assert found.doubt == "the first face is too dark to compare"
    assert page.locator("h1", has_text="Undecided").count() == 1
    assert page.get_by_role("grid").count() == 0


def test_a_photo_without_a_face_and_a_pasted_one(page: Page, tmp_path: Path) -> None:
    Image.new("RGB", (300, 300), (90, 140, 90)).save(tmp_path / "green.png")
    while page.get_by_role("button", name="Remove").count():
        page.get_by_role("button", name="Remove").first.click()
    photo = poor_photo(tmp_path, OBAMA, "none")
    page.evaluate(PASTE, [photo.name, base64.b64encode(photo.read_bytes()).decode()])
    assert photo.name in settled(page, 0)
    drop(page, 1, tmp_path / "green.png")
    assert "No face was found." in settled(page, 1)
    assert page.locator(".verdict").count() == 0


def test_the_camera_takes_a_picture_that_is_compared(page: Page, tmp_path: Path) -> None:
    while page.get_by_role("button", name="Remove").count():
        page.get_by_role("button", name="Remove").first.click()
    drop(page, 0, poor_photo(tmp_path, OBAMA, "none"))
    assert "Remove" in settled(page, 0)
    fields = page.locator(".drop")
    fields.nth(1).get_by_role("button", name="Camera").click()
    fields.nth(1).get_by_role("button", name="Take the picture").click()
    found = explained(page, "match")
    assert found.faces is not None
    assert found.faces[1].source == "Camera.png"
    assert page.locator("video").count() == 0
    # Closing it, and a camera that is refused.
    fields.nth(0).get_by_role("button", name="Remove").click()
    fields.nth(0).get_by_role("button", name="Camera").click()
    fields.nth(0).get_by_role("button", name="Close the camera").click()
    assert page.locator("video").count() == 0
    page.evaluate("() => { navigator.mediaDevices.getUserMedia = async () => { throw new Error('refused'); }; }")
    fields.nth(0).get_by_role("button", name="Camera").click()
    fields.nth(0).get_by_text("The camera cannot be used: it was refused, or there is none.").wait_for()


def test_the_service_offers_the_page_that_the_command_wrote(browser: Browser, tmp_path: Path) -> None:
    pytest.importorskip("fastapi", reason="needs the extra serve")
    from helpers.service import running
    from whyface.service.answers import Answers, bounded_detector
    from whyface.service.limits import Limits
    from whyface.verification import Verifier

    write_site(tmp_path / "site", runtime_archive(), model=FAST_MODEL)
    limits = Limits(seconds=300)
    answers = Answers(Verifier(FAST_MODEL, threads=1, detector=bounded_detector(limits)), limits)
    with running(answers, page=tmp_path / "site") as client:
        opened = browser.new_page(locale="en-GB")
        opened.set_default_timeout(120_000)
        troubles: list[str] = []
        opened.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
        opened.goto(f"http://127.0.0.1:{client.port}/")
        opened.locator(".status", has_text="Ready.").wait_for()
        photos = [poor_photo(tmp_path, name, "none") for name in (OBAMA, SPEECH)]
        for which, photo in enumerate(photos):
            drop(opened, which, photo)
        found = explained(opened, "match")
        opened.close()
        assert troubles == []
        # The routes are there beside it, and say the same.
        given = {"photo_a": photos[0].read_bytes(), "photo_b": photos[1].read_bytes()}
        python = Explanation.from_dict(client.send("/explain", given).json())
    assert python.verdict == found.verdict
    assert python.score == pytest.approx(found.score, abs=0.01)

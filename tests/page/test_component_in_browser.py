from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from helpers.command_line import run_whyface
from helpers.page_examples import HOSTILE, POINTS, QUALITY, example, faces, maps_only, picture, undecided
from whyface.demo import demo_photo
from whyface.explain.explanation import Explanation
from whyface.explain.provenance import ThresholdSource
from whyface.explain.record import Record
from whyface.explain.sentences import describe
from whyface.faces.load import load_face
from whyface.faces.regions import region_of_cells
from whyface.files.integrity import HashedFile
from whyface.models.catalogue import FAST_MODEL
from whyface.page.bundle import content_hash, joined_script
from whyface.page.report import notebook_frame, report_html
from whyface.set_verification import verify_sets
from whyface.verification import Verifier

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Page, Request


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Return a page that fails the test if it asks for anything, complains, or opens a dialog."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900}, locale="en-GB", timezone_id="UTC")
    troubles: list[str] = []
    opened.on("pageerror", lambda error: troubles.append(str(error)))
    opened.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)

    def refuse(dialog: Dialog) -> None:
        troubles.append(dialog.message)
        dialog.dismiss()

    def local(asked: Request) -> None:
        if not asked.url.startswith(("file:", "data:", "blob:")):
            troubles.append(asked.url)

    opened.on("dialog", refuse)
    opened.on("request", local)
    yield opened
    opened.close()
    assert troubles == []


def show(page: Page, folder: Path, made: Explanation, **options: Any) -> None:
    path = folder / "why.html"
    path.write_text(report_html(made, picture(0), picture(1), **options), encoding="utf-8")
    page.goto(path.as_uri())
    page.wait_for_selector(".verdict")


def run_module(page: Page, call: str, argument: object) -> Any:
    """Call a function of the page's modules, in an empty page."""
    page.goto("about:blank")
    script = joined_script("view.js") + "Object.assign(window, from_regions, from_shares, from_sentences, from_view);"
    page.add_script_tag(content=script)
    return page.evaluate(call, argument)


def test_regions_are_those_of_python(page: Page) -> None:
    sizes = [(7, 7), (4, 4), (1, 1), (2, 1), (3, 5), (14, 14), (8, 6)]
    found = run_module(page, "sizes => sizes.map(([h, w]) => regionsOf(h, w))", sizes)
    for (height, width), names in zip(sizes, found, strict=True):
        assert names == region_of_cells(height, width).ravel().tolist()


def test_sentences_in_english_are_those_of_python_and_exist_in_german(page: Page) -> None:
    made = [example(seed) for seed in range(12)]
    made += [example(seed, usual=False, threshold=0.1) for seed in range(4)]
    made += [example(3, size=(4, 4)), example(5, threshold=-0.9), example(5, threshold=0.99)]
    made += [example(seed, faces=faces(outside=((0, 0), (0, 6), (3, 3)))) for seed in (1, 2)]
    made += [maps_only(seed, threshold=0.4 + seed / 10) for seed in range(3)]
    made += [maps_only(0, map_a=None, map_b=None), undecided()]
    # A score that is exactly the threshold.
    made.append(maps_only(1, threshold=0.5, map_a=None, map_b=None))
    call = "all => all.map(one => ['en', 'de'].map(code => describe(factsOf(one), CATALOGUES[code])))"
    found = run_module(page, call, [one.to_dict() for one in made])
    for one, (english, german) in zip(made, found, strict=True):
        assert tuple(english) == describe(one)
        assert len(german) == len(english)
        assert not set(german) & set(english)
        assert "undefined" not in " ".join(german)
        # One sign for less than nothing, and not a hyphen.
        assert not re.search(r"(?<![\w,])-\d", " ".join(german))


def test_two_sets_are_told_as_python_tells_them_and_no_rate_is_claimed(page: Page, tmp_path: Path) -> None:
    one, two, other = (
        load_face(demo_photo(f"{name}.jpg")) for name in ("obama-portrait", "obama-speech", "biden-portrait")
    )
    verifier = Verifier(model=FAST_MODEL, threads=1)
    for sides in (([one], [two]), ([one, other], [two, other]), ([one, two], [one, two])):
        made = verify_sets(verifier, *sides).explanation
        english, german = run_module(
            page, "one => ['en', 'de'].map(code => describe(factsOf(one), CATALOGUES[code]))", made.to_dict()
        )
        assert tuple(english) == made.sentences
        assert len(german) == len(english)
        assert not set(german) & set(english)
    show(page, tmp_path, made)
    for place in (".rates", ".warnings", ".sentences"):
        assert "measured on single photos do not hold for sets" in page.locator(place).inner_text()
    assert "very same pixels" not in page.locator("#whyface").inner_text()


def test_both_catalogues_have_the_same_texts(page: Page) -> None:
    call = """() => ['en', 'de'].map(code => Object.entries(CATALOGUES[code]).flatMap(([key, value]) =>
        typeof value === 'object' ? Object.keys(value).map(inner => `${key}.${inner}`)
            : [`${key} ${typeof value}`]).sort())"""
    english, german = run_module(page, call, None)
    assert english == german


def test_covering_nothing_keeps_the_score_and_covering_places_renormalises(page: Page) -> None:
    made = example(4)
    assert made.similarity is not None
    assert made.attention is not None
    call = "one => [[], [0, 8, 20]].map(off => withoutPlaces(factsOf(one), new Set(off)))"
    whole, part = run_module(page, call, made.to_dict())
    assert whole == {"score": made.score, "weight": 0}
    s, w = made.similarity.ravel().astype(float), made.attention.ravel().astype(float)
    w_left = w.copy()
    w_left[[0, 8, 20]] = 0
    assert part["score"] == pytest.approx((s * w_left).sum() / w_left.sum() * w.sum(), abs=1e-12)
    assert part["weight"] == pytest.approx(1 - w_left.sum() / w.sum(), abs=1e-12)


def test_pointer_and_keys_show_a_place_everywhere_and_leave_it_out(page: Page, tmp_path: Path) -> None:
    made = example(4)
    assert made.similarity is not None
    show(page, tmp_path, made)
    page.locator(".face").first.locator(".place").nth(16).hover()
    card = page.locator(".place-card")
    assert "row 3, column 3" in card.inner_text()
    assert f"{made.similarity[2, 2]:.3f}" in card.inner_text()
    assert "of strangers are less alike at this place" in card.inner_text()
    assert page.locator(".place.current").count() == 2
    assert page.locator(".cell.current").count() == 4
    grid = page.get_by_role("grid", name="Similarity")
    grid.locator("[tabindex='0']").focus()
    for key in ("ArrowRight", "ArrowDown", "Home", "End", "ArrowLeft"):
        page.keyboard.press(key)
    assert "row 4, column 6" in card.inner_text()
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith(
        "Right temple, row 4, column 6"
    )
    before = page.locator(".what-if .said").inner_text()
    page.keyboard.press("Space")
    after = page.locator(".what-if .said").inner_text()
    assert before.startswith("Everything counts")
    assert after.startswith("Without 1 place")
    assert page.locator(".cell.off").count() == 4
    page.keyboard.press("Enter")
    assert page.locator(".what-if .said").inner_text() == before


def test_switching_regions_off_changes_the_score_until_nothing_counts(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, example(4))
    boxes = page.locator(".regions input[type=checkbox]")
    assert boxes.count() == 17
    boxes.first.uncheck()
    assert "of the weight" in page.locator(".what-if .said").inner_text()
    for k in range(1, 17):
        boxes.nth(k).uncheck()
    assert page.locator(".what-if .said").inner_text() == "Nothing is left that counts, so there is no score."
    page.get_by_role("button", name="Count everything again").click()
    assert page.locator(".what-if .said").inner_text().startswith("Everything counts")
    assert boxes.first.is_checked()


def test_the_slider_flips_the_verdict_and_tells_the_error_rates(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, example(4, threshold=0.3))
    said = page.locator(".said[role=status]").nth(1)
    slider = page.get_by_role("slider", name="Threshold")
    found = {}
    for value in (0.1, 0.2, 0.25, 0.9):
        slider.evaluate("(one, value) => { one.value = value; one.dispatchEvent(new Event('input')); }", value)
        found[value] = (said.inner_text(), page.locator(".rates").inner_text())
    assert "Match" in found[0.1][0]
    assert "not the verdict above" not in found[0.1][0]
    assert found[0.9][0] == "At 0.9000: No match, not the verdict above."
    assert found[0.1][1].startswith("At least 1.0% of pairs of strangers would pass, and at most 2.0%")
    assert found[0.2][1].startswith("1.0% of pairs of strangers would pass, and 2.0%")
    assert found[0.25][1].startswith("Between 1 in 1,000 and 1.0% of pairs of strangers would pass, and between 2.0%")
    assert found[0.9][1].startswith("At most 1 in 10,000 of pairs of strangers would pass")
    page.get_by_role("button", name="Back to the model's threshold").click()
    assert slider.input_value() == "0.3"


def test_german_is_chosen_by_the_reader_or_the_report(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, example(4), language="de")
    assert page.locator("h1").inner_text().startswith("Übereinstimmung")
    assert page.evaluate("document.documentElement.lang") == "de"
    page.get_by_label("Sprache").select_option("en")
    assert page.locator("h1").inner_text().startswith("Match")
    assert page.locator(".sentences p").all_inner_texts() == list(example(4).sentences)


def test_names_of_files_are_shown_as_text(page: Page, tmp_path: Path) -> None:
    record = Record("2026-11-27T09:30:00Z", note=HOSTILE)
    made = example(4, faces=faces(HOSTILE, "b.jpg"), settings={HOSTILE: HOSTILE}, method=HOSTILE, record=record)
    show(page, tmp_path, made)
    assert page.locator("#whyface img").count() == 2
    assert page.locator("script").count() == 2
    assert HOSTILE in page.locator(".provenance").inner_text()


def test_undecided_and_maps_of_other_methods(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, undecided())
    assert page.locator("h1").inner_text().startswith("Undecided the first face is too blurred to compare")
    assert page.get_by_role("grid").count() == 0
    assert "Face A is too blurred." in page.locator(".warnings").inner_text()
    other = maps_only(2)
    show(page, tmp_path, example(4), others={"gradcam": other, "random": maps_only(3, method="random")})
    choices = page.get_by_label("Show on the faces")
    assert "Map of random (a control, no explanation)" in choices.inner_text()
    choices.select_option(label="Map of gradcam")
    pixel = "(canvas, [x, y]) => [...canvas.getContext('2d').getImageData(x, y, 1, 1).data]"
    for canvas, weights in zip(page.locator("canvas").all(), (other.map_a, other.map_b), strict=True):
        assert weights is not None
        row, column = np.unravel_index(np.abs(weights).argmax(), weights.shape)
        at = [int(column) * 8 + 4, int(row) * 8 + 4]
        red, _, blue, opaque = canvas.evaluate(pixel, at)
        # The strongest place is blue if it speaks for a match, red if against, and the most opaque.
        assert (blue > red) == (weights[row, column] > 0)
        assert opaque > 180


def test_warnings_name_what_a_reader_should_know(page: Page, tmp_path: Path) -> None:
    first, _ = faces(index=1, count=3, outside=((0, 0),))
    made = example(4, faces=(first, first), threshold=example(4).score - 0.004)
    show(page, tmp_path, made)
    text = page.locator(".warnings").inner_text()
    for part in ("Photo A shows 3 faces; number 2 by size", "1 place lies outside", "close call", "very same pixels"):
        assert part in text


def test_axe_finds_no_fault(page: Page, tmp_path: Path) -> None:
    api = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe comes with the extra test")
    # A coarse grid has the same elements, only fewer of each.
    made = example(4, size=(4, 4), faces=faces(outside=((0, 0),)), record=signable().record)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        show(page, tmp_path, made)
        # axe itself is a script that the page's policy would not let in.
        page.locator("summary").click()
        found = api.Axe().run(page).response["violations"]
        assert [(one["id"], [node["html"][:120] for node in one["nodes"]][:3]) for one in found] == [], scheme


@pytest.mark.parametrize("width", [390, 800, 1280])
def test_nothing_sticks_out_of_the_page(page: Page, tmp_path: Path, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    show(page, tmp_path, example(4, faces=faces("a-very-long-name-" * 12 + ".jpg")))
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_numbers_can_be_saved(page: Page, tmp_path: Path) -> None:
    made = example(4)
    show(page, tmp_path, made)
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save the numbers (JSON)").click()
    saved = Path(waiting.value.path()).read_text(encoding="utf-8")
    assert Explanation.from_dict(json.loads(saved)) == made


def test_the_policy_refuses_another_script(browser: Browser, tmp_path: Path) -> None:
    report = report_html(example(), picture(), picture())
    (tmp_path / "why.html").write_text(report.replace("</body>", "<script>window.foreign = 1</script></body>"))
    page = browser.new_page()
    page.goto((tmp_path / "why.html").as_uri())
    page.wait_for_selector(".verdict")
    assert page.evaluate("window.foreign") is None
    assert content_hash("window.foreign = 1") not in report
    page.close()


def test_measures_that_are_missing_say_so(page: Page, tmp_path: Path) -> None:
    assert QUALITY.recognisability is None
    show(page, tmp_path, example(4))
    row = page.locator(".quality tr", has_text="Recognisable")
    assert row.inner_text().count("not measured") == 2
    assert POINTS[0].dataset in page.locator("section", has_text="What if the threshold").first.inner_text()


def test_labels_of_thresholds_never_cover_each_other(page: Page, tmp_path: Path) -> None:
    # As close as those of the default model, and one more that there is no room for.
    thresholds = (0.191, 0.256, 0.314, 0.368, 0.42, 0.43)
    points = tuple(
        replace(POINTS[0], name=f"FMR 1e-{k}", threshold=threshold, fmr=10.0**-k)
        for k, threshold in enumerate(thresholds, start=2)
    )
    made = example(4, operating_points=points, threshold_source=ThresholdSource.from_operating_point(points[1]))
    for width in (390, 800, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        show(page, tmp_path, made)
        labels = [label for label in page.locator(".mark.known span").all() if label.inner_text()]
        assert len(labels) >= 5
        boxes = [label.bounding_box() for label in labels]
        for k, one in enumerate(boxes):
            for other in boxes[k + 1 :]:
                assert one is not None
                assert other is not None
                apart = one["y"] + one["height"] <= other["y"] or other["y"] + other["height"] <= one["y"]
                assert apart or one["x"] + one["width"] <= other["x"]


TIME, DECIDED = "2026-11-27T09:30:00Z", "2026-11-27T12:00:05Z"


def signable() -> Explanation:
    request = {"model": "made-up", "preprocessing": {"side": 112, "mean": [0, 0, 0]}, "prior": None}
    return example(4, record=Record(TIME, (HashedFile("detector", "d.onnx", "a" * 64),), request, note="desk 3"))


def test_the_record_can_be_signed_and_is_saved_as_another_file(page: Page, tmp_path: Path) -> None:
    made = signable()
    show(page, tmp_path, made)
    before = page.locator("#whyface-data").inner_text()
    save = page.get_by_role("button", name="Save the signed record (JSON)")
    save.click()
    assert page.locator(".review [role=status]").inner_text() == "Fill in the reviewer and the decision."
    page.get_by_label("Reviewer").fill("  Noor <b>Ali</b>")
    page.get_by_label("Language").select_option("de")
    assert page.get_by_label("Geprüft von").input_value() == "  Noor <b>Ali</b>"
    page.get_by_label("Sprache").select_option("en")
    page.get_by_label("Decision").select_option("Different people")
    page.get_by_label("Reason").fill("ears")
    page.get_by_label("Date and time").fill("2026-11-27T12:00:05")
    with page.expect_download() as waiting:
        save.click()
    assert waiting.value.suggested_filename == "signed-2026-11-27T120005Z.json"
    signed = Explanation.from_json(Path(waiting.value.path()).read_text(encoding="utf-8"))
    assert made.record is not None
    decided = replace(made.record, reviewer="Noor <b>Ali</b>", decision="different people: ears", decided=DECIDED)
    assert signed == replace(made, record=decided)
    # What the report carries stays unsigned.
    assert page.locator("#whyface-data").inner_text() == before
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save the numbers (JSON)").click()
    assert Explanation.from_json(Path(waiting.value.path()).read_text(encoding="utf-8")) == made
    show(page, tmp_path, signed)
    told = page.locator(".review").inner_text()
    assert "Signed by Noor <b>Ali</b> on 2026-11-27T12:00:05Z: different people: ears." in told


def test_without_a_date_the_record_is_signed_now_and_without_a_record_there_is_no_form(
    page: Page, tmp_path: Path
) -> None:
    show(page, tmp_path, signable())
    page.get_by_label("Reviewer").fill("Noor")
    page.get_by_label("Decision").select_option("No decision")
    start = datetime.now(UTC).replace(microsecond=0)
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save the signed record (JSON)").click()
    record = Explanation.from_json(Path(waiting.value.path()).read_text(encoding="utf-8")).record
    assert record is not None
    assert record.decided is not None
    assert start <= datetime.fromisoformat(record.decided) <= datetime.now(UTC)
    show(page, tmp_path, example(4))
    assert page.locator(".review").count() == 0


def test_the_record_is_shown_as_rows(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, signable())
    rows = page.locator(".record tr").all_inner_texts()
    assert [row.split("\t")[0] for row in rows] == [
        *("Time", "Note", "File: detector", "Asked for: model", "Asked for: preprocessing")
    ]
    assert "desk 3" in rows[1]
    assert "a" * 64 in rows[2]
    assert "side 112, mean 0, 0, 0" in rows[4]
    assert not any("{" in row for row in rows)


def test_a_signed_record_is_checked_like_any_other(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    result = Verifier(FAST_MODEL, threads=1)(demo_photo("obama-portrait.jpg"), demo_photo("obama-speech.jpg"))
    result.save_report(tmp_path / "why.html")
    page.goto((tmp_path / "why.html").as_uri())
    # On paper it takes two pages.
    assert len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4"))) == 2
    page.get_by_label("Reviewer").fill("Noor")
    page.get_by_label("Decision").select_option("Same person")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save the signed record (JSON)").click()
    waiting.value.save_as(tmp_path / "signed.json")
    code, out, err = run_whyface(monkeypatch, capsys, "check", str(tmp_path / "signed.json"))
    assert (code, err) == (0, "")
    assert "Reviewer: Noor\nDecision: same person\nDecided: 2" in out


def test_in_a_notebook_the_report_lives_in_a_frame_that_reaches_nothing_outside(page: Page, tmp_path: Path) -> None:
    frames = notebook_frame(report_html(signable(), picture(0), picture(1)))
    notebook = tmp_path / "notebook.html"
    notebook.write_text(f"<!doctype html><title>notebook</title><script>var secret = 1</script>{frames}")
    page.goto(notebook.as_uri())
    inner = page.frame_locator("iframe")
    inner.locator(".verdict").wait_for()
    inner.locator(".face").first.locator(".place").nth(16).hover()
    assert "row 3, column 3" in inner.locator(".place-card").inner_text()
    inner.get_by_label("Reviewer").fill("Noor")
    inner.get_by_label("Decision").select_option("Same person")
    with page.expect_download() as waiting:
        inner.get_by_role("button", name="Save the signed record (JSON)").click()
    assert Explanation.from_json(Path(waiting.value.path()).read_text(encoding="utf-8")).record is not None
    reach = "() => { try { return String(parent.secret); } catch (error) { return error.name; } }"
    assert page.frames[1].evaluate(reach) == "SecurityError"
    assert page.title() == "notebook"

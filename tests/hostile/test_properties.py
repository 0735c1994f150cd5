"""Whatever values others put into JSON, names, tables and settings: a result, or one error of one line."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from helpers.gallery_models import TinyGrids
from whyface.batch.pair_source import open_pair_source
from whyface.cli import main
from whyface.errors import DataError, InputError, WhyfaceError
from whyface.explain.explanation import Explanation
from whyface.explain.provenance import Cost, ModelInfo, ThresholdSource
from whyface.files import json_values
from whyface.files.guarded import LARGEST_NUMBER, parse_json
from whyface.gallery.gallery import Gallery
from whyface.words.word_report import WordSettings

SCALARS: Final = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES: Final = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
SOME: Final = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
FEW: Final = settings(SOME, max_examples=12)


def one_line(error: Exception) -> None:
    assert str(error)
    assert "\n" not in str(error)
    assert len(str(error)) < 2000


def numbers_in(value: Any) -> list[int | float]:
    if isinstance(value, dict):
        return [number for item in value.values() for number in numbers_in(item)]
    if isinstance(value, list):
        return [number for item in value for number in numbers_in(item)]
    return [value] if isinstance(value, int | float) else []


@SOME
@given(VALUES.map(json.dumps) | st.text() | st.binary())
@example("1e999")
@example("[-1e999]")
@example("9" * 400)
@example("[" * 100_000)
def test_numbers_in_json_are_finite_and_fit_64_bits(source: str | bytes) -> None:
    try:
        found = parse_json(source)
    except ValueError as error:
        one_line(error)
        return
    for number in numbers_in(found):
        assert math.isfinite(number)
        assert isinstance(number, float) or abs(number) < LARGEST_NUMBER


@SOME
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**62), 2**62)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    )
)
def test_json_comes_back_as_it_was(value: Any) -> None:
    assert parse_json(json.dumps(value)) == value
    assert json_values.thaw(json_values.freeze(value)) == value


@pytest.mark.parametrize(
    "read",
    [
        *(json_values.number, json_values.count, json_values.text, json_values.mapping, json_values.items),
        *(json_values.array_from_lists, json_values.freeze, lambda value: json_values.numbers(value, 4)),
    ],
)
@SOME
@given(value=VALUES)
def test_readers_of_values_refuse_in_a_short_phrase(read: Callable[[Any], object], value: Any) -> None:
    try:
        read(value)
    except (TypeError, ValueError) as error:
        one_line(error)


WHOLE: Final = Explanation(
    score=0.5,
    threshold=0.3,
    threshold_source=ThresholdSource(kind="user", name="x"),
    method="x",
    model=ModelInfo("x", None),
    cost=Cost(forward=2, backward=0, seconds=None),
    map_a=np.zeros((2, 2), np.float32),
    map_b=np.zeros((2, 2), np.float32),
).to_dict()


@SOME
@given(st.sampled_from([*WHOLE]), VALUES)
@example("score", 0.5)
def test_an_explanation_is_read_or_refused(key: str, value: Any) -> None:
    try:
        found = Explanation.from_json(json.dumps(WHOLE | {key: value}))
    except WhyfaceError as error:
        one_line(error)
        return
    assert Explanation.from_json(found.to_json()).to_dict() == found.to_dict()


NAMES: Final = st.text(max_size=60) | st.text(st.characters(codec=None), max_size=8) | st.just("x" * 100_000)


@FEW
@given(st.lists(NAMES, min_size=1, max_size=5))
def test_a_gallery_keeps_a_name_as_it_is_or_refuses_it(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    model = TinyGrids()
    path = tmp_path_factory.mktemp("names") / "g"
    features = model.embed(np.random.default_rng(0).integers(0, 256, (len(names), 3, 112, 112), np.uint8))
    with Gallery.create(path, model) as gallery:
        try:
            gallery.add(features, names, "source")
        except WhyfaceError as error:
            one_line(error)
            assert gallery.names() == {}
            return
    with Gallery.open(path, model) as gallery:
        assert [gallery.rows([n])[n].name for n in range(len(names))] == names
        assert gallery.check() == set()


@SOME
@given(st.lists(st.tuples(st.text(), st.text(), st.text()), min_size=1, max_size=4), st.text(max_size=12))
def test_cells_of_a_table_are_read_as_they_are(tmp_path: Path, rows: list[tuple[str, str, str]], column: str) -> None:
    path = tmp_path / "pairs.csv"
    with path.open("w", encoding="utf-8", errors="replace", newline="") as file:
        csv.writer(file).writerows([("a", "b", column), *rows])
    try:
        source = open_pair_source(path)
        found = list(source)
    except (DataError, InputError) as error:
        one_line(error)
        return
    assert source.count() == len(found)
    assert all("\n" not in pair.a.strip("\n") or "\n" in rows[n][0] for n, pair in enumerate(found))


@SOME
@given(st.integers() | st.floats(), st.sampled_from(["threshold", "least", "draws"]))
@example(math.inf, "draws")
@example(math.nan, "draws")
def test_word_settings_refuse_numbers_out_of_range(value: float, name: str) -> None:
    given: dict[str, Any] = {name: value}
    try:
        found = WordSettings(**given)
    except InputError as error:
        one_line(error)
        return
    assert math.isfinite(getattr(found, name))


@FEW
@given(st.floats(), st.sampled_from(["--threshold", "--fmr", "--prior", "--max-megapixels"]))
def test_numbers_of_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: float, option: str
) -> None:
    # The photo is missing: whatever is accepted ends with that.
    monkeypatch.setattr(sys, "argv", ["whyface", "verify", "no.jpg", "such.jpg", option, repr(value)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1

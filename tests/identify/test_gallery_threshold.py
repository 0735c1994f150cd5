from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist

import pytest

from whyface.errors import InputError, ModelError
from whyface.identify.gallery_people import extrapolated_threshold, fmr_for, fpir_of, gallery_threshold
from whyface.models.catalogue import FAST_MODEL, model_entry
from whyface.models.entry import ModelEntry


def test_rates_turn_into_each_other() -> None:
    for faces in (1, 10, 10**6):
        assert fpir_of(fmr_for(0.01, faces), faces) == pytest.approx(0.01)
    assert fmr_for(0.01, 1) == pytest.approx(0.01)


def test_normal_impostors_are_extrapolated_exactly() -> None:
    impostors = NormalDist(0.1, 0.08)
    points = {fmr: impostors.inv_cdf(1 - fmr) for fmr in (1e-1, 1e-2, 1e-3)}
    for fmr in (1e-4, 1e-6, 1e-9):
        assert extrapolated_threshold(points, fmr) == pytest.approx(impostors.inv_cdf(1 - fmr), abs=1e-6)
    # At measured points it is what was measured.
    assert extrapolated_threshold(points, 1e-3) == pytest.approx(points[1e-3])


def test_threshold_grows_with_the_gallery_and_never_undercuts_verification() -> None:
    entry = model_entry(FAST_MODEL)
    single = entry.operating_point("l", fmr=1e-3).threshold
    thresholds = [gallery_threshold(entry, "l", faces)[0] for faces in (1, 5, 100, 10_000, 10**6)]
    assert thresholds[0] == thresholds[1] == single
    assert thresholds == sorted(thresholds)
    assert thresholds[2] > single
    assert thresholds[-1] < 1
    value, source = gallery_threshold(entry, "u", 660, fpir=0.1)
    assert source.describe() == "FPIR 0.1 among 660 faces on LFW, all pairs of 13,195 pictures, interpolated"
    assert source.fmr == pytest.approx(fmr_for(0.1, 660))
    assert value < gallery_threshold(entry, "u", 660, fpir=0.01)[0]


def with_points(rates: dict[str, float]) -> ModelEntry:
    """Give the default model other thresholds, by name."""
    entry = model_entry(FAST_MODEL)
    template = entry.thresholds["u"][0]
    points = tuple(replace(template, name=name, threshold=threshold) for name, threshold in rates.items())
    return replace(entry, thresholds={"u": points})


def test_only_rates_below_the_usual_one_are_on_record() -> None:
    """The highest of them is the floor then, and a larger gallery goes on from there."""
    entry = with_points({"FMR 1e-4": 0.4, "FMR 1e-5": 0.5})
    assert gallery_threshold(entry, "u", 1)[0] == 0.4
    assert gallery_threshold(entry, "u", 10**6)[0] > 0.5


def test_names_that_hold_no_rate_are_passed_over() -> None:
    entry = with_points({"FMR of a friend": 0.1, "FMR 0": 0.9, "EER": 0.2, "FMR 1e-2": 0.3, "FMR 1e-3": 0.4})
    assert gallery_threshold(entry, "u", 1)[0] == 0.4
    assert entry.operating_point("u", fmr=1e-2).threshold == 0.3
    with pytest.raises(ModelError, match=r"measured: 0\.001, 0\.01"):
        entry.operating_point("u", fmr=0.0)


@pytest.mark.parametrize(("points", "fmr"), [({0.0: 0.5, 1e-3: 0.3}, 1e-5), ({1e-3: 0.4, 1e-2: 0.3}, 0.0)])
def test_rates_that_no_normal_distribution_has(points: dict[float, float], fmr: float) -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        extrapolated_threshold(points, fmr)


def test_a_rate_too_small_to_tell_from_none() -> None:
    with pytest.raises(InputError, match="never measured"):
        extrapolated_threshold({1e-20: 0.5, 1e-3: 0.3}, 1e-5)


def test_a_rate_between_measured_ones_gets_a_threshold_between_theirs() -> None:
    points = {1e-2: 0.2, 1e-3: 0.3, 1e-4: 0.34, 1e-5: 0.5}
    for rate, threshold in points.items():
        assert extrapolated_threshold(points, rate) == pytest.approx(threshold)
    assert 0.3 < extrapolated_threshold(points, 5e-4) < 0.34
    assert 0.34 < extrapolated_threshold(points, 5e-5) < 0.5
    assert extrapolated_threshold(points, 1e-6) > 0.5


def test_what_cannot_be_known_is_refused() -> None:
    entry = model_entry(FAST_MODEL)
    with pytest.raises(InputError, match="between 0 and 1"):
        fmr_for(1.0, 5)
    with pytest.raises(InputError, match="two measured"):
        extrapolated_threshold({1e-3: 0.3}, 1e-5)
    with pytest.raises(InputError, match="must rise"):
        extrapolated_threshold({1e-3: 0.3, 1e-2: 0.4}, 1e-5)
    with pytest.raises(ModelError, match="measured: 1e-06, 1e-05, 0.0001, 0.001, 0.01"):
        entry.operating_point("l", fmr=1e-7)
    with pytest.raises(ModelError, match="give --threshold"):
        gallery_threshold(entry, "cosine", 5)


def test_false_alarms_grow_with_the_gallery() -> None:
    assert fpir_of(1e-3, 1) == pytest.approx(1e-3)
    assert fpir_of(1e-3, 1000) == pytest.approx(1 - 0.999**1000)
    assert fpir_of(0, 10**9) == 0
    assert fpir_of(1, 1) == 1
    with pytest.raises(InputError, match="FMR"):
        fpir_of(1.5, 1)

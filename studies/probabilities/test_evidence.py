"""The fit of likelihood ratios on made-up pairs whose ratios are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from studies.probabilities.evidence import Pairs, fit, join, ratios, read, report
from studies.probabilities.evidence_figures import evidence_figure
from whyface.errors import InputError


def made_up(seed: int, count: int) -> Pairs:
    """Scores of two normal distributions that lie the nearer to each other, the less recognisable the faces are."""
    rng = np.random.default_rng(seed)
    genuine = np.arange(2 * count) < count
    seen = rng.uniform(0.2, 0.6, 2 * count)
    score = rng.normal(0, 0.1, 2 * count) + np.where(genuine, seen, 0)
    return Pairs(score, seen, genuine, np.arange(2 * count).astype(str))


def test_the_known_ratios_are_found() -> None:
    calibration = fit(made_up(1, 4000), "made up")
    pairs = made_up(2, 2000)
    # Two normal distributions of equal width, seen apart: log LR = seen / 0.01 * (score - seen / 2).
    known = pairs.recognisability / 0.01 * (pairs.score - pairs.recognisability / 2) / np.log(10)
    low, high = calibration.bounds or (0, 0)
    assert low < -1 and high > 2
    inside = (known > low) & (known < high)
    assert np.abs(ratios(calibration, pairs)[inside] - known[inside]).mean() < 0.4
    found = report(calibration, pairs)
    assert found["cllr_cal"] < 0.02 and found["genuine"] == found["strangers"] == 2000
    assert sum(part["genuine"] for part in found["quarters"]) == 2000
    assert [part["cllr"] for part in found["quarters"]] == sorted(
        (part["cllr"] for part in found["quarters"]), reverse=True
    )
    # Without quality, the poorest quarter is overrated.
    figure = evidence_figure({"made up": (ratios(calibration, pairs), pairs.genuine)}, calibration)
    assert {"tippett made up", "cross-entropy made up"} <= {axes.get_label() for axes in figure.axes}
    with pytest.raises(InputError):
        evidence_figure({}, calibration)


def test_pairs_below_the_limit_are_left_out(tmp_path: Path) -> None:
    kept: dict[str, np.ndarray] = {}
    for title in ("CelebA", "LFW", "CFP-FF", "CFP-FP"):
        kept |= {f"{title}/genuine": np.array([True, False]), f"{title}/people": np.array(["ann|ann", "ann|bob"])}
        for way in ("as they are", "both made worse", "one made worse"):
            kept[f"{title}/{way}/score"] = np.array([0.7, 0.1])
            kept[f"{title}/{way}/quality"] = np.array([[0.9, 0.5], [0.7, 0.4]])
    np.savez_compressed(tmp_path / "m.npz", allow_pickle=False, **kept)
    found = read(tmp_path / "m.npz", 0.8)
    assert len(found) == 12
    both = join([found["LFW", "as they are"], found["LFW", "one made worse"]])
    assert both.score.tolist() == [0.7, 0.7] and both.people.tolist() == ["ann|ann", "ann|ann"]
    assert both.recognisability.tolist() == [0.5, 0.5] and both.genuine.all()

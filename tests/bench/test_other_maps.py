"""Maps of other pairs: what is the same for all pairs gains nothing, what is a function of the prior becomes random."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers.toy_bench import FlatMethod, Pictures, ProductMethod, chunk_of, subject_of
from whyface.bench.base import BenchTest, Subject, choose_pairs, descending, pairs_set_aside
from whyface.bench.merits import GAINS, JUDGED, merit_names, merit_values
from whyface.bench.other_maps import STRATA, Substitutes, fill_bank, strata_of, within_strata
from whyface.bench.planted import ErasureTest, ReplacementTest, SaCoTest
from whyface.bench.pointing import PointingTest
from whyface.bench.run import run_bench, run_chunk
from whyface.bench.sanity import RandomisationTest, StabilityTest
from whyface.bench.summary import summarise_method
from whyface.errors import DataError
from whyface.explain.controls import CentreMethod
from whyface.explain.pair_method import PairMaps
from whyface.files.parts import Parts, ResultTable, open_folder, read_results
from whyface.models.embedder import Batch

PICTURES = Pictures(people=12)
PROTOCOL = PICTURES.protocol()
JUDGED_PAIRS = choose_pairs(PROTOCOL, 4, 1)
ASIDE = pairs_set_aside(PROTOCOL, JUDGED_PAIRS, 14, 1)
TESTS = [
    *(ReplacementTest(), ErasureTest(), ErasureTest("noise"), SaCoTest()),
    *(PointingTest(), PointingTest("painting"), PointingTest("partner")),
    *(StabilityTest(), RandomisationTest()),
]


def centre() -> Subject:
    subject = subject_of()
    method = CentreMethod(subject.comparison)  # type: ignore[arg-type]
    # Its map is the same with any weights.
    return Subject(method, subject.comparison, 0.05, is_unsigned=True, randomised=lambda _: method.maps)


def measured(subject: Subject, folder: Path, tests: Sequence[BenchTest] = TESTS) -> ResultTable:
    open_folder(folder, {"seed": 1})
    (folder / "bank").mkdir(exist_ok=True)
    banks = fill_bank(subject, tests, PROTOCOL, PICTURES, ASIDE, folder / "bank", seed=1, chunk_size=6)
    substitutes = Substitutes(banks, PROTOCOL, subject, network=subject.method.maps)
    run_bench(subject, tests, PROTOCOL, PICTURES, JUDGED_PAIRS, folder, seed=1, chunk_size=2, substitutes=substitutes)
    return read_results(folder)


def test_a_fixed_map_gains_exactly_nothing_at_any_test(tmp_path: Path) -> None:
    table = measured(centre(), tmp_path / "run")
    judged = [name for name in JUDGED if "blur" not in name]
    for name in judged:
        for ending in GAINS:
            pairs, values = merit_values(table, f"{name} {ending}", PROTOCOL, 0.05)
            assert len(pairs) >= 2, (name, ending)
            # A mean of equal maps is equal up to rounding.
            limit = 1e-6 if ending == "over mean" else 0
            assert np.abs(values).max() <= limit, (name, ending)
    for test in ("pointing", "painting", "partner"):
        _, bits = merit_values(table, f"{test} information", PROTOCOL, 0.05)
        assert bits == pytest.approx(0, abs=1e-6)


def test_the_exact_map_gains_over_those_of_other_pairs(tmp_path: Path) -> None:
    table = measured(subject_of(), tmp_path / "run")
    found = summarise_method(table, PROTOCOL, threshold=0.05, replicates=100)
    for name in ("deletion specific", "saco specific", "pointing auc specific", "pointing information"):
        assert found.merits[name].value > 0, name
    assert found.merits["deletion over network"].value == 0
    assert {"replacement at equal prior", "replacement blurred", "FMR patched"} <= set(found.merits)
    assert set(found.merits) - {"FNMR clean", "FMR clean", "FNMR patched", "FMR patched"} <= set(merit_names())


def test_stability_counts_for_what_other_pairs_maps_do_not_share(tmp_path: Path) -> None:
    """A pair's own map resembles itself after a shift; other pairs' maps do not, and a map as it is made random."""
    own = subject_of()
    tests = [StabilityTest(), RandomisationTest()]
    table = measured(replace(own, randomised=lambda _: own.method.maps), tmp_path / "run", tests)
    found = summarise_method(table, PROTOCOL, threshold=0.05, replicates=100)
    assert found.merits["shift specific"].value > 0.5
    assert found.merits["shift specific"].value <= found.merits["shift"].value + 1
    # With weights that do not change, the map stays its own: the worst there is.
    assert found.merits["randomised"].value == pytest.approx(1)
    assert found.merits["randomised specific"].value < -0.5


class GridMethod(ProductMethod):
    """Maps of 7 x 7 places, as xCos has, with a seed that changes nothing."""

    def maps(self, first: Batch, second: Batch) -> PairMaps:
        found = super().maps(first, second)
        sides = [one.reshape(-1, 7, 16, 7, 16).mean(axis=(2, 4)) for one in (found.map_a, found.map_b)]
        return PairMaps(found.score, sides[0], sides[1], forward=2)


def test_maps_of_places_are_measured_with_maps_of_other_pairs_in_their_place(tmp_path: Path) -> None:
    subject = subject_of(GridMethod)
    subject = replace(subject, randomised=lambda _: subject.method.maps, other_seed=lambda: subject.method)
    table = measured(subject, tmp_path / "run")
    found = summarise_method(table, PROTOCOL, threshold=0.05, replicates=100).merits
    assert found["shift specific"].value > 0
    assert set(table.test[table.measure == "seed"]) == {"stability"}
    assert found["seed"].value == pytest.approx(1)


def test_a_gain_is_the_own_map_s_value_less_the_mean_of_the_others() -> None:
    rng = np.random.default_rng(0)
    names, pairs, values = [], [], []
    for place in range(3):
        for pair in (0, 1):
            names.append(f"saco:other-{place}")
            pairs.append(pair)
            values.append(rng.random())
    names += ["saco", "saco"]
    pairs += [0, 1]
    values += [0.5, 0.25]
    flat = np.zeros(len(names))
    table = ResultTable({}, np.array(names), np.full(len(names), "saco"), np.array(pairs), flat, np.array(values))
    found, gains = merit_values(table, "saco specific", PROTOCOL, 0.05)
    assert found.tolist() == [0, 1]
    assert gains == pytest.approx([0.5 - np.mean(values[0:6:2]), 0.25 - np.mean(values[1:6:2])])


def test_any_function_of_the_strata_becomes_exactly_the_order_of_a_map_that_says_nothing() -> None:
    rng = np.random.default_rng(3)
    prior = rng.normal(size=(112, 112))
    strata = strata_of(prior, np.random.default_rng(1))
    assert np.bincount(strata.ravel()).min() >= 112 * 112 // STRATA
    orders = []
    for function in (np.zeros(STRATA), np.arange(STRATA), rng.normal(size=STRATA), -(np.arange(STRATA) ** 2)):
        ranked = within_strata(np.asarray(function, float)[strata], strata, np.random.default_rng(2))
        orders.append(descending(ranked, np.random.default_rng(4)).tolist())
    assert all(order == orders[0] for order in orders)


def test_each_step_takes_the_same_share_of_every_stratum_and_the_best_of_each() -> None:
    rng = np.random.default_rng(3)
    prior, pixel_map = rng.normal(size=(2, 112, 112)).astype(np.float32)
    strata = strata_of(prior, rng)
    order = descending(within_strata(pixel_map, strata, rng), rng)
    first = order[: 112 * 112 // 4]
    taken = np.bincount(strata.ravel()[first], minlength=STRATA)
    assert taken.max() - taken.min() <= 2
    for stratum in range(STRATA):
        inside = strata.ravel() == stratum
        chosen = np.isin(np.arange(112 * 112), first) & inside
        assert pixel_map.ravel()[chosen].min() >= np.sort(pixel_map.ravel()[inside & ~chosen])[-1]


def test_other_pairs_have_other_people_and_the_same_verdict(tmp_path: Path) -> None:
    (tmp_path / "bank").mkdir()
    bank = fill_bank(subject_of(), [ErasureTest()], PROTOCOL, PICTURES, ASIDE, tmp_path / "bank", seed=1)["clean"]
    assert not np.isin(ASIDE, JUDGED_PAIRS).any()
    assert PROTOCOL.genuine[ASIDE].sum() == len(ASIDE) / 2
    rows = bank.of_others(np.array(["3", "4"]), is_match=True)
    assert len(rows)
    assert bank.is_match[rows].all()
    assert not np.isin(bank.people[rows], ["3", "4"]).any()


def test_a_bank_goes_on_where_it_stopped_and_a_damaged_part_is_made_again(tmp_path: Path) -> None:
    subject = subject_of()

    def fill() -> np.ndarray:
        filled = fill_bank(subject, [ErasureTest()], PROTOCOL, PICTURES, ASIDE, tmp_path, seed=1, chunk_size=4)
        return filled["clean"].maps

    whole = fill()
    calls = subject.method.calls  # type: ignore[attr-defined]
    assert np.array_equal(fill(), whole)
    assert subject.method.calls == calls  # type: ignore[attr-defined]
    path = Parts(tmp_path, ending="npz").path(1)
    assert path is not None
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert np.array_equal(fill(), whole)
    assert subject.method.calls == calls + 1  # type: ignore[attr-defined]


def test_a_bank_of_other_tests_is_refused(tmp_path: Path) -> None:
    fill_bank(subject_of(), [ErasureTest()], PROTOCOL, PICTURES, ASIDE, tmp_path, seed=1)
    with pytest.raises(DataError, match="maps for other tests"):
        fill_bank(subject_of(), [ReplacementTest()], PROTOCOL, PICTURES, ASIDE, tmp_path, seed=1)


def test_a_limit_keeps_other_maps_to_the_first_pairs(tmp_path: Path) -> None:
    subject = subject_of(FlatMethod)
    tests = [ErasureTest(), StabilityTest()]
    banks = fill_bank(subject, tests, PROTOCOL, PICTURES, ASIDE, tmp_path, seed=1)
    substitutes = Substitutes(banks, PROTOCOL, subject)
    chunk = chunk_of(PICTURES, [0, 1])
    found = run_chunk(chunk, subject, tests, start=5, limits={"erasure specific": 6}, substitutes=substitutes)
    pairs = {test: sorted(set(rows.pair.tolist())) for test, rows in found}
    assert pairs["erasure"] == [0, 1]
    assert pairs["erasure:blurred"] == pairs["erasure:other-0"] == [0]
    assert "erasure:network" not in pairs
    assert pairs["stability:other-0"] == [0, 1]


def test_a_protocol_without_other_pairs_sets_none_aside() -> None:
    everything = np.arange(len(PROTOCOL.genuine))
    assert len(pairs_set_aside(PROTOCOL, everything, 40, 0)) == 0

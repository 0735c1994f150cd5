from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.identify.evidential import EVIDENCE_KINDS, EvidenceKind
from whyface.train.evidential_fit import Directions, EvidentialSettings, fit_evidential_head
from whyface.train.losses import LOSS_KINDS, LossKind


def made_up_people(
    count: int = 6, photos: int = 4, size: int = 40, spread: float = 0.6, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """Photos scattered around people's directions: enrolled, their labels, other photos of the same, strangers."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((2 * count, size))

    def photo(who: int) -> NDArray[np.float32]:
        return unit(centres[who] / np.linalg.norm(centres[who]) + spread * rng.standard_normal(size) / 6)

    enrolled = np.stack([photo(who) for who in range(count) for _ in range(photos)])
    others = np.stack([photo(who) for who in range(count) for _ in range(photos)])
    strangers = np.stack([photo(who) for who in range(count, 2 * count) for _ in range(photos)])
    return enrolled, np.repeat(np.arange(count), photos).astype(np.int64), others, strangers


def unit(values: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(values / np.linalg.norm(values), np.float32)


NAMES = tuple("abcdef")


@pytest.mark.parametrize("directions", ["prototypes", "free"])
@pytest.mark.parametrize("evidence", EVIDENCE_KINDS)
@pytest.mark.parametrize("loss", LOSS_KINDS)
def test_strangers_are_less_certain_than_new_photos_of_known_people(
    directions: Directions, evidence: EvidenceKind, loss: LossKind
) -> None:
    enrolled, labels, others, strangers = made_up_people()
    settings = EvidentialSettings(loss=loss, evidence=evidence, directions=directions, epochs=60, divergence=1.0)
    head = fit_evidential_head(enrolled, labels, NAMES, settings)
    known, unknown = head(others), head(strangers)
    assert (known.probability.argmax(axis=1) == labels).all()
    assert known.uncertainty.max() < unknown.uncertainty.min()


def test_divergence_takes_evidence_from_strangers() -> None:
    enrolled, labels, _, strangers = made_up_people(spread=1.2)
    without, with_it = (
        fit_evidential_head(enrolled, labels, NAMES, EvidentialSettings(divergence=weight, directions="prototypes"))
        for weight in (0.0, 1.0)
    )
    assert with_it(strangers).uncertainty.mean() > without(strangers).uncertainty.mean()


def test_equal_input_gives_equal_heads_with_a_record() -> None:
    enrolled, labels, _, _ = made_up_people()
    one, other = (fit_evidential_head(enrolled, labels, NAMES, record={"model": "m"}) for _ in range(2))
    np.testing.assert_array_equal(one.directions, other.directions)
    assert (one.scale, one.shift) == (other.scale, other.shift)
    assert one.record["model"] == "m"
    assert (one.record["people"], one.record["photos"], one.record["people_with_two_photos_or_more"]) == (6, 24, 6)
    assert one.record["settings"]["loss"] in LOSS_KINDS


def test_prototypes_are_the_peoples_means() -> None:
    enrolled, labels, _, _ = made_up_people()
    head = fit_evidential_head(enrolled, labels, NAMES, EvidentialSettings(directions="prototypes"))
    for person in range(6):
        np.testing.assert_allclose(head.directions[person], unit(enrolled[labels == person].sum(axis=0)), atol=1e-5)


def test_published_scale_and_shift_are_kept() -> None:
    enrolled, labels, _, _ = made_up_people()
    for directions in ("prototypes", "free"):
        settings = EvidentialSettings(
            evidence="relu",
            scale=200.0,
            shift=0.0,
            epochs=3,
            directions="free" if directions == "free" else "prototypes",
        )
        head = fit_evidential_head(enrolled, labels, NAMES, settings)
        assert head.scale == pytest.approx(200)
        assert head.shift == 0


def test_people_with_one_photo_take_part() -> None:
    enrolled, labels, _, strangers = made_up_people()
    kept = np.concatenate([np.flatnonzero(labels < 3), [np.flatnonzero(labels == who)[0] for who in (3, 4, 5)]])
    settings = EvidentialSettings(directions="prototypes", divergence=1.0)
    head = fit_evidential_head(enrolled[kept], labels[kept], NAMES, settings)
    assert head.record["people_with_two_photos_or_more"] == 3
    assert head(strangers).uncertainty.min() > head(enrolled[kept]).uncertainty.mean()


def test_galleries_that_teach_nothing_are_refused() -> None:
    enrolled, labels, _, _ = made_up_people()
    one = labels == 0
    with pytest.raises(InputError, match="at least two people"):
        fit_evidential_head(enrolled[one], labels[one], ("a",))
    singles = np.arange(0, 24, 4)
    with pytest.raises(InputError, match="two photos each"):
        fit_evidential_head(enrolled[singles], labels[singles], NAMES)
    with pytest.raises(InputError, match="'f' has no photo"):
        fit_evidential_head(enrolled[labels < 5], labels[labels < 5], NAMES)
    with pytest.raises(InputError, match="indices"):
        fit_evidential_head(enrolled, labels + 1, NAMES)
    with pytest.raises(InputError, match="finite"):
        fit_evidential_head(np.full_like(enrolled, np.nan), labels, NAMES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "hinge"}, "log, digamma, mse"),
        ({"evidence": "tanh"}, "relu, exp, softplus"),
        ({"directions": "fixed"}, "prototypes"),
        ({"epochs": 0}, "one epoch"),
        ({"divergence": -1.0}, "divergence"),
        ({"scale": 200.0}, "together"),
        ({"scale": -1.0, "shift": 0.0}, "positive"),
    ],
)
def test_bad_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        EvidentialSettings(**changes)

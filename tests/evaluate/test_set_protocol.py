"""Sets of pictures: which of them are used."""

from __future__ import annotations

import pytest

from whyface.data.protocols import build_protocol
from whyface.data.video_sets import SetProtocol, evenly_spaced
from whyface.errors import DataError, InputError

PEOPLE = {"a/0": "a", "a/1": "a", "b/0": "b"}
PAIRS = [("a/0", "a/1", True, 0), ("a/0", "b/0", False, 0), ("a/1", "b/0", False, 1)]


def sets() -> SetProtocol:
    protocol = build_protocol("toy", PAIRS, PEOPLE)
    return SetProtocol(protocol, (("a/0/1", "a/0/2"), ("a/1/1",), ("b/0/1", "b/0/2", "b/0/3")))


@pytest.mark.parametrize(
    ("count", "chosen"), [(1, "d"), (2, "bf"), (3, "bdf"), (4, "aceg"), (7, "abcdefg"), (99, "abcdefg")]
)
def test_evenly_spaced(count: int, chosen: str) -> None:
    assert evenly_spaced(tuple("abcdefg"), count) == tuple(chosen)


def test_at_most() -> None:
    assert sets().count == 6
    assert sets().at_most(1).frames == (("a/0/2",), ("a/1/1",), ("b/0/2",))
    with pytest.raises(InputError, match="at least one"):
        sets().at_most(0)


def test_without_pictures() -> None:
    fewer = sets().without({"a/0/1", "b/0/3"})
    assert fewer.frames == (("a/0/2",), ("a/1/1",), ("b/0/1", "b/0/2"))
    gone = sets().without({"a/1/1"})
    # The set without pictures takes its pairs with it.
    assert gone.pairs.pictures == ("a/0", "b/0")
    assert gone.frames == (("a/0/1", "a/0/2"), ("b/0/1", "b/0/2", "b/0/3"))
    assert gone.pairs.genuine.tolist() == [False]
    with pytest.raises(DataError, match="no pair with two usable pictures is left"):
        sets().without({"a/0/1", "a/0/2", "a/1/1"})


def test_every_set_needs_pictures() -> None:
    protocol = build_protocol("toy", PAIRS, PEOPLE)
    with pytest.raises(InputError, match="every set"):
        SetProtocol(protocol, (("a",), ("b",)))
    with pytest.raises(InputError, match="every set"):
        SetProtocol(protocol, (("a",), ("b",), ()))

"""Everything that decides which words come out, in one place."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, get_args

from whyface.errors import InputError
from whyface.words.erasing import eraser_fill
from whyface.words.joint_maps import KINDS, LEAST, THRESHOLD, Kind

Identity = Literal["similarity", "topk", "threshold"]
IDENTITIES: Final[tuple[Identity, ...]] = get_args(Identity)


@dataclass(frozen=True)
class WordSettings:
    """Settings of words.

    Attributes
    ----------
    identity
        What the counterfactual map is made of: ``"similarity"`` needs no classifier and serves strangers; ``"topk"``
        and ``"threshold"`` need one, see :func:`whyface.words.identity_classes.chosen_classes`.
    k, share
        For these.
    kind
        See :func:`whyface.words.joint_maps.joint_maps`.
    anywhere
        Let a word erase what goes with it elsewhere on the face too, as published, see
        :mod:`whyface.words.word_places`.
    threshold, least
        Pixels of a joint map above the threshold are erased, and at least this share of the word's own places.
    eraser
        See :data:`whyface.words.erasing.ERASERS`.
    sensitive
        Let words about gender, age and race into sentences.
    names
        Only these attributes, present or not, learnt or not; None: those that are present, learnt and allowed.
    draws, tries
        Random erasures per word and bootstrap tries, see :mod:`whyface.words.noise_floor`.
    seed
        Of everything random.

    Raises
    ------
    InputError
        If a setting is unknown or out of range.
    """

    identity: Identity = "similarity"
    k: int = 1
    share: float = 0.4
    kind: Kind = "joint"
    anywhere: bool = False
    threshold: float = THRESHOLD
    least: float = LEAST
    eraser: str = "black"
    sensitive: bool = False
    names: tuple[str, ...] | None = None
    draws: int = 40
    tries: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        eraser_fill(self.eraser)
        if self.identity not in IDENTITIES:
            raise InputError(f"identity must be one of {', '.join(IDENTITIES)}, got {self.identity!r}")
        if self.kind not in KINDS:
            raise InputError(f"kind of map must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if not 0 <= self.threshold <= 1 or not 0 <= self.least <= 1:
            raise InputError(
                f"the joint map's threshold and the least share lie in 0..1, got {self.threshold:g} and {self.least:g}"
            )
        if self.draws < 10 or self.tries < 100:
            raise InputError(f"at least 10 draws and 100 tries are needed, got {self.draws} and {self.tries}")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        plain = asdict(self)
        plain["names"] = None if self.names is None else list(self.names)
        return plain

"""Choices that several commands offer."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from whyface.models.preprocessing import Preprocessing


class Attention(StrEnum):
    """Kinds of attention on the command line."""

    U = "u"
    P = "p"
    L = "l"


class Pixels(StrEnum):
    """What a network of the user's own wants done to pixels."""

    RAW = "raw"
    ARCFACE = "arcface"
    IMAGENET = "imagenet"

    def preprocessing(self) -> Preprocessing:
        """Return what this stands for."""
        from whyface.models.preprocessing import ARCFACE, IMAGENET, RAW  # noqa: PLC0415 - start fast

        return {Pixels.RAW: RAW, Pixels.ARCFACE: ARCFACE, Pixels.IMAGENET: IMAGENET}[self]

"""The photos that come with whyface, and the verdicts expected."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final


@dataclass(frozen=True)
class DemoPair:
    """Two of the photos, whether they show the same person, and the file name of the figure."""

    title: str
    photo_a: str
    photo_b: str
    same_person: bool
    figure: str


DEMO_PAIRS: Final = (
    DemoPair("Barack Obama, twice", "obama-portrait.jpg", "obama-speech.jpg", True, "whyface-demo-same.png"),
    DemoPair("Barack Obama and Joe Biden", "obama-portrait.jpg", "biden-portrait.jpg", False, "whyface-demo-other.png"),
)


def demo_photo(name: str) -> Path:
    """Return the path of one of the photos (see PROVENANCE.md next to them)."""
    return Path(str(resources.files("whyface"))) / "assets" / "photos" / name

"""All faces of a group photo identified, each on its own, with a warning where a name was given twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from whyface.errors import InputError
from whyface.explain.provenance import ThresholdSource
from whyface.faces.face import Face
from whyface.gallery.gallery import Gallery
from whyface.identify.identification import Identification, identify
from whyface.identify.identity_sentences import sentences, verdict_sentence
from whyface.xcos.grid import AttentionKind

GROUP_SCHEMA: Final = "whyface/group-identification/1"


@dataclass(frozen=True, eq=False)
class GroupIdentification:
    """The identifications of a photo's faces.

    Attributes
    ----------
    photo
        The photo.
    found
        One identification per face, the largest face first.
    """

    photo: str
    found: tuple[Identification, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Everybody who was named, each once, in the order of the faces."""
        return tuple(dict.fromkeys(one.name for one in self.found if one.name is not None))

    @property
    def undecided(self) -> bool:
        """Whether no face of the photo can support a verdict."""
        return all(one.undecided for one in self.found)

    def sentences(self) -> tuple[str, ...]:
        """Say who is in the photo and what to beware of; the faces' own sentences are with them."""
        nobody = sum(one.name is None for one in self.found)
        nameless = "none that could be compared" if self.undecided else "nobody whom the gallery knows"
        who = ", ".join(self.names) or nameless
        rest = f"; {nobody} without a name" if nobody and self.names else ""
        said = [f"{self.photo}: {len(self.found)} faces: {who}{rest}"]
        for name, count in Counter(one.name for one in self.found if one.name is not None).items():
            if count > 1:
                where = ", ".join(str(number) for number, one in enumerate(self.found) if one.name == name)
                said.append(f"{name} was named for {count} faces ({where}): at least {count - 1} of them must be wrong")
        said.append("The threshold's rates are those of one face: each further face is another chance for a wrong name")
        return tuple(said)

    def lines(self) -> tuple[str, ...]:
        """Return one line per face: its index and its verdict with score and threshold."""
        return tuple(f"{number}. {verdict_sentence(one)}" for number, one in enumerate(self.found))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON; ``faces`` has one identification per face."""
        return {
            "schema": GROUP_SCHEMA,
            "photo": self.photo,
            "names": list(self.names),
            "faces": [{**one.to_dict(), "sentences": list(sentences(one))} for one in self.found],
            "sentences": list(self.sentences()),
        }


def identify_group(
    gallery: Gallery,
    faces: Sequence[Face],
    *,
    threshold: float,
    source: ThresholdSource,
    k: int = 5,
    attention: AttentionKind | None = None,
    accept_poor: bool = False,
    threads: int | None = None,
) -> GroupIdentification:
    """Identify several faces of one photo, each on its own.

    Raise InputError if there are no faces, or as :func:`whyface.identify.identification.identify`.
    """
    if not faces:
        raise InputError("there are no faces to identify; give at least one")
    found = (
        identify(
            gallery,
            face,
            threshold=threshold,
            source=source,
            k=k,
            attention=attention,
            accept_poor=accept_poor,
            threads=threads,
        )
        for face in faces
    )
    return GroupIdentification(faces[0].source or "the photo", tuple(found))

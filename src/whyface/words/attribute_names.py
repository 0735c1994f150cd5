"""The attributes of the model that comes with whyface, and their phrases in sentences.

The first 40 are CelebA's (Liu et al., "Deep Learning Face Attributes in the Wild", ICCV 2015), under its names.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from whyface.errors import InputError

Group = Literal["face", "hair", "worn", "expression", "picture", "outside", "judgement", "gender", "age", "race"]

SENSITIVE_GROUPS: Final[frozenset[Group]] = frozenset({"gender", "age", "race"})
"""Words about how a person is perceived: guesses of the labelling model, left out of sentences unless requested."""

UNUSED_GROUPS: Final[frozenset[Group]] = frozenset({"judgement", "outside"})
"""Words that are left out of sentences unless requested by name: judgements of taste, and what an aligned face does not
show (a necktie lies below it, so its place on the face is a guess from suits and poses)."""


@dataclass(frozen=True)
class Attribute:
    """An attribute.

    Attributes
    ----------
    name
        CelebA's name, or ours in the same style.
    phrase
        Phrase in sentences, such as ``"bushy eyebrows"``.
    group
        Kind of word.
    is_plural
        Whether the pronoun is "them".
    """

    name: str
    phrase: str
    group: Group
    is_plural: bool = False

    @property
    def pronoun(self) -> str:
        """``"it"`` or ``"them"``."""
        return "them" if self.is_plural else "it"


CELEBA: Final = (
    Attribute("5_o_Clock_Shadow", "a five o'clock shadow", "hair"),
    Attribute("Arched_Eyebrows", "arched eyebrows", "face", True),
    Attribute("Attractive", "a handsome face", "judgement"),
    Attribute("Bags_Under_Eyes", "bags under the eyes", "face", True),
    Attribute("Bald", "a bald head", "hair"),
    Attribute("Bangs", "a fringe", "hair"),
    Attribute("Big_Lips", "full lips", "face", True),
    Attribute("Big_Nose", "a large nose", "face"),
    Attribute("Black_Hair", "black hair", "hair"),
    Attribute("Blond_Hair", "blond hair", "hair"),
    Attribute("Blurry", "blur", "picture"),
    Attribute("Brown_Hair", "brown hair", "hair"),
    Attribute("Bushy_Eyebrows", "bushy eyebrows", "face", True),
    Attribute("Chubby", "round cheeks", "face", True),
    Attribute("Double_Chin", "a double chin", "face"),
    Attribute("Eyeglasses", "glasses", "worn", True),
    Attribute("Goatee", "a goatee", "hair"),
    Attribute("Gray_Hair", "grey hair", "hair"),
    Attribute("Heavy_Makeup", "heavy make-up", "worn"),
    Attribute("High_Cheekbones", "high cheekbones", "face", True),
    Attribute("Male", "a man's look", "gender"),
    Attribute("Mouth_Slightly_Open", "an open mouth", "expression"),
    Attribute("Mustache", "a moustache", "hair"),
    Attribute("Narrow_Eyes", "narrow eyes", "face", True),
    Attribute("No_Beard", "a beardless face", "hair"),
    Attribute("Oval_Face", "an oval face", "face"),
    Attribute("Pale_Skin", "pale skin", "race"),
    Attribute("Pointy_Nose", "a pointed nose", "face"),
    Attribute("Receding_Hairline", "a receding hairline", "hair"),
    Attribute("Rosy_Cheeks", "rosy cheeks", "face", True),
    Attribute("Sideburns", "sideburns", "hair", True),
    Attribute("Smiling", "a smile", "expression"),
    Attribute("Straight_Hair", "straight hair", "hair"),
    Attribute("Wavy_Hair", "wavy hair", "hair"),
    Attribute("Wearing_Earrings", "earrings", "worn", True),
    Attribute("Wearing_Hat", "a hat", "worn"),
    Attribute("Wearing_Lipstick", "lipstick", "worn"),
    Attribute("Wearing_Necklace", "a necklace", "outside"),
    Attribute("Wearing_Necktie", "a necktie", "outside"),
    Attribute("Young", "a young look", "age"),
)

DEMOGRAPHIC: Final = (
    Attribute("Woman", "a woman's look", "gender"),
    Attribute("Race_Asian", "a look taken for Asian", "race"),
    Attribute("Race_Black", "a look taken for Black", "race"),
    Attribute("Race_Indian", "a look taken for Indian", "race"),
    Attribute("Race_Latino_Hispanic", "a look taken for Latino or Hispanic", "race"),
    Attribute("Race_Middle_Eastern", "a look taken for Middle Eastern", "race"),
    Attribute("Race_White", "a look taken for white", "race"),
    Attribute("Age_Under_30", "a look taken for under 30", "age"),
    Attribute("Age_30_To_44", "a look taken for 30 to 44", "age"),
    Attribute("Age_45_Up", "a look taken for 45 or more", "age"),
)
"""Groups by the labels of the DeepFace library, see the attribute card."""

ATTRIBUTES: Final = (*CELEBA, *DEMOGRAPHIC)
_BY_NAME: Final = {attribute.name: attribute for attribute in ATTRIBUTES}


def attribute(name: str) -> Attribute:
    """Return the attribute of an exact name; an unknown name becomes an attribute of the group ``"face"``."""
    return _BY_NAME.get(name) or Attribute(name, name.replace("_", " ").lower(), "face")


def match_names(wanted: Iterable[str], known: Sequence[str]) -> list[str]:
    """Resolve attribute names given by a user.

    Case, spaces, hyphens and underscores are ignored. Phrases such as ``"bushy eyebrows"`` or ``"a hat"`` are
    accepted, too.

    Parameters
    ----------
    wanted
        Names or phrases.
    known
        The names of the model.

    Returns
    -------
    list of str
        Names from ``known``, each once, in the order of ``wanted``.

    Raises
    ------
    InputError
        If a name is unknown; the message lists the nearest names, or all.
    """
    spelt = {_plain(name): name for name in known}
    spelt |= {_plain(attribute(name).phrase): name for name in known}
    # Articles may be left out if that is unambiguous.
    for name in known:
        words = attribute(name).phrase.split(maxsplit=1)
        if words[0] in {"a", "an"}:
            spelt.setdefault(_plain(words[1]), name)
    found = []
    for word in wanted:
        plain = _plain(word)
        if plain not in spelt:
            near = list(dict.fromkeys(spelt[key] for key in difflib.get_close_matches(plain, spelt, n=6, cutoff=0.5)))
            hint = f"did you mean {', '.join(near[:4])}?" if near else f"known: {', '.join(known)}"
            raise InputError(f"unknown attribute {word!r}; {hint}")
        found.append(spelt[plain])
    return list(dict.fromkeys(found))


def _plain(word: str) -> str:
    return "".join(letter for letter in word.lower() if letter.isalnum())

"""An identification in sentences: the verdict, the reason, the uncertainty, and caveats about the gallery."""

from __future__ import annotations

from typing import Final

from whyface.explain.sentences import distance, points
from whyface.explain.shares import ranked
from whyface.faces.regions import has_side, region_phrase
from whyface.identify.identification import Identification

NOTABLE_FPIR: Final = 0.011
"""The report warns if the expected FPIR exceeds this."""

MOST_NAMED: Final = 3

PLENTY: Final = 0.5
HARDLY_ANY: Final = 0.95
"""Most photos of known people have u below the first value and hardly any above the second (docs/studies/identify.md:
5 % of known people's clean photos are above 0.93, 95 % of strangers' above 0.99)."""


POOR_ADVICE: Final = (
    "Such a face resembles anybody's, so it was compared with nobody; give a better photo, or accept poor ones "
    "(--accept-poor)"
)


def verdict_sentence(found: Identification) -> str:
    """Return the verdict in one sentence, with the score, the threshold and its source."""
    if found.undecided:
        return f"UNDECIDED: {found.doubt}"
    best = found.best
    if found.tied:
        names = " and ".join(found.tied)
        return f"UNDECIDED: {names} have the very same score, {best.score:.4f}; is that one person under two names?"
    where = f"threshold {found.threshold:.4f} ({found.threshold_source.describe()})"
    if found.is_known:
        return f"{best.name}: score {best.score:.4f} > {where}"
    return f"NOBODY IN THE GALLERY: the best, {best.name}, has score {best.score:.4f} <= {where}"


def reason_sentence(found: Identification) -> str:
    """Return why the best candidate beats the next one, or why this cannot be said."""
    if found.gap is None:
        return f"{found.best.name} is the only person in the gallery: there is nobody else whom the face could be"
    best, other = found.candidates[:2]
    text = f"{best.name} comes before {other.name} ({best.score:.4f} and {other.score:.4f}, {distance(found.gap)} apart"
    reasons = found.reasons()
    if not reasons:
        return f"{text}); this gallery's features do not say where on the face the difference lies"
    ahead, behind = (
        [(name, share) for name, share in ranked(reasons, positive=sign) if abs(100 * share) >= 0.05]
        for sign in (True, False)
    )
    text = f"{text}; 1 point = 0.01)"
    if ahead:
        text += f", above all at {_listed(ahead)}"
    if behind:
        text += f"; {other.name} is the more alike at {_listed(behind)}"
    named = [*ahead[:MOST_NAMED], *behind[:MOST_NAMED]]
    return text + (" (left and right as seen in the picture)" if any(has_side(name) for name, _ in named) else "")


def uncertainty_sentence(found: Identification) -> str:
    """Return the value and meaning of u, or why there is none."""
    if found.uncertainty is None:
        return found.uncertainty_note
    u = f"{found.uncertainty:.2g}" if found.uncertainty < 0.01 else f"{found.uncertainty:.2f}"
    if found.uncertainty < PLENTY:
        meaning = "the model has plenty of evidence for somebody here"
    elif found.uncertainty < HARDLY_ANY:
        meaning = "the model has some evidence for somebody here, but not much"
    else:
        meaning = "the model has next to no evidence for anybody here"
    text = f"Uncertainty u = {u} (0 sure, 1 no evidence at all): {meaning}"
    if found.is_known and found.uncertainty >= HARDLY_ANY:
        return f"{text}, although the score is above the threshold; look twice"
    if not found.is_known and found.uncertainty < PLENTY:
        return f"{text}, although the score is below the threshold; look twice"
    return text


def notes(found: Identification) -> tuple[str, ...]:
    """Return caveats about this gallery."""
    said = []
    if found.doubt is not None:
        said.append(f"Accepted as asked, although {found.doubt}: poor faces resemble anybody's")
    near = [f"{one.name} ({one.score:.4f})" for one in found.candidates[1:] if one.score > found.threshold]
    if near and not found.tied:
        said.append(f"Above the threshold, too: {', '.join(near)}")
    if found.same_picture:
        said.append(f"This very picture is in the gallery, as {', '.join(found.same_picture)}: its score says nothing")
    unseen, difference = found.unseen, found.difference()
    if unseen is not None and difference is not None and unseen.any():
        said.append(
            f"{int(unseen.sum())} of the {unseen.size} places lie outside the photo and give no reasons; their part in "
            f"the difference is {points(float(difference[unseen].sum()))} points"
        )
    if found.people == 1:
        said.append(
            "One person in the gallery: this is a verification, and neither uncertainty nor shares among people "
            "mean anything"
        )
    if found.expected_fpir is not None and found.expected_fpir > NOTABLE_FPIR:
        said.append(
            f"At this threshold about {100 * found.expected_fpir:.2g} % of strangers would pass for somebody among "
            f"{found.faces} faces, 1 - (1 - FMR)^N, if comparisons were independent, and more since they are not; "
            "--fpir or --threshold raise it"
        )
    elif found.threshold_source.note:
        said.append(
            f"The threshold for {found.faces} faces follows from single comparisons of other people: take its rate as "
            "a rough one (among 660 people of FairFace, where 1 % was meant, 12 % of strangers passed)"
        )
    return tuple(said)


def sentences(found: Identification) -> tuple[str, ...]:
    """Return all sentences: verdict, reason, uncertainty, notes."""
    if found.undecided:
        return verdict_sentence(found), POOR_ADVICE
    return (verdict_sentence(found), reason_sentence(found), uncertainty_sentence(found), *notes(found))


def _listed(shares: list[tuple[str, float]]) -> str:
    parts = [f"{region_phrase(name)} ({points(share)})" for name, share in shares[:MOST_NAMED]]
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"

"""An identification in plain English, each number of which is in its JSON.

Shares are given in points: 1 point is 0.01 of the score. Left and right are as seen in the picture.
"""

from __future__ import annotations

from typing import Final

from whyface.explain.sentences import distance, points
from whyface.explain.shares import ranked
from whyface.faces.regions import REGION_PHRASES, has_side
from whyface.identify.identification import NOTABLE_FPIR, Identification

MOST_NAMED: Final = 3

PLENTY: Final = 0.5
HARDLY_ANY: Final = 0.95
"""Most photos of known people have a u below the first and hardly any one above the second (docs/studies/identify.md:
5 % of known people's clean photos lie above 0.93, 95 % of strangers' above 0.99)."""


def verdict_sentence(found: Identification) -> str:
    """Say who it is, or that it is nobody in the gallery, with score, threshold and where that comes from."""
    best = found.best
    where = f"threshold {found.threshold:.4f} ({found.threshold_source.describe()})"
    if found.is_known:
        return f"{best.name}: score {best.score:.4f} > {where}"
    return f"NOBODY IN THE GALLERY: the best, {best.name}, has score {best.score:.4f} <= {where}"


def reason_sentence(found: Identification) -> str:
    """Say why it is the best candidate rather than the next one; a text also where there is no next one or no map."""
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
    """Say what u is and means, or why there is none."""
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
    """Say what a reader must know about this gallery."""
    said = []
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
            f"The threshold for {found.faces} faces is extrapolated from single comparisons: take its rate as a "
            "rough one (among 660 faces of LFW, where 1 % was meant, 4 % of strangers passed)"
        )
    return tuple(said)


def sentences(found: Identification) -> tuple[str, ...]:
    """Put all of it together: verdict, reason, uncertainty, notes."""
    return (verdict_sentence(found), reason_sentence(found), uncertainty_sentence(found), *notes(found))


def _listed(shares: list[tuple[str, float]]) -> str:
    parts = [f"{REGION_PHRASES[name]} ({points(share)})" for name, share in shares[:MOST_NAMED]]
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"

"""The evidential uncertainty and other scores of "is this person known?", and the verdicts that follow from them.

Used by studies/strangers/study.py (needs the extra ``torch``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from studies.occlusion.conditions import CLEAN, Condition
from studies.strangers.baselines import fit_softmax, softmax_peak
from studies.strangers.open_set import OpenSetSplit
from studies.strangers.report import GROUPS
from whyface.identify.gallery_people import gallery_threshold, grid_features
from whyface.identify.identity_sentences import HARDLY_ANY
from whyface.models.entry import ModelEntry
from whyface.train.evidential_fit import EvidentialSettings, fit_evidential_head

CONDITIONS: Final = (
    CLEAN,
    Condition("free-30", 30),
    Condition("sunglasses", accessory="sunglasses"),
    Condition("scarf", accessory="scarf"),
)
LIMITS: Final = (0.5, 0.9, 0.95)
SOFTMAX_SCALES: Final = (5.0, 10.0, 20.0, 40.0)
COSINE, XCOS, SOFTMAX, TRAINED = (
    "cosine to the person's mean",
    "xCos-L, best photo",
    "softmax of cosines",
    "softmax head",
)

Scored = dict[str, dict[str, NDArray[np.float64]]]
"""Method -> group -> score of each probe, higher = known; "right": whether the best candidate is."""


def score_heads(
    heads: dict[str, EvidentialSettings], split: OpenSetSplit, grids: dict[str, dict[int, NDArray[np.float32]]]
) -> dict[str, Scored]:
    """Return condition -> method -> group -> scores, for heads and for the baselines that need no pairs."""

    def features(key: str, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        return grid_features(np.stack([grids[key][int(row)] for row in rows]))

    x, y, count = features("clean", split.enrolled), split.enrolled_labels, len(split.people)
    means = np.zeros((count, x.shape[1]))
    np.add.at(means, y, x)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    trained = fit_softmax(x, y, means)
    fitted = {name: fit_evidential_head(x, y, split.people, settings) for name, settings in heads.items()}
    found: dict[str, Scored] = {}
    for condition in CONDITIONS:
        scored: Scored = {}
        for group, rows in zip(GROUPS, (split.probes, split.strangers, split.loners), strict=True):
            probes = features(condition.key, rows)
            cosines = probes.astype(np.float64) @ means.T
            values = {COSINE: (cosines.max(axis=1), cosines.argmax(axis=1))}
            for scale in SOFTMAX_SCALES:
                values[f"{SOFTMAX} x {scale:g}"] = (softmax_peak(scale * cosines), cosines.argmax(axis=1))
            logits = trained[1] * (probes.astype(np.float64) @ trained[0].T)
            values[TRAINED] = (softmax_peak(logits), logits.argmax(axis=1))
            for name, head in fitted.items():
                belief = head(probes)
                values[name] = (-belief.uncertainty, belief.probability.argmax(axis=1))
            for name, (score, best) in values.items():
                scored.setdefault(name, {})[group] = score
                if group == "known":
                    scored[name]["right"] = best == split.probe_labels
        found[condition.key] = scored
    return found


def verdicts_of(parts: Sequence[Scored], best: str, single: float, sized: Sequence[float]) -> dict[str, Any]:
    """Count, at limits that a user would choose, who is found and how many strangers are taken for somebody."""
    ways: dict[str, tuple[Sequence[float], float | None]] = {
        "threshold of one comparison, FMR 1e-3": ([single] * len(parts), None),
        "threshold for this many faces, FPIR 1e-2": (sized, None),
    }
    for most in LIMITS:
        ways[f"threshold of one comparison, and u at most {most:g}"] = ([single] * len(parts), most)
    found: dict[str, Any] = {}
    for name, (thresholds, limit) in ways.items():
        rates = []
        for scored, threshold in zip(parts, thresholds, strict=True):
            accepted = {
                group: (scored[XCOS][group] > threshold) & (True if limit is None else -scored[best][group] <= limit)
                for group in GROUPS
            }
            right = accepted["known"] & scored[XCOS]["right"].astype(bool)
            rates.append([right.mean(), accepted["strangers"].mean(), accepted["loners"].mean()])
        means = np.mean(rates, axis=0)
        found[name] = dict(zip(("identified", "fpir_strangers", "fpir_loners"), means.tolist(), strict=True))
    return found


def accepted_but_doubted(
    parts: Sequence[Scored], best: str, entry: ModelEntry, splits: Sequence[OpenSetSplit]
) -> dict[str, list[int]]:
    """Count clean photos above the gallery's threshold, and how many of these have a u near 1, over all divisions."""
    counts = {group: [0, 0] for group in GROUPS}
    for scored, split in zip(parts, splits, strict=True):
        threshold, _ = gallery_threshold(entry, "l", len(split.enrolled))
        for group in GROUPS:
            accepted = scored[XCOS][group] > threshold
            counts[group][0] += int(accepted.sum())
            counts[group][1] += int((-scored[best][group][accepted] >= HARDLY_ANY).sum())
    return counts

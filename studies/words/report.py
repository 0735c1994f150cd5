"""The study of words as Markdown: tables, and an interpretation that follows from the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from studies.words.results import TARGETS
from whyface.words.method_comparison import WORD_KINDS

_FEWEST_FACES: Final = 100
_NAMES: Final = {
    "before": "nothing erased",
    "xcos": "xCos evidence",
    "ebp": "EBP",
    "xssab": "xSSAB",
    "words": "**words**",
    "first word": "the most certain word, chosen beforehand",
    "random": "random place",
    "random places": "random, as words",
}


def words_markdown(report: Mapping[str, Any]) -> str:
    """Return a report of ``studies/words/study.py`` as Markdown."""
    lines = [
        "# Do words say what tells two people apart?",
        "",
        f"Data: {report['dataset']}. Model: {report['settings']['model']}, threshold {report['threshold']:.4f}. Seed "
        f"{report['settings']['seed']}. Made by `{report['command']}`; all numbers in [words.json](words.json).",
        "",
        "![Similarity and AUC after erasing, measured from chance](../figures/words-study.png)",
        "",
        *_protocol(),
    ]
    if "words" in report:
        lines += _words(report["words"])
    if "comparison" in report:
        lines += _comparison(report["comparison"])
    return "\n".join(lines) + "\n"


def _protocol() -> list[str]:
    return [
        "Protocol (Chen et al., ACM TOMM 2022): in every pair of two people each word that a face "
        "has is erased in that",
        "face, and the highest score counts, never below the score as it was; genuine pairs keep "
        "theirs, twice. If words",
        "say what tells two people apart, their similarity rises and the AUC falls. Erasing anything does a little of",
        "that, and the best of several tries does more. So each row has its own chance: random "
        "places of the same areas,",
        "as many of them, with the same eraser. Intervals are 95 %, over people. Nobody in these pairs was seen by the",
        "attribute heads or the identity classifier; the zoo's threshold was measured on LFW and is "
        "not used in here but",
        "for the xCos and xSSAB maps. The rule by which `whyface words` calls a single word more than chance "
        "plays no part in",
        "these tables.",
        "",
    ]


def _words(found: Mapping[str, Any]) -> list[str]:
    arms, pairs = found["arms"], found["pairs"]
    lines = [
        "## Words, ablations, erasers, strategies",
        "",
        f"{pairs} pairs, {found['genuine']} of them genuine.",
        "",
        "| | erased, % | words a face | mean similarity | beyond chance | AUC | AUC beyond chance |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in arms.items():
        if name.startswith("random,"):
            continue
        count = row.get("words_per_face")
        lines.append(
            f"| {_name(name)} | {100 * row['area']:.1f} | {'' if count is None else f'{count:.1f}'} "
            f"| {row['mean_impostor_score']:.4f} | {_beyond(row, 'mean_minus_control', 4)} "
            f"| {row['auc']:.4f} ({_range(row['auc_interval'], 4)}) | {_beyond(row, 'auc_minus_control', 4)} |"
        )
    lines += ["", *_tpr(arms), "", *_reading(found), "", *_attributes(found["attributes"])]
    return lines


def _reading(found: Mapping[str, Any]) -> list[str]:
    arms = found["arms"]
    row, before = arms["words"], arms["before"]
    chance = arms[row["control"]]
    low, high = row["mean_minus_control_interval"]
    rise = row["mean_impostor_score"] - before["mean_impostor_score"]
    by_chance = chance["mean_impostor_score"] - before["mean_impostor_score"]
    verdict = (
        "more than chance does"
        if low > 0
        else "less than chance does"
        if high < 0
        else "no more than chance does, as far as these pairs can tell"
    )
    lines = [
        f"**Reading.** The most telling of {row['words_per_face']:.1f} words a face raises the "
        "similarity of two people by "
        f"{rise:.4f} on average, random places of the same areas by {by_chance:.4f}: {verdict} (difference "
        f"{row['mean_minus_control']:.4f}, {low:.4f} to {high:.4f}). "
        f"{found['words_that_beat_the_original_per_face']:.2f} "
        f"words a face raise it at all, and {found['random_that_beat_the_original_per_face']:.2f} of "
        "the random places.",
        f"The AUC was {before['auc']:.4f} before anything was erased and is {row['auc']:.4f} after words, "
        f"{chance['auc']:.4f} after chance. Two people are so far apart for this model that no single "
        "word brings many of "
        "them near the threshold; the AUC hardly sees what is erased, and the mean similarity is the better measure.",
    ]
    if found.get("genuine_falls"):
        falls = found["genuine_falls"]
        parts = [
            f"{_name(name)} {value['mean_fall']:.4f} ± {value['standard_error']:.4f}" for name, value in falls.items()
        ]
        lines.append(f"In genuine pairs, where what is alike is erased, the similarity falls by: {', '.join(parts)}.")
    return lines


def _attributes(rows: Mapping[str, Any]) -> list[str]:
    often = {name: row for name, row in rows.items() if row["faces"] >= _FEWEST_FACES}
    order = sorted(often, key=lambda name: -often[name]["mean_change"])
    lines = [
        "## Attribute by attribute",
        "",
        f"Impostor pairs; attributes that at least {_FEWEST_FACES} faces have (all are in the JSON). "
        "AUC: after only this "
        "word was erased wherever it is. Beats: share of these faces in which erasing it raises the "
        "score. Wins: faces in "
        "which no other word raises it more.",
        "",
        "| attribute | faces | AUC | mean change | beats, % | wins |",
        "|---|---|---|---|---|---|",
    ]
    for name in order:
        row = often[name]
        lines.append(
            f"| {name} | {row['faces']} | {row['auc']:.4f} | {row['mean_change']:+.4f} "
            f"| {100 * row['beats_original']:.0f} | {row['wins']} |"
        )
    return [*lines, ""]


def _comparison(found: Mapping[str, Any]) -> list[str]:
    lines = [
        "## Words beside other methods, at equal area",
        "",
        f"{found['pairs']} pairs, {found['genuine']} of them genuine. Every method orders the pixels of a face and the "
        "same number is erased, black: of two people first what speaks most against a match, of a "
        "genuine pair first what "
        "speaks most for it. xCos, EBP, xSSAB, the counterfactual map and the surest word have one "
        "try, and their chance "
        "is one random place. Words have as many tries as a face has words, and so has their chance. "
        "Where a word's own "
        "places are smaller than the area, the counterfactual map fills it.",
        "",
    ]
    for share, rows in found["shares"].items():
        lines += [
            f"{100 * float(share):g} % erased:",
            "",
            "| | tries | mean similarity | beyond chance | AUC | AUC beyond chance | fall in genuine pairs |",
            "|---|---|---|---|---|---|---|",
        ]
        for name, row in rows.items():
            many = name in WORD_KINDS or name == "random, best of as many"
            fall = (
                f"{row['genuine_mean_fall']:.4f} ± {row['genuine_fall_standard_error']:.4f}"
                if "genuine_mean_fall" in row
                else ""
            )
            lines.append(
                f"| {_name(name)} | {'' if name == 'before' else 'one a word' if many else '1'} "
                f"| {row['mean_impostor_score']:.4f} | {_beyond(row, 'mean_minus_control', 4)} "
                f"| {row['auc']:.4f} ({_range(row['auc_interval'], 4)}) | "
                f"{_beyond(row, 'auc_minus_control', 4)} | {fall} |"
            )
        lines += ["", *_best(rows), ""]
    return lines


def _best(rows: Mapping[str, Any]) -> list[str]:
    """Return which methods do more than chance, and which do not."""
    methods = [name for name in rows if "mean_minus_control" in rows[name]]
    beyond = [name for name in methods if rows[name]["mean_minus_control_interval"][0] > 0]
    rest = [name for name in methods if name not in beyond]
    beyond.sort(key=lambda name: -rows[name]["mean_minus_control"])
    parts = []
    if beyond:
        named = [f"{_name(name)} ({rows[name]['mean_minus_control']:+.4f})" for name in beyond]
        parts.append(f"Raise the similarity of two people more than their chance: {', '.join(named)}.")
    if rest:
        parts.append(f"Not more, as far as these pairs can tell: {', '.join(map(_name, rest))}.")
    return [f"**Reading.** {' '.join(parts)}"]


def _tpr(arms: Mapping[str, Any]) -> list[str]:
    shown = [name for name in arms if not name.startswith("random,")]
    targets = [f"{target:g}" for target in TARGETS if f"{target:g}" in arms["before"]["tpr_at_fpr"]]
    lines = [
        "TPR, %, at FPR (the published table goes below 1e-3, which so few pairs cannot show):",
        "",
        f"| | {' | '.join(targets)} |",
        f"|---|{'---|' * len(targets)}",
    ]
    for name in shown:
        values = [f"{100 * arms[name]['tpr_at_fpr'][target]:.2f}" for target in targets]
        lines.append(f"| {_name(name)} | {' | '.join(values)} |")
    return lines


def _beyond(row: Mapping[str, Any], key: str, digits: int) -> str:
    if key not in row:
        return ""
    return f"{row[key]:+.{digits}f} ({_range(row[f'{key}_interval'], digits)})"


def _range(interval: Sequence[float], digits: int) -> str:
    return f"{interval[0]:.{digits}f} to {interval[1]:.{digits}f}"


def _name(name: str) -> str:
    return _NAMES.get(name, name)

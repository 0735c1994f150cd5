"""The study of uncertainty as Markdown tables."""

from __future__ import annotations

from typing import Any, Final

CONDITION_KEYS: Final = ("clean", "free-30", "sunglasses", "scarf")
GROUPS: Final = ("known", "strangers", "loners")


def open_set_table(document: dict[str, Any]) -> str:
    """Return the rates of ``identify.json`` as Markdown tables.

    Parameters
    ----------
    document
        The document that ``studies/strangers/study.py`` writes.
    """
    report, best = document["reported_on"], document["chosen_on"]["best"]["name"]
    rates = report["rates"]
    chosen_rates = document["chosen_on"]["auroc_mean_over_conditions"]
    lines = [
        "AUROC, known people against strangers, with 95 % intervals; in brackets the mean over conditions on the "
        "people that settings were chosen on.",
        "",
        "| score | nothing covered | 30 % covered | sunglasses | scarf | rank 1, clean | found at FPIR 1 %, clean |",
        "|---|---|---|---|---|---|---|",
    ]
    baselines = [name for name in rates if not name.startswith(("free", "prototypes"))]
    heads = sorted((name for name in rates if name not in baselines), key=lambda name: -rates[name]["clean"]["auroc"])
    for name in [*baselines, *heads]:
        cells = []
        for condition in CONDITION_KEYS:
            one = rates[name][condition]
            low, high = one["auroc_interval"]
            cells.append(f"{one['auroc']:.4f} ({low:.4f}\N{EN DASH}{high:.4f})")
        clean = rates[name]["clean"]
        before = f" [{chosen_rates[name]:.4f}]" if name in chosen_rates else ""
        label = f"**u: {name}**" if name == best else name if name in baselines else f"u: {name}"
        share = f"{100 * clean['rank1']:.2f} % | {100 * clean['identified_at_fpir_1e-2']:.2f} %"
        lines.append(f"| {label}{before} | {' | '.join(cells)} | {share} |")
    lines += [
        "",
        "AUROC of the chosen u less that of each baseline, with 95 % intervals; negative: the baseline is better.",
        "",
        "| baseline | nothing covered | 30 % covered | sunglasses | scarf |",
        "|---|---|---|---|---|",
    ]
    for name, by_condition in report["best_less_baseline"].items():
        cells = []
        for condition in CONDITION_KEYS:
            one = by_condition[condition]
            low, high = one["interval"]
            cells.append(f"{one['auroc_difference']:+.4f} ({low:+.4f} to {high:+.4f})")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += [
        "",
        "What verdicts do: known people who are found; strangers who are taken for somebody (people as often "
        "photographed, people with one picture); percent. The threshold of one comparison is "
        f"{report['threshold']:.4f}, that for the first division's gallery {report['gallery_threshold']:.4f}.",
        "",
        "| verdict | nothing covered | 30 % covered | sunglasses | scarf |",
        "|---|---|---|---|---|",
    ]
    for name in report["verdicts"]["clean"]:
        cells = []
        for condition in CONDITION_KEYS:
            one = report["verdicts"][condition][name]
            parts = [100 * one[key] for key in ("identified", "fpir_strangers", "fpir_loners")]
            cells.append(f"{parts[0]:.1f}; {parts[1]:.2f}, {parts[2]:.2f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += [
        "",
        "Median u (5 % to 95 % of photos), first division:",
        "",
        "| | known | strangers | people with one picture |",
    ]
    lines.append("|---|---|---|---|")
    for condition in CONDITION_KEYS:
        groups = report["uncertainty_quantiles_5_50_95"][condition]
        cells = [
            f"{middle:.3f} ({low:.3f}\N{EN DASH}{high:.3f})" for low, middle, high in (groups[name] for name in GROUPS)
        ]
        lines.append(f"| {condition} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"

r"""Fit probabilities to a zoo model's scores on LFW, measure them on held-out people, write them into the zoo.

    python -m studies.probabilities.study --lfw lfw-aligned-112.tar --pairs lfw-pairs.txt

There are 10 folds of disjoint people (checked): each fit is on nine, and is measured on the tenth. The calibration that
is written into the zoo is fitted on all ten.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studies.probabilities.calibration import FITS, held_out_probabilities, reliability
from studies.probabilities.figure import reliability_figure
from whyface.data.pair_lists import read_lfw_pairs
from whyface.data.protocols import PairProtocol
from whyface.errors import DataError
from whyface.evaluate.scoring import score_embedder, score_grids
from whyface.explain.verdict import software_versions
from whyface.faces.pictures import open_pictures
from whyface.figures.style import save_figure
from whyface.files.integrity import write_atomic
from whyface.files.progress import progress_bar
from whyface.models.calibration import NAMES, CalibrationKind
from whyface.models.catalogue import DEFAULT_MODEL, model_entry, open_embedder, update_entry, zoo_path
from whyface.xcos.comparison import comparisons
from whyface.xcos.model import open_xcos

SHIPPED: CalibrationKind = "platt"


def check_disjoint(protocol: PairProtocol) -> None:
    """Refuse folds that share people."""
    folds: dict[str, set[int]] = {}
    for people in (protocol.people_left, protocol.people_right):
        for person, fold in zip(people.tolist(), protocol.fold.tolist(), strict=True):
            folds.setdefault(person, set()).add(fold)
    shared = sorted(person for person, numbers in folds.items() if len(numbers) > 1)
    if shared:
        raise DataError(f"{protocol.name}: {len(shared)} people are in several folds ({shared[0]}, ...)")


def per_fold(values: NDArray[np.float64], fold: NDArray[np.intp]) -> tuple[float, float]:
    """Return the mean over folds and its standard error."""
    means = np.array([values[fold == number].mean() for number in np.unique(fold)])
    return float(means.mean()), float(means.std(ddof=1) / np.sqrt(len(means)))


def main() -> None:
    """Fit every model asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lfw", type=Path, required=True, help="aligned pictures, folder or tar")
    parser.add_argument("--pairs", type=Path, required=True, help="the official pairs.txt")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--model-dir", type=Path, help="folder of models that are not part of the package")
    parser.add_argument("--zoo", type=Path, default=zoo_path(), help="zoo file to update")
    parser.add_argument("--figure", type=Path, default=Path("docs/figures/reliability.png"))
    parser.add_argument("--out", type=Path, default=Path("docs/studies/confidence.json"))
    args = parser.parse_args()

    protocol, entry = read_lfw_pairs(args.pairs), model_entry(args.model)
    check_disjoint(protocol)
    scores: dict[str, NDArray[np.float64]] = {}
    with open_pictures(args.lfw) as source, progress_bar(args.model) as progress:
        if entry.kind == "xcos":
            kinds = comparisons(open_xcos(args.model, directory=args.model_dir))
            found, _ = score_grids(kinds, source, protocol, progress=progress)
            scores |= {kind: values.astype(np.float64) for kind, values in found.items()}
        else:
            embedder = open_embedder(args.model, directory=args.model_dir)
            scores["cosine"] = score_embedder(embedder, source, protocol, progress=progress).astype(np.float64)

    genuine, truth = protocol.genuine, protocol.genuine.astype(np.float64)
    report: dict[str, Any] = {}
    shipped: dict[str, Any] = {}
    for attention, values in scores.items():
        given = {"score as it is, (s + 1) / 2": (values + 1) / 2}
        rows: dict[str, Any] = {}
        for kind, fit in FITS.items():
            given[NAMES[kind]] = held_out_probabilities(fit, values, genuine, protocol.fold)
            rows[NAMES[kind]] = {"fitted_on_all": fit(values, genuine, "LFW").to_dict()}
        results = {name: reliability(p, genuine) for name, p in given.items()}
        reference = (given[NAMES[SHIPPED]] - truth) ** 2
        for name, result in results.items():
            mean, error = per_fold((given[name] - truth) ** 2 - reference, protocol.fold)
            rows.setdefault(name, {}).update(
                asdict(result), brier_minus_platt=mean, brier_minus_platt_standard_error=error
            )
            print(attention, name, f"ECE {result.ece:.4f} Brier {result.brier:.5f} log loss {result.log_loss:.4f}")
        report[attention] = rows
        shipped[attention] = rows[NAMES[SHIPPED]]["fitted_on_all"]
        if attention == entry.default_attention:
            title = f"Can the probabilities of {args.model} be trusted?"
            subtitle = (
                f"LFW, {len(genuine)} pairs, half of them genuine; every fold measured with a fit on the other nine, "
                "which have other people. Points on the line are calibrated. Bars: 95 % intervals."
            )
            args.figure.parent.mkdir(parents=True, exist_ok=True)
            save_figure(reliability_figure(results, title=title, subtitle=subtitle), args.figure, dpi=150)
    # The curve with quality is that of studies.probabilities.evidence, which is not replaced here.
    kept = {kind: known.to_dict() for kind, known in entry.confidence.items() if known.kind == "platt-quality"}
    update_entry(args.zoo, args.model, confidence=shipped | kept)
    record = {
        "model": args.model,
        "sha256": {role: file.sha256 for role, file in entry.files.items()},
        "dataset": f"LFW, {len(genuine)} pairs, 10 folds of disjoint people",
        "command": f"python -m studies.probabilities.study --lfw ... --pairs ... --model {args.model}",
        "shipped": NAMES[SHIPPED],
        "versions": software_versions(),
        "report": report,
    }
    write_atomic(args.out, f"{json.dumps(record, indent=1)}\n".encode())


if __name__ == "__main__":
    main()

"""Summarise an evaluation again, for the pairs of people that the default model was not trained on.

    whyface evaluate --protocol cfp-fp --data cfp-aligned-112.tar --mirror --out runs/cfp-fp
    python -m studies.plug_in.unseen_people --scores runs/cfp-fp/scores.parquet \
        --people docs/studies/lfw_overlap.json --out docs/studies/evaluate/cfp-fp-unseen-xcos-mobilefacenet.json

The people are those of CFP who were left out of its training because they are or may be in LFW: their pictures were
used neither for training nor for choosing a checkpoint.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from whyface.errors import DataError
from whyface.evaluate.report import read_scores, report_document
from whyface.evaluate.summary import summarise
from whyface.files.integrity import write_atomic


def main() -> None:
    """Read scores, keep the pairs of the listed people, and write a report of the same form."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scores", type=Path, required=True, help="scores.parquet of whyface evaluate")
    parser.add_argument("--people", type=Path, required=True, help="lfw_overlap.json, whose list 'cfp' is kept")
    parser.add_argument("--out", type=Path, required=True, help="report to write")
    args = parser.parse_args()
    columns, metadata = read_scores(args.scores)
    people = [entry["person"] for entry in json.loads(args.people.read_text(encoding="utf-8"))["cfp"]]
    kept = np.isin(columns["person_left"], people) & np.isin(columns["person_right"], people)
    if not kept.any():
        raise DataError(f"{args.scores}: no pair of the {len(people)} listed people; are these scores of CFP?")
    left, right = columns["person_left"][kept], columns["person_right"][kept]
    genuine, fold = columns["genuine"][kept].astype(bool), columns["fold"][kept]
    settings = metadata["settings"]
    summaries = {
        kind: summarise(
            columns[f"score_{kind}"][kept],
            genuine,
            fold,
            left,
            right,
            replicates=settings["bootstrap_replicates"],
            seed=settings["seed"],
        )
        for kind in metadata["model"]["scores"]
    }
    about = {
        **metadata["protocol"],
        "people_kept": f"list 'cfp' of {args.people.name}: left out of the default model's training",
        "genuine_pairs": int(genuine.sum()),
        "impostor_pairs": int((~genuine).sum()),
        "pictures": len(set(columns["left"][kept]) | set(columns["right"][kept])),
        "people": len(set(left) | set(right)),
    }
    names = f"--people {args.people.name} --out {args.out.name}"
    command = f"python -m studies.plug_in.unseen_people --scores scores.parquet {names}"
    document = report_document({**metadata, "protocol": about}, summaries, command=command)
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    write_atomic(args.out, f"{text}\n".encode())
    for kind, summary in summaries.items():
        print(
            f"{kind}: accuracy {100 * summary.folds.mean:.2f} % on {len(genuine)} pairs, EER {100 * summary.eer:.2f} %"
        )


if __name__ == "__main__":
    main()

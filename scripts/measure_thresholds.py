r"""Measure a zoo model on LFW and write thresholds and accuracies into the zoo.

    python scripts/measure_thresholds.py --lfw lfw-aligned-112.tar --pairs lfw-pairs.txt \
        --model xcos-mobilefacenet --model mobilefacenet-ms1m --model-dir weights

Aligned pictures, 6,000 pairs in 10 folds, no mirror images.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from attention_figure import attention_figure
from whyface.data.pair_lists import read_lfw_pairs
from whyface.evaluate.scoring import score_embedder, score_grids, summarise_scores
from whyface.explain.verdict import software_versions
from whyface.faces.pictures import open_pictures
from whyface.figures.style import save_figure
from whyface.files.integrity import write_atomic
from whyface.files.progress import progress_bar
from whyface.models.catalogue import model_entry, open_embedder, update_entry, zoo_path
from whyface.xcos.comparison import comparisons
from whyface.xcos.model import open_xcos


def main() -> None:
    """Measure every model asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lfw", type=Path, required=True, help="aligned pictures, folder or tar")
    parser.add_argument("--pairs", type=Path, required=True, help="the official pairs.txt")
    parser.add_argument("--model", action="append", required=True, help="may be given several times")
    parser.add_argument("--model-dir", type=Path, help="folder of models that are not part of the package")
    parser.add_argument("--zoo", type=Path, default=zoo_path(), help="zoo file to update")
    parser.add_argument("--figures", type=Path, default=Path("docs/figures"), help="folder for figures")
    parser.add_argument("--out", type=Path, default=Path("docs/studies"), help="folder for the reports")
    args = parser.parse_args()

    protocol = read_lfw_pairs(args.pairs)
    dataset = f"LFW, {len(protocol.genuine)} pairs"
    with open_pictures(args.lfw) as source:
        for name in args.model:
            entry = model_entry(name)
            extra: dict[str, Any] = {}
            with progress_bar(name) as progress:
                if entry.kind == "xcos":
                    scores, means = score_grids(
                        comparisons(open_xcos(name, directory=args.model_dir)), source, protocol, progress=progress
                    )
                    report = summarise_scores(scores, protocol, dataset)
                    extra["mean_attention"] = {kind: mean.round(5).tolist() for kind, mean in means.items()}
                    drawn = {kind: mean for kind, mean in means.items() if kind != "u"}
                    figure = attention_figure(drawn, title=f"Mean attention of {name} over {dataset}")
                    args.figures.mkdir(parents=True, exist_ok=True)
                    save_figure(figure, args.figures / f"attention-{name}.png")
                else:
                    embedder = open_embedder(name, directory=args.model_dir)
                    cosine = score_embedder(embedder, source, protocol, progress=progress)
                    report = summarise_scores({"cosine": cosine}, protocol, dataset)
            results = {
                attention: {key: value for key, value in values.items() if key != "operating_points"}
                for attention, values in report.items()
            }
            update_entry(
                args.zoo,
                name,
                thresholds={attention: values["operating_points"] for attention, values in report.items()},
                results={"LFW": results, "note": "percent; 10 folds, aligned pictures, no mirror images"},
            )
            record = {
                "model": name,
                "sha256": {role: file.sha256 for role, file in entry.files.items()},
                "dataset": dataset,
                "command": "python scripts/measure_thresholds.py --lfw ... --pairs ... --model " + name,
                "versions": software_versions(),
                "report": report,
                **extra,
            }
            text = json.dumps(record, indent=1)
            write_atomic(args.out / f"lfw-{name}.json", f"{text}\n".encode())
            for attention, values in results.items():
                print(name, attention, values)


if __name__ == "__main__":
    main()

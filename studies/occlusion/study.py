r"""The occlusion study: accuracy lost when part of a face is covered, for any number of models.

    python -m studies.occlusion.study --data lfw-aligned-112.tar --pairs lfw-pairs.txt --run runs/occlusion \
        --model FC=mobilefacenet-ms1m --model xCos=xcos-mobilefacenet --model-dir weights \
        --reliability xCos=studies/reliability/xcos-mobilefacenet-reliability.safetensors --docs docs

A model is a known name, an ``.onnx`` network that returns embeddings, or the folder of your own model (per-face graph,
pair graph and ``model.json``). Scores are written to the run folder, one file per model and condition, so that an
interrupted run can be resumed, and a model that is added later takes only its own time. The first model is the baseline
of all others.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studies.occlusion.conditions import (
    PERCENTS,
    Condition,
    StudyModel,
    clean_features,
    open_study_model,
    score_condition,
    study_conditions,
)
from studies.occlusion.figure import examples_figure, occlusion_figure
from studies.occlusion.report import occlusion_document, occlusion_table, put_between_marks
from studies.occlusion.summary import ConditionResult, OcclusionSummary, Rate
from studies.reliability.cells import open_reliability
from whyface.data.covering import apply_mask
from whyface.data.pair_lists import read_lfw_pairs
from whyface.data.protocols import PairProtocol
from whyface.demo import demo_photo
from whyface.errors import DataError, InputError
from whyface.evaluate.report import read_scores, write_scores
from whyface.explain.verdict import software_versions
from whyface.faces.load import load_face
from whyface.faces.pictures import PictureSource, open_pictures
from whyface.figures.style import save_figure
from whyface.files.integrity import write_atomic
from whyface.files.parts import require_pyarrow
from whyface.files.progress import progress_bar

Scores = dict[str, dict[str, NDArray[np.float64]]]
"""By kind, then by condition."""

DEMO = "obama-portrait.jpg"


def main() -> None:
    """Compute the missing scores, then summarise and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="aligned LFW, folder or tar")
    parser.add_argument("--pairs", type=Path, required=True, help="LFW's pairs.txt")
    parser.add_argument("--run", type=Path, required=True, help="folder for scores and results")
    parser.add_argument(
        "--model", action="append", required=True, metavar="LABEL=MODEL", help="several; baseline first"
    )
    parser.add_argument(
        "--reliability", action="append", default=[], metavar="LABEL=FILE", help="reliability for one of the models"
    )
    parser.add_argument("--model-dir", type=Path, help="folder of models that are not part of the package")
    parser.add_argument("--percent", type=int, nargs="+", default=list(PERCENTS), help="shares to cover")
    parser.add_argument("--cover", choices=("one", "both"), default="one", help="one face of each pair, or both")
    parser.add_argument("--fill", choices=("black", "mean", "noise"), default="black")
    parser.add_argument("--no-accessories", action="store_true", help="free-form masks only, and no figures")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="of ONNX Runtime")
    parser.add_argument("--replicates", type=int, default=1000, help="of the bootstrap over people")
    parser.add_argument("--at", type=int, default=30, help="share at which the losses are compared")
    parser.add_argument("--draw", nargs="+", metavar="LABEL:KIND", help="lines of the figure; all but P by default")
    parser.add_argument("--docs", type=Path, help="also put table, numbers and figures into this folder")
    run(parser.parse_args())


def run(args: argparse.Namespace) -> None:
    """Run the study with these arguments."""
    require_pyarrow()
    protocol = read_lfw_pairs(args.pairs)
    conditions = study_conditions(tuple(args.percent))
    if args.no_accessories:
        conditions = tuple(condition for condition in conditions if condition.accessory is None)
    settings = {"data": args.data.name, "protocol": protocol.name, "cover": args.cover, "fill": args.fill}
    settings |= {"seed": args.seed}
    files = dict(named(text, "--reliability") for text in args.reliability)
    scores: dict[str, Scores] = {}
    about: dict[str, Any] = {}
    with open_pictures(args.data) as source:
        for text in args.model:
            label, name = named(text, "--model")
            reliability, record = open_reliability(files.pop(label)) if label in files else ({}, {})
            model = open_study_model(
                name, label, reliability=reliability, directory=args.model_dir, threads=args.threads
            )
            about[label] = {"model": model.scoring.name, "sha256": dict(model.scoring.sha256)}
            if reliability:
                about[label]["reliability"] = record
                if record.get("sha256") != about[label]["sha256"]:
                    raise InputError(f"{label}: the reliability was fitted for another model; fit it again")
            scores[label] = score_model(model, source, protocol, conditions, args.run / label, settings, about[label])
    if files:
        raise InputError(f"--reliability names {', '.join(files)}, which is not a --model")

    results, shares = sum_up(protocol, scores, f"free-{args.at}", args.replicates, args.seed)
    settings |= {"bootstrap_replicates": args.replicates, "compared_at_percent": args.at}
    document = occlusion_document(results, shares, about, settings, software_versions(), len(protocol.genuine))
    document["command"] = command_of(args)
    table = occlusion_table(results, shares, args.at)
    text = json.dumps(document, indent=1) + "\n"
    write_atomic(args.run / "occlusion.json", text.encode())
    write_atomic(args.run / "occlusion.md", table.encode())
    print(table)
    if args.no_accessories:
        return
    drawn = args.draw or [f"{label}:{kind}" for label, kinds in results.items() for kind in kinds if kind[0] != "p"]
    lines = {line: pick(results, line) for line in drawn}
    figure = occlusion_figure(lines, percents=args.percent, pairs=len(protocol.genuine), both=args.cover == "both")
    examples = examples_figure(example_faces(conditions, args.seed))
    save_figure(figure, args.run / "occlusion.png")
    if args.docs is not None:
        write_atomic(args.docs / "studies" / "occlusion.json", text.encode())
        put_between_marks(args.docs / "studies" / "occlusion.md", table)
        save_figure(figure, args.docs / "figures" / "occlusion.png")
        save_figure(examples, args.docs / "figures" / "occlusion-examples.png")


def command_of(args: argparse.Namespace) -> str:
    """Return the command without local paths."""
    models = " ".join(f'--model "{label}={Path(name).name}"' for label, name in (m.split("=", 1) for m in args.model))
    shown = " ".join(map(str, args.percent)) + (" --no-accessories" if args.no_accessories else "")
    return (
        f"python -m studies.occlusion.study --data ... --pairs ... --run ... {models} --reliability ... "
        f"--percent {shown} --cover {args.cover} --fill {args.fill} --seed {args.seed} "
        f"--replicates {args.replicates} --at {args.at}"
    )


def pick(results: dict[str, dict[str, dict[str, ConditionResult]]], line: str) -> dict[str, ConditionResult]:
    """Return the results named LABEL:KIND."""
    label, _, kind = line.rpartition(":")
    if kind not in results.get(label, {}):
        known = ", ".join(f"{name}:{own}" for name, kinds in results.items() for own in kinds)
        raise InputError(f"--draw {line}: there is no such score; known: {known}")
    return results[label][kind]


def named(text: str, option: str) -> tuple[str, str]:
    """Split LABEL=VALUE."""
    label, mark, value = text.partition("=")
    if not (label and mark and value):
        raise InputError(f"{option} takes LABEL=VALUE, got {text!r}")
    return label, value


def score_model(
    model: StudyModel,
    source: PictureSource,
    protocol: PairProtocol,
    conditions: tuple[Condition, ...],
    folder: Path,
    settings: dict[str, Any],
    about: dict[str, Any],
) -> Scores:
    """Score every condition that has no file yet, and read the others."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = json.loads(json.dumps({**settings, **about}))
    found: Scores = {kind: {} for kind in model.kinds}
    clean = None
    for condition in conditions:
        path = folder / f"{condition.key}.parquet"
        if not path.exists():
            if clean is None:
                with progress_bar(f"{model.label}: clean faces") as progress:
                    clean = clean_features(model, source, protocol, progress=progress)
            with progress_bar(f"{model.label}: {condition.key}") as progress:
                rows = score_condition(
                    model,
                    source,
                    protocol,
                    condition,
                    clean,
                    cover=settings["cover"],
                    fill=settings["fill"],
                    seed=settings["seed"],
                    progress=progress,
                )
            write_scores(path, protocol, rows, wanted)
        columns, metadata = read_scores(path)
        if metadata != wanted:
            raise DataError(f"{path}: holds scores of another model or other settings; choose another --run or label")
        for kind in model.kinds:
            found[kind][condition.key] = columns[f"score_{kind}"]
    return found


def sum_up(
    protocol: PairProtocol, scores: dict[str, Scores], at: str, replicates: int, seed: int
) -> tuple[dict[str, dict[str, dict[str, ConditionResult]]], dict[str, dict[str, dict[str, Rate]]]]:
    """Compute all results, and each score's loss relative to that of the first."""
    summary = OcclusionSummary(protocol, replicates=replicates, seed=seed)
    baseline = next(iter(next(iter(scores.values())).values()))
    results: dict[str, dict[str, dict[str, ConditionResult]]] = {}
    shares: dict[str, dict[str, dict[str, Rate]]] = {}
    total, done = sum(len(kinds) for kinds in scores.values()), 0
    with progress_bar("intervals") as progress:
        for label, kinds in scores.items():
            results[label], shares[label] = {}, {}
            for kind, values in kinds.items():
                results[label][kind] = summary.results(values)
                if values is not baseline and at in values:
                    shares[label][kind] = summary.share_of_drop(values, baseline, at)
                done += 1
                progress(done, total)
    return results, shares


def example_faces(conditions: tuple[Condition, ...], seed: int) -> dict[str, NDArray[np.uint8]]:
    """Return the demo face covered in every way."""
    face = load_face(demo_photo(DEMO)).image
    shown = {}
    for condition in conditions:
        mask = condition.mask(np.random.default_rng([seed, *condition.key.encode()]))
        shown[condition.key] = face if mask is None else apply_mask(face, mask)
    return shown


if __name__ == "__main__":
    main()

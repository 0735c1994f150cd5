r"""Measure thresholds over all pairs of a data set's faces, and write them into the list of models.

    python scripts/measure_all_pairs.py --lfw lfw-aligned-112.tar --wrong docs/studies/lfw_label_errors.json \
        --model xcos-large --model xcos-mobilefacenet --cache runs/all-pairs --out docs/studies/all_pairs.json

``--attention`` chooses other kinds than the default. Another data set of SET/.../PERSON/.../PICTURE is measured with
``--set NAME --person INDEX``, the position of the person in a picture's path.

LFW has 87 million impostor pairs. Pictures as they are, no mirror images: the scores that ``verify`` sees. Pairs that
``--wrong`` lists as label errors are left out. ``--highest N`` prints the highest impostor scores, to look at.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

from studies.all_faces import all_pairs, features_of

from whyface.evaluate.all_pairs import AllPairs, points_over_all
from whyface.explain.verdict import software_versions
from whyface.faces.pictures import open_pictures
from whyface.files.integrity import write_atomic
from whyface.gallery.kernel import GalleryFeatures
from whyface.models.catalogue import model_entry, update_entry, zoo_path
from whyface.xcos.grid import AttentionKind
from whyface.xcos.open_model import OpenedModel, open_model


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lfw", type=Path, required=True, help="aligned pictures, folder or tar: .../PERSON/PICTURE")
    parser.add_argument("--wrong", type=Path, help="list of pictures with a wrong name")
    parser.add_argument("--model", action="append", required=True, help="may be given several times")
    parser.add_argument("--attention", action="append", choices=("u", "p", "l"), help="may be given several times")
    parser.add_argument("--set", default="LFW", help="name of the data set")
    parser.add_argument("--person", type=int, default=-2, help="position of the person in a picture's path")
    parser.add_argument("--model-dir", type=Path, help="folder of models that are not part of the package")
    parser.add_argument("--cache", type=Path, required=True, help="folder for features")
    parser.add_argument("--out", type=Path, required=True, help="report to write")
    parser.add_argument(
        "--zoo", type=Path, help=f"also write thresholds into this list of models, e.g. {zoo_path().name}"
    )
    parser.add_argument("--highest", type=int, default=0, help="how many of the highest impostor scores to print")
    parser.add_argument("--replicates", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def measured(
    pairs: AllPairs, names: list[str], people: list[str], opened: OpenedModel, kind: str, args: argparse.Namespace
) -> dict[str, Any]:
    """Return the operating points over all pairs, and write them into the list of models if asked."""
    dataset = f"{args.set}, all pairs of {len(names):,} pictures"
    points = points_over_all(pairs, dataset=dataset, replicates=args.replicates, seed=args.seed)
    for one, (first, second) in zip(pairs.high[: args.highest], pairs.high_faces, strict=False):
        print(f"{one:.4f} {names[first].split('/')[-1]} {names[second].split('/')[-1]}")
    for point in points:
        print(opened.name, kind, point.name, round(point.threshold, 4), f"FNMR {point.fnmr:.4f}", point.fmr_interval)
    if args.zoo is not None and opened.entry is not None:
        # As it is now: another kind may have been written since the model was opened.
        entry = model_entry(opened.name, args.zoo)
        points_of = {key: [point.to_dict() for point in value] for key, value in entry.thresholds.items()}
        others = [point for point in points_of.get(kind, []) if point["name"] == "EER"]
        points_of[kind] = [*others, *(point.to_dict() for point in points)]
        update_entry(args.zoo, opened.name, thresholds=points_of)
    culprits = Counter(people[face] for face in pairs.high_faces[: pairs.impostors // 10_000].ravel())
    return {
        "genuine_pairs": len(pairs.genuine),
        "impostor_pairs": pairs.impostors,
        "points": [point.to_dict() for point in points],
        "people_in_most_of_the_highest_1e-4": dict(culprits.most_common(10)),
    }


def main() -> None:
    """Measure every model asked for."""
    args = arguments()
    wrong = [] if args.wrong is None else json.loads(args.wrong.read_text(encoding="utf-8"))["pictures"]
    left_out = {entry["picture"] for entry in wrong}
    with open_pictures(args.lfw) as source:
        every = [name for name in source.names() if name.endswith(".jpg")]
    kept = [row for row, name in enumerate(every) if "/".join(name.split("/")[-2:]) not in left_out]
    names = [every[row] for row in kept]
    people = [name.split("/")[args.person] for name in names]
    report: dict[str, Any] = {
        "pictures": len(names),
        "people": len(set(people)),
        "left_out": sorted(left_out),
        "software": software_versions(),
        "settings": {"replicates": args.replicates, "seed": args.seed, "mirror": False},
        "models": {},
    }
    for name in args.model:
        opened = open_model(name, directory=args.model_dir, threads=args.threads)
        model = GalleryFeatures(opened.model)
        features = features_of(model, args.lfw, every, args.cache)[kept]
        kinds: list[AttentionKind | None] = args.attention or [model.default_kind if model.kinds else None]
        for kind in kinds if model.kinds else [None]:
            pairs = all_pairs(model, features, people, kind, args.threads)
            report["models"].setdefault(opened.name, {"sha256": model.sha256})[kind or "cosine"] = measured(
                pairs, names, people, opened, kind or "cosine", args
            )
    write_atomic(args.out, (json.dumps(report, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()

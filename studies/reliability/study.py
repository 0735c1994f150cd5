r"""Fit the per-cell reliability of an xCos model on covered training faces, and check it on held-out people.

    python -m studies.reliability.study --model xcos-mobilefacenet --cfp cfp-aligned-112.tar \
        --glint glint24-aligned-112.tar --overlap docs/studies/lfw_overlap.json \
        --out studies/reliability/xcos-mobilefacenet-reliability.safetensors

The network is unchanged; nobody in LFW (or in the demo) is used for the fit. Needs the extra ``torch``, but only for
the list of training people.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studies.occlusion.conditions import RELIABLE, StudyModel, open_study_model
from studies.reliability.cells import cell_statistics, save_reliability
from studies.reliability.fitting import FitSettings, fit_reliability
from whyface.data.covering import apply_mask
from whyface.data.masks import free_form_mask
from whyface.errors import ModelError
from whyface.evaluate.rates import auc, equal_error
from whyface.explain.verdict import software_versions
from whyface.faces.pictures import open_pictures
from whyface.files.progress import progress_bar
from whyface.train.corpus import people_left_out
from whyface.xcos.model import XcosModel

Pictures = NDArray[np.uint8]
BATCH = 64


def main() -> None:
    """Read and cover faces, fit, check, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="xcos-mobilefacenet", help="known xCos model, or folder of your own")
    parser.add_argument("--cfp", type=Path, required=True, help="aligned CFP, folder or tar")
    parser.add_argument("--glint", type=Path, required=True, help="aligned glint24, folder or tar")
    parser.add_argument("--overlap", type=Path, required=True, help="report of lfw_overlap.py")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--masks", type=int, default=4, help="masks per picture")
    parser.add_argument("--coverage", type=float, nargs=2, default=(0.02, 0.65), metavar=("LEAST", "MOST"))
    parser.add_argument("--per-person", type=int, default=60, help="pictures of each person of glint24")
    parser.add_argument("--held-out", type=int, default=20, help="CFP people to check on (as train_default.py)")
    parser.add_argument("--steps", type=int, default=FitSettings.steps)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    model = open_study_model(args.model)
    method = model.scoring.model
    if not isinstance(method, XcosModel):
        raise ModelError(f"{args.model}: has no grid, so there are no cells whose reliability could be fitted")
    pictures, people = read_faces(args.cfp, args.glint, people_left_out(args.overlap), args.per_person)
    held_out = choose_people(people, args.held_out, args.seed)
    rng = np.random.default_rng(args.seed)
    grids = [map_faces(model, pictures, "clean faces")]
    for number in range(args.masks):
        shares = rng.uniform(args.coverage[0], args.coverage[1], len(pictures))
        grids.append(map_faces(model, cover(pictures, shares, rng), f"masks {number + 1} of {args.masks}"))
    clean, covered = grids[0][~held_out], np.stack([faces[~held_out] for faces in grids[1:]])

    statistics = cell_statistics(clean)
    fitted, fits = {}, {}
    for kind in method.attentions:
        with progress_bar(f"fit {kind}") as progress:
            fitted[kind], fits[kind] = fit_reliability(
                clean,
                covered,
                people[~held_out],
                lambda a, b, kind=kind: method.compare_grids(a, b, kind).attention,  # type: ignore[misc]
                statistics=statistics,
                settings=FitSettings(steps=args.steps, seed=args.seed),
                progress=progress,
            )
    checked = StudyModel(model.label, model.scoring, fitted)
    some = pictures[held_out]
    check = {
        f"{percent} %": verification(
            checked,
            grids[0][held_out],
            map_faces(model, cover(some, np.full(len(some), percent / 100), rng), f"check {percent} %"),
            people[held_out],
        )
        for percent in (0, 30, 50)
    }
    record = {
        "model": model.scoring.name,
        "sha256": dict(model.scoring.sha256),
        "data": {
            "fitted_on": f"{int((~held_out).sum())} pictures of {len(set(people[~held_out]))} people, CFP and glint24",
            "masks_per_picture": args.masks,
            "coverage": list(args.coverage),
            "checked_on": f"{len(some)} pictures of {len(set(people[held_out]))} CFP people",
        },
        "fits": fits,
        "check": check,
        "command": f"python -m studies.reliability.study --model {Path(args.model).name} ... --seed {args.seed}",
        "versions": software_versions(),
    }
    save_reliability(args.out, fitted, record)
    for share, rows in check.items():
        print(share, rows)


def read_faces(cfp: Path, glint: Path, left_out: frozenset[str], per_person: int) -> tuple[Pictures, NDArray[np.str_]]:
    """Read frontal CFP faces and some of glint24, (N, 112, 112, 3), and the person in each."""
    pictures: list[Pictures] = []
    people: list[str] = []
    for path, prefix, part in ((cfp, "cfp", 2), (glint, "glint", 1)):
        count: dict[str, int] = {}
        with open_pictures(path) as source:
            for name in source.names():
                person = f"{prefix}/{name.split('/')[part]}"
                count[person] = count.get(person, 0) + 1
                if person in left_out or "/profile/" in name or count[person] > per_person:
                    continue
                pictures.append(source.read(name))
                people.append(person)
    return np.stack(pictures), np.array(people)


def choose_people(people: NDArray[np.str_], count: int, seed: int) -> NDArray[np.bool_]:
    """Return which pictures show held-out people; the same as in training for the same seed."""
    candidates = sorted({person for person in people.tolist() if person.startswith("cfp/")})
    return np.isin(people, np.random.default_rng(seed).choice(candidates, count, replace=False))


def cover(pictures: Pictures, shares: NDArray[np.float64], rng: np.random.Generator) -> Pictures:
    """Cover every picture with its own mask."""
    pairs = zip(pictures, shares, strict=True)
    return np.stack([apply_mask(picture, free_form_mask(coverage=share, rng=rng)) for picture, share in pairs])


def map_faces(model: StudyModel, pictures: Pictures, what: str) -> NDArray[np.float32]:
    """Return the grids of pictures (N, 112, 112, 3)."""
    parts = []
    with progress_bar(what) as progress:
        for start in range(0, len(pictures), BATCH):
            batch = np.ascontiguousarray(pictures[start : start + BATCH].transpose(0, 3, 1, 2))
            parts.append(model.features(batch))
            progress(min(start + BATCH, len(pictures)), len(pictures))
    return np.concatenate(parts)


def verification(
    model: StudyModel, clean: NDArray[np.float32], covered: NDArray[np.float32], people: NDArray[np.str_]
) -> dict[str, Any]:
    """Compare every covered picture with every other clean one: EER and AUC in percent, by score."""
    first, second = np.nonzero(~np.eye(len(people), dtype=bool))
    genuine = people[first] == people[second]
    scores = model.compare(covered[first], clean[second])
    order = sorted(scores, key=lambda kind: (kind.removesuffix(RELIABLE), kind))
    return {
        kind: {
            "eer": round(100 * equal_error(scores[kind], genuine).rate, 3),
            "auc": round(100 * auc(scores[kind], genuine), 4),
        }
        for kind in order
    }


if __name__ == "__main__":
    main()

r"""Groups on CFP, beside dlib's own, of people who look alike, and of faces made worse; nothing is chosen here.

    python -m studies.clusters.other_sets --chosen docs/studies/clusters.json --lfw lfw-aligned-112.tar \
        --wrong docs/studies/lfw_label_errors.json --cfp cfp-aligned-112.tar --people docs/studies/lfw_overlap.json \
        --dlib dlib.npz --cache runs/clusters --out docs/studies/clusters-other.json

Settings are those that ``studies.clusters.study`` chose; the groups of the parts on likeness and on poor faces are
made with those of ``whyface cluster``. dlib's groups come from ``studies.clusters.dlib_faces``.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from studies.all_faces import features_of
from studies.clusters.study import FC, LEAST, WAYS, Faces, measured
from whyface.data.degradations import Picture, blur, motion_blur, shrink
from whyface.explain.trust import doubt_about_face
from whyface.explain.verdict import software_versions
from whyface.faces.load import load_face
from whyface.faces.pictures import open_pictures
from whyface.files.integrity import write_atomic
from whyface.files.progress import progress_bar
from whyface.gallery.grouping import Grouping, group_faces, mean_between
from whyface.gallery.kernel import GalleryFeatures
from whyface.gallery.neighbours import find_neighbours
from whyface.models.catalogue import DEFAULT_MODEL, model_entry
from whyface.xcos.open_model import open_model

SIBLINGS: Final = (
    *(("Serena_Williams", "Venus_Williams"), ("George_W_Bush", "Jeb_Bush"), ("Luke_Wilson", "Owen_Wilson")),
    *(("Kurt_Busch", "Kyle_Busch"), ("Ashley_Olsen", "Mary-Kate_Olsen"), ("Janet_Jackson", "Michael_Jackson")),
    *(("Qusai_Hussein", "Uday_Hussein"), ("Michael_Schumacher", "Ralf_Schumacher"), ("Paris_Hilton", "Nicky_Hilton")),
    *(("Hilary_Duff", "Haylie_Duff"), ("Charlie_Sheen", "Emilio_Estevez"), ("Penelope_Cruz", "Monica_Cruz")),
    *(("Julia_Roberts", "Eric_Roberts"), ("John_Cusack", "Joan_Cusack"), ("Peyton_Manning", "Eli_Manning")),
    *(
        ("Vitali_Klitschko", "Wladimir_Klitschko"),
        ("Jelena_Dokic", "Savo_Dokic"),
        ("Arantxa_Sanchez-Vicario", "Emilio_Sanchez"),
    ),
    *(("George_HW_Bush", "George_W_Bush"), ("Martin_Sheen", "Charlie_Sheen"), ("Kate_Hudson", "Goldie_Hawn")),
)
"""Brothers and sisters, and at the end parents and children, who may be in LFW."""

WORSE: Final[dict[str, Callable[[Picture], Picture]]] = {
    "blur, sigma 1": lambda face: blur(face, 1),
    "blur, sigma 1.5": lambda face: blur(face, 1.5),
    "blur, sigma 2": lambda face: blur(face, 2),
    "blur, sigma 4": lambda face: blur(face, 4),
    "32 x 32 pixels": lambda face: shrink(face, 32),
    "16 x 16 pixels": lambda face: shrink(face, 16),
    "moved by 11 pixels": lambda face: motion_blur(face, 11, 0.5),
    "moved by 21 pixels": lambda face: motion_blur(face, 21, 0.5),
}

Floats = NDArray[np.float32]


class Set:
    """The faces of a file, as both models see them."""

    def __init__(self, path: Path, cache: Path, models: dict[str, GalleryFeatures]) -> None:
        with open_pictures(path) as source:
            self.names = [name for name in source.names() if name.endswith((".jpg", ".png"))]
        self.path = path
        self.features = {name: features_of(model, path, self.names, cache) for name, model in models.items()}
        self._models = models

    def faces(self, kept: NDArray[np.bool_], people: list[str]) -> Faces:
        """Return some of the faces with their neighbours."""
        found = {}
        for name, model in self._models.items():
            features = self.features[name][kept]
            layout = model.layout(features.shape[1:], "float32")
            records = model.records(layout, 0, features)
            found[name] = (records, layout, find_neighbours(records, layout, LEAST, threads=1))
        records, layout, neighbours = found[DEFAULT_MODEL]
        return Faces(people, records, layout, neighbours, found[FC][2])


def by_every_way(faces: Faces, chosen: dict[str, Any]) -> dict[str, Any]:
    """Group by every way of the study, with the setting that it chose."""
    found = {}
    for name, (way, _) in WAYS.items():
        found[name] = measured(faces.people, way(faces, *chosen[name]["setting"]))
        print(name, found[name], flush=True)
    return found


def grouped(features: Floats, model: GalleryFeatures) -> Grouping:
    """Group as ``whyface cluster`` does."""
    entry = model_entry(DEFAULT_MODEL)
    tie, mean = (entry.operating_point(model.default_kind, fmr=fmr).threshold for fmr in (1e-5, 1e-4))
    layout = model.layout(features.shape[1:], "float32")
    records = model.records(layout, 0, features)
    neighbours = find_neighbours(records, layout, tie, threads=1)
    return group_faces(neighbours, mean_between(records, layout), threshold=tie, least_mean=mean)


def alike(grouping: Grouping, people: list[str]) -> dict[str, Any]:
    """Report the groups that hold more than one name, and what is known of siblings."""
    of = Counter(people)
    members: dict[int, Counter[str]] = {}
    for group, person in zip(grouping.groups.tolist(), people, strict=True):
        members.setdefault(group, Counter())[person] += 1
    mixed = {group: names for group, names in members.items() if len(names) > 1}
    joins = [
        {
            "people": [people[join.face], people[join.other]],
            "score": round(join.score, 4),
            "mean": round(join.mean, 4),
            "pictures": [of[people[join.face]], of[people[join.other]]],
        }
        for join in grouping.joins
        if people[join.face] != people[join.other]
    ]
    of_person: dict[str, set[int]] = {}
    for group, person in zip(grouping.groups.tolist(), people, strict=True):
        of_person.setdefault(person, set()).add(group)
    return {
        "groups": len(members),
        "groups_with_several_names": len(mixed),
        "faces_in_a_group_of_mostly_others": sum(sum(names.values()) - max(names.values()) for names in mixed.values()),
        "joins_of_two_names": joins,
        "relatives": [
            {
                "people": [one, other],
                "pictures": [of[one], of[other]],
                "in_one_group": bool(of_person[one] & of_person[other]),
            }
            for one, other in SIBLINGS
            if one in of and other in of
        ],
    }


def made_worse(
    model: GalleryFeatures, lfw: Set, people: list[str], kept: NDArray[np.bool_], seed: int
) -> dict[str, Any]:
    """Make some pictures of people who have others worse, and see with whom they end up."""
    rng = np.random.default_rng(seed)
    counts = Counter(person for person, good in zip(people, kept.tolist(), strict=True) if good)
    able = [row for row in np.flatnonzero(kept).tolist() if counts[people[row]] > 1]
    sample = rng.permutation(able)[:800].tolist()
    kinds = list(WORSE)
    crops, doubts, kind_of = [], [], []
    with open_pictures(lfw.path) as source, progress_bar("making faces worse") as progress:
        for done, row in enumerate(sample):
            name = kinds[done % len(kinds)]
            worse = WORSE[name](source.read(lfw.names[row]))
            crops.append(worse)
            doubts.append(doubt_about_face(load_face(worse, aligned=True)) is not None)
            kind_of.append(name)
            progress(done + 1, len(sample))
    parts = [np.stack(crops[start : start + 50]).transpose(0, 3, 1, 2) for start in range(0, len(crops), 50)]
    features = np.concatenate([model.features(np.ascontiguousarray(part)) for part in parts])
    rest = kept.copy()
    rest[sample] = False
    others = [person for person, good in zip(people, rest.tolist(), strict=True) if good]
    poor = np.array(doubts)
    found: dict[str, Any] = {}
    for title, used in (("as whyface cluster does", ~poor), ("with --accept-poor", np.ones(len(poor), bool))):
        grouping = grouped(np.concatenate([lfw.features[DEFAULT_MODEL][rest], features[used]]), model)
        groups = grouping.groups.tolist()
        names: dict[int, Counter[str]] = {}
        for group, person in zip(groups, others, strict=False):
            names.setdefault(group, Counter())[person] += 1
        copies = dict(zip(np.flatnonzero(used).tolist(), groups[len(others) :], strict=True))
        size = Counter(groups)
        rows = {}
        for name in kinds:
            mine = [number for number in range(len(sample)) if kind_of[number] == name]
            ends: Counter[str] = Counter()
            for number in mine:
                own = people[sample[number]]
                if number not in copies:
                    ends["undecided"] += 1
                elif size[copies[number]] == 1:
                    ends["alone"] += 1
                elif copies[number] not in names:
                    ends["with other poor pictures only"] += 1
                else:
                    ends["right person" if names[copies[number]].most_common(1)[0][0] == own else "wrong person"] += 1
            rows[name] = {"pictures": len(mine), **dict(ends)}
        found[title] = rows
    return found


def dlib_groups(path: Path, faces: Set, chosen: dict[str, Any]) -> dict[str, Any]:
    """Measure dlib's own groups, and every way of the study on the same pictures."""
    with np.load(path) as kept:
        names, found = kept["names"].tolist(), kept["found"]
        labels = {key.removeprefix("groups_"): kept[key] for key in kept.files if key.startswith("groups_")}
    people = [name.split("/")[-2] for name in names]
    result: dict[str, Any] = {f"dlib, {key}": measured(people, value) for key, value in labels.items()}
    theirs = {name.split("/")[-1] for name in names}
    kept_here = np.array([name.split("/")[-1] in theirs for name in faces.names])
    here = [name.split("/")[-2] for name, good in zip(faces.names, kept_here.tolist(), strict=True) if good]
    result |= by_every_way(faces.faces(kept_here, here), chosen)
    return {
        "pictures": len(names),
        "people": len(set(people)),
        "pictures_of_ours": int(kept_here.sum()),
        "dlib_detector_found": round(float(found.mean()), 4),
        "ways": result,
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("chosen", "lfw", "wrong", "cfp", "people", "cache", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("dlib", "model-dir"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    chosen = json.loads(args.chosen.read_text(encoding="utf-8"))["ways"]
    models = {
        name: GalleryFeatures(open_model(name, directory=args.model_dir, threads=1).model)
        for name in (DEFAULT_MODEL, FC)
    }
    record: dict[str, Any] = {
        "command": "python -m studies.clusters.other_sets --chosen ... --lfw ... --wrong ... --cfp ... --people ... "
        "--dlib ... --cache ...",
        "models": [DEFAULT_MODEL, FC],
        "seed": args.seed,
        "versions": software_versions(),
    }

    def keep(part: str, found: dict[str, Any]) -> None:
        record[part] = found
        write_atomic(args.out, f"{json.dumps(record, indent=1)}\n".encode())

    cfp = Set(args.cfp, args.cache / "cfp" / args.cfp.stem, models)
    people = [name.split("/")[2] for name in cfp.names]
    unseen = {one["person"] for one in json.loads(args.people.read_text(encoding="utf-8"))["cfp"]}
    for title, kept in (
        ("cfp", np.ones(len(people), bool)),
        ("cfp unseen", np.isin(people, list(unseen))),
        ("cfp unseen, frontal", np.isin(people, list(unseen)) & np.array(["/frontal/" in name for name in cfp.names])),
    ):
        of = [person for person, good in zip(people, kept.tolist(), strict=True) if good]
        keep(title, {"faces": len(of), "people": len(set(of)), "ways": by_every_way(cfp.faces(kept, of), chosen)})
    lfw = Set(args.lfw, args.cache / "lfw" / args.lfw.stem, models)
    wrong = {one["picture"] for one in json.loads(args.wrong.read_text(encoding="utf-8"))["pictures"]}
    people = [name.split("/")[1] for name in lfw.names]
    kept = np.array(["/".join(name.split("/")[-2:]) not in wrong for name in lfw.names])
    model = models[DEFAULT_MODEL]
    named = [person for person, good in zip(people, kept.tolist(), strict=True) if good]
    keep("alike, lfw", alike(grouped(lfw.features[DEFAULT_MODEL][kept], model), named))
    keep("made worse, lfw", made_worse(model, lfw, people, kept, args.seed))
    if args.dlib is not None:
        keep("dlib, lfw", dlib_groups(args.dlib, lfw, chosen))


if __name__ == "__main__":
    main()

r"""Error rates by group of people, over all pairs of LFW and FairFace, and where false matches carry their weight.

    python -m studies.groups --lfw lfw-aligned-112.tar --attributes lfw-attributes.csv \
        --wrong docs/studies/lfw_label_errors.json --fairface fairface-aligned-112.tar --labels fairface-val.csv \
        --cache FOLDER --out docs/studies/groups.json

LFW's groups are another model's opinion of each picture; a person has what most of their pictures have, and the median
age. FairFace's are a crowd's, one picture a person, so that it has strangers only. The threshold is the model's
default, which was measured over all pairs of LFW. ``whyface audit`` measures the London set.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from studies.all_faces import all_pairs, features_of
from whyface.evaluate.all_pairs import AllPairs
from whyface.evaluate.bootstrap import percentile_interval
from whyface.evaluate.group_rates import FEWEST_FALSE, gini, max_over_geometric_mean, place_differences
from whyface.evaluate.groups import GroupRate
from whyface.evaluate.intervals import people_wilson, wilson
from whyface.explain.trust import doubt_about_face
from whyface.explain.verdict import software_versions
from whyface.faces.load import load_face
from whyface.faces.pictures import open_pictures
from whyface.files.integrity import write_atomic
from whyface.files.progress import progress_bar
from whyface.gallery.kernel import GalleryFeatures
from whyface.models.catalogue import DEFAULT_MODEL, FAST_MODEL
from whyface.xcos.open_model import OpenedModel, open_model

SMALLEST: Final = 20
SAMPLE: Final = 4000
MOST_FALSE: Final = 3000
AGES: Final = {"03-Sep": "3-9", "Oct-19": "10-19", "more than 70": "70 and older"}
"""Two age groups of FairFace's table were taken for dates by a spreadsheet."""
CHILDREN: Final = ("0-2", "3-9")

Labels = Mapping[str, NDArray[np.str_]]
Numbers = NDArray[np.intp]


def rate_among(people: Numbers, faces: NDArray[np.bool_], first: Numbers, second: Numbers) -> GroupRate:
    """Return the FMR among all pairs of strangers of some faces.

    The interval is that of :func:`~whyface.evaluate.intervals.people_wilson`, computed from counts, since the pairs are
    too many to be listed.

    Parameters
    ----------
    people
        The person in each face, (N,), numbered from 0.
    faces
        Which faces belong to the group, (N,).
    first, second
        The two faces of each false match, of any group, (M,) each.
    """
    inside = faces[first] & faces[second]
    a, b = people[first[inside]], people[second[inside]]
    count = int(people.max()) + 1
    of = np.bincount(people[faces], minlength=count).astype(np.float64)
    total = (of.sum() ** 2 - (of**2).sum()) / 2
    errors, present = len(a), int((of > 0).sum())
    if total == 0:
        return GroupRate(0, 0, present, None, None)
    rate = errors / total
    if errors == 0:
        return GroupRate(0, int(total), present, 0.0, wilson(0, total))
    each = np.bincount(a, minlength=count) + np.bincount(b, minlength=count) - rate * of * (of.sum() - of)
    couples, seen = np.unique(np.minimum(a, b) * count + np.maximum(a, b), return_counts=True)
    pairs = of[couples // count] * of[couples % count]
    # Over all couples: E^2 - 2 r E N + r^2 N^2; E is 0 for most of them.
    squared = ((of**2).sum() ** 2 - (of**4).sum()) / 2
    per_couple = (seen**2 - 2 * rate * seen * pairs).sum() + rate**2 * squared
    variance = ((each**2).sum() - per_couple) / total**2
    independent = rate * (1 - rate) / total
    effective = total * min(1.0, independent / variance) if variance > 0 else total
    return GroupRate(errors, int(total), present, rate, wilson(rate * effective, effective))


def majority(values: list[str]) -> str:
    """Return the most frequent of several labels, the first in the alphabet of equals."""
    counts = Counter(values)
    return min(counts, key=lambda value: (-counts[value], value)) if values else ""


def lfw_labels(attributes: Path, names: list[str]) -> Labels:
    """Return race, gender and age of the person in each picture, by another model."""
    rows: dict[str, list[dict[str, str]]] = defaultdict(list)
    with attributes.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            rows[row["name"].rsplit("_", 1)[0]].append(row)
    found: dict[str, dict[str, str]] = {}
    for person, mine in rows.items():
        ages = [float(row["df_age"]) for row in mine if row["df_age"]]
        age = float(np.median(ages)) if ages else float("nan")
        bands = ((30, "under 30"), (55, "30 to 54"), (200, "55 and older"))
        found[person] = {
            "race": majority([row["df_race"] for row in mine if row["df_race"]]),
            "gender": majority([row["df_gender"].lower() for row in mine if row["df_gender"]]),
            "age": next((name for end, name in bands if age < end), ""),
        }
    people = [name.split("/")[-2] for name in names]
    return _columns([found.get(person, {}) for person in people])


def fairface_labels(table: Path, names: list[str]) -> Labels:
    """Return race, gender and age of each picture, by a crowd."""
    with table.open(encoding="utf-8", newline="") as file:
        rows = {row["file"].split("/")[-1]: row for row in csv.DictReader(file)}
    found = []
    for name in names:
        row = rows.get(name.split("/")[-1], {})
        age = AGES.get(row.get("age", ""), row.get("age", ""))
        found.append(
            {
                "race": row.get("race", "").replace("_", " "),
                "gender": row.get("gender", "").lower(),
                "age": age,
                "children": "" if not age else "children up to 9" if age in CHILDREN else "others",
            }
        )
    return _columns(found)


def _columns(rows: list[dict[str, str]]) -> Labels:
    names = sorted({name for row in rows for name in row})
    return {name: np.array([row.get(name, "") for row in rows], np.str_) for name in names}


def crossed(labels: Labels, names: str) -> NDArray[np.str_]:
    """Return the labels of one column, or of the crossing of several, with commas between."""
    columns = [labels[name] for name in names.split(",")]
    joined = columns[0]
    for column in columns[1:]:
        joined = np.char.add(np.char.add(joined, ", "), column)
    return np.where(np.any([column == "" for column in columns], axis=0), "", joined)


def measure(
    pairs: AllPairs,
    labels: Labels,
    by: list[str],
    threshold: float,
    maps: Callable[[Numbers, Numbers], NDArray[np.float32]],
    replicates: int,
    seed: int,
) -> dict[str, Any]:
    """Return the rates of all groups of several columns, how far they differ, and the places of false matches."""
    end = pairs.matching(threshold)
    first, second = (pairs.high_faces[:end, side].astype(np.intp) for side in (0, 1))
    everyone = np.ones(len(pairs.people), np.bool_)
    rng = np.random.default_rng(seed)
    left, right = rng.integers(len(pairs.people), size=(2, SAMPLE))
    strangers = pairs.people[left] != pairs.people[right]
    left, right = left[strangers], right[strangers]
    usual = maps(left, right)
    result: dict[str, Any] = {
        "threshold": threshold,
        "faces": len(pairs.people),
        "people": int(pairs.people.max()) + 1,
        "fmr": rate_among(pairs.people, everyone, first, second).to_dict(),
    }
    if len(pairs.genuine):
        result["fnmr"] = _missed(pairs, everyone, threshold)
    for names in by:
        label = crossed(labels, names)
        sizes = {name: len(np.unique(pairs.people[label == name])) for name in np.unique(label).tolist() if name}
        rows: list[dict[str, Any]] = []
        kept = sorted((name for name in sizes if sizes[name] >= SMALLEST), key=lambda name: -sizes[name])
        for name in kept:
            mine = label == name
            row = {"group": name, "people": sizes[name], "faces": int(mine.sum())}
            row["fmr"] = rate_among(pairs.people, mine, first, second).to_dict()
            if len(pairs.genuine):
                row["fnmr"] = _missed(pairs, mine, threshold)
            inside = np.flatnonzero(mine[first] & mine[second])
            if len(inside) >= FEWEST_FALSE:
                drawn = rng.permutation(inside)[:MOST_FALSE]
                shares = np.concatenate([maps(first[drawn], second[drawn]), usual])
                people_a = np.concatenate([pairs.people[first[drawn]], pairs.people[left]])
                people_b = np.concatenate([pairs.people[second[drawn]], pairs.people[right]])
                false = np.arange(len(shares)) < len(drawn)
                ends = place_differences(shares, people_a, people_b, false, ~false, replicates=200, seed=seed)
                row["places"] = {
                    "false_matches": len(drawn),
                    "strangers": len(usual),
                    **{
                        key: np.round(end, 5).tolist()
                        for key, end in zip(("difference", "low", "high"), ends, strict=True)
                    },
                }
            rows.append(row)
        result[names] = {
            "groups": rows,
            "too_small": {name: size for name, size in sizes.items() if size < SMALLEST},
            "faces_without_label": int((label == "").sum()),
            "differentials": _differentials(pairs, label, kept, threshold, replicates, seed),
        }
    return result


def _missed(pairs: AllPairs, faces: NDArray[np.bool_], threshold: float) -> dict[str, Any]:
    """Return the FNMR of the group's people over all their genuine pairs, and its mean over people."""
    inside = np.zeros(int(pairs.people.max()) + 1, np.bool_)
    inside[pairs.people[faces]] = True
    chosen = inside[pairs.genuine_people]
    wrong, who = pairs.genuine[chosen] <= threshold, pairs.genuine_people[chosen]
    if not len(wrong):
        return {"errors": 0, "of": 0, "rate": None}
    each = pairs.missed(threshold)[inside]
    return {
        **GroupRate(
            int(wrong.sum()), len(wrong), len(np.unique(who)), float(wrong.mean()), people_wilson(wrong, who, who)
        ).to_dict(),
        "mean_over_people": float(np.nanmean(each)),
    }


def _differentials(
    pairs: AllPairs, label: NDArray[np.str_], names: list[str], threshold: float, replicates: int, seed: int
) -> dict[str, Any]:
    """Return max over geometric mean and Gini coefficient of the FMR, with intervals over people."""
    if len(names) < 2:
        return {}
    end = pairs.matching(threshold)
    first, second = (pairs.high_faces[:end, side] for side in (0, 1))
    count = int(pairs.people.max()) + 1
    parts = []
    for name in names:
        inside = (label[first] == name) & (label[second] == name)
        of = np.bincount(pairs.people[label == name], minlength=count).astype(np.float64)
        parts.append((pairs.people[first[inside]], pairs.people[second[inside]], of))
    rng = np.random.default_rng(seed)
    drawn = [np.ones(count)]
    drawn += [rng.multinomial(count, np.full(count, 1 / count)).astype(np.float64) for _ in range(replicates)]
    rates = np.full((len(drawn), len(names)), np.nan)
    for row, weight in enumerate(drawn):
        for column, (a, b, of) in enumerate(parts):
            weighed = weight * of
            total = (weighed.sum() ** 2 - (weighed**2).sum()) / 2
            rates[row, column] = (weight[a] * weight[b]).sum() / total if total > 0 else np.nan
    found: dict[str, Any] = {}
    for title, values in (
        ("max over geometric mean of FMR", max_over_geometric_mean(rates)),
        ("Gini coefficient of FMR", gini(rates)),
    ):
        ends = percentile_interval(values[1:])
        known = bool(np.isfinite(values[0]))
        found[title] = {"value": float(values[0]) if known else None, "interval": None if ends is None else list(ends)}
    return found


def _maps(opened: OpenedModel, features: NDArray[np.float32]) -> Callable[[Numbers, Numbers], NDArray[np.float32]]:
    comparison = opened.comparison()

    def maps(first: Numbers, second: Numbers) -> NDArray[np.float32]:
        parts = []
        for start in range(0, len(first), 500):
            rows = slice(start, start + 500)
            found = comparison.maps(features[first[rows]], features[second[rows]])
            assert found is not None
            parts.append((found.similarity * found.attention).reshape(len(found.score), -1))
        return np.concatenate(parts)

    return maps


def usable(path: Path, names: list[str], cache: Path) -> NDArray[np.bool_]:
    """Return which pictures can support a verdict."""
    kept = cache / "fairface-usable.npy"
    if kept.exists():
        return np.asarray(np.load(kept), np.bool_)
    with open_pictures(path) as source, progress_bar("measuring quality") as progress:
        found = []
        for name in names:
            found.append(doubt_about_face(load_face(source.read(name), aligned=True, threads=1)) is None)
            progress(len(found), len(names))
    cache.mkdir(parents=True, exist_ok=True)
    np.save(kept, np.array(found))
    return np.array(found)


def _strangers(model: GalleryFeatures, features: NDArray[np.float32], threshold: float, threads: int) -> AllPairs:
    """Return all pairs of faces of different people; there are no genuine pairs."""
    # One picture stands twice, so that somebody has a genuine pair, which is taken out again.
    twice = np.concatenate([features, features[:1]])
    people = [str(number) for number in [*range(len(features)), 0]]
    found = all_pairs(model, twice, people, model.default_kind, threads)
    order = np.unique(np.array(people), return_inverse=True)[1]
    kept = (found.high_faces < len(features)).all(axis=1)
    assert found.floor < threshold
    return AllPairs(
        order[:-1].astype(np.intp),
        found.genuine[:0],
        found.genuine_people[:0],
        found.high[kept],
        found.high_faces[kept],
        found.floor,
        len(features) * (len(features) - 1) // 2,
    )


def _lfw_pairs(
    name: str, model: GalleryFeatures, features: NDArray[np.float32], people: list[str], args: argparse.Namespace
) -> AllPairs:
    """Score all pairs, or open what an earlier run left."""
    path = args.cache / f"{name}-{args.most or 'all'}.npz"
    if not path.exists():
        found = all_pairs(model, features, people, model.default_kind, args.threads)
        np.savez(path, **vars(found))
    with np.load(path) as kept:
        parts = {key: kept[key] for key in kept.files}
    return AllPairs(**{**parts, "floor": float(parts["floor"]), "impostors": int(parts["impostors"])})


def main() -> None:
    """Measure both sets with every model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("lfw", "attributes", "wrong", "fairface", "labels", "cache", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=[DEFAULT_MODEL, FAST_MODEL])
    parser.add_argument("--most", type=int, help="LFW: take no more pictures of a person, the first ones")
    parser.add_argument("--replicates", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    left_out = {entry["picture"] for entry in json.loads(args.wrong.read_text(encoding="utf-8"))["pictures"]}
    with open_pictures(args.lfw) as source:
        every = [name for name in source.names() if name.endswith(".jpg")]
    kept = [row for row, name in enumerate(every) if "/".join(name.split("/")[-2:]) not in left_out]
    if args.most is not None:
        kept = [row for row in kept if int(every[row].rsplit("_", 1)[1].removesuffix(".jpg")) <= args.most]
    names = [every[row] for row in kept]
    with open_pictures(args.fairface) as source:
        strangers = [name for name in source.names() if name.endswith(".jpg")]
    good = usable(args.fairface, strangers, args.cache)
    crowd = fairface_labels(args.labels, strangers)
    document: dict[str, Any] = {
        "command": "python -m studies.groups --lfw ... --attributes ... --wrong ... --fairface ... --labels ...",
        "labels": {"LFW": "another model's opinion, by picture; the majority of a person's", "FairFace": "a crowd's"},
        "smallest": SMALLEST,
        "seed": args.seed,
        "software": software_versions(),
        "fairface_undecided": _undecided(crowd, good),
        "models": {},
    }
    if args.out.exists():
        # One model at a time may be measured.
        document["models"] = json.loads(args.out.read_text(encoding="utf-8"))["models"]
    for name in args.models:
        opened = open_model(name, threads=args.threads)
        model = GalleryFeatures(opened.model)
        assert opened.entry is not None
        threshold = opened.entry.operating_point(model.default_kind).threshold
        features = features_of(model, args.lfw, every, args.cache)[kept]
        pairs = _lfw_pairs(opened.name, model, features, [one.split("/")[-2] for one in names], args)
        settings = threshold, args.replicates, args.seed
        by = ["race", "gender", "race,gender", "age"]
        found: dict[str, Any] = {"sha256": model.sha256, "lfw_pictures_a_person": args.most or "all"}
        found["LFW"] = _measured(pairs, lfw_labels(args.attributes, names), by, opened, features, *settings)
        features = features_of(model, args.fairface, strangers, args.cache / "fairface")[good]
        pairs = _strangers(model, features, threshold, args.threads)
        labels = {key: column[good] for key, column in crowd.items()}
        by = ["race", "gender", "race,gender", "age", "children"]
        found["FairFace"] = _measured(pairs, labels, by, opened, features, *settings)
        document["models"][opened.name] = found
        for dataset in ("LFW", "FairFace"):
            print_tables(opened.name, dataset, found[dataset], by)
    write_atomic(args.out, (json.dumps(document, indent=1) + "\n").encode())


def _measured(
    pairs: AllPairs,
    labels: Labels,
    by: list[str],
    opened: OpenedModel,
    features: NDArray[np.float32],
    threshold: float,
    replicates: int,
    seed: int,
) -> dict[str, Any]:
    return measure(pairs, labels, by, threshold, _maps(opened, features), replicates, seed)


def _undecided(labels: Labels, good: NDArray[np.bool_]) -> dict[str, Any]:
    """Return the share of pictures without a verdict, by group."""
    found: dict[str, Any] = {"all": _share(~good)}
    for column, values in labels.items():
        found[column] = {name: _share(~good[values == name]) for name in np.unique(values).tolist() if name}
    return found


def _share(wrong: NDArray[np.bool_]) -> dict[str, Any]:
    errors = int(wrong.sum())
    return {"undecided": errors, "of": len(wrong), "interval": list(wilson(errors, len(wrong)))}


def print_tables(model: str, dataset: str, found: Mapping[str, Any], by: list[str]) -> None:
    """Print the rates as Markdown, in percent."""
    print(f"\n{model} on {dataset}, all strangers {_percent(found['fmr'])}")
    for names in by:
        if names not in found:
            continue
        print(
            names, {key: one["value"] and round(one["value"], 2) for key, one in found[names]["differentials"].items()}
        )
        for row in found[names]["groups"]:
            missed = f" | {_percent(row['fnmr'])}" if "fnmr" in row else ""
            print(f"| {row['group']} | {row['people']:,} | {_percent(row['fmr'])}{missed} |")


def _percent(rate: Mapping[str, Any]) -> str:
    if rate["rate"] is None:
        return "no pairs"
    low, high = rate["interval"]
    return f"{100 * rate['rate']:.3g} ({100 * low:.3g} to {100 * high:.3g})"


if __name__ == "__main__":
    main()

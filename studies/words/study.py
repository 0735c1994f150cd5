r"""Do words say what tells two people apart, better than chance and other methods? Measured on LFW.

    python -m studies.words.study --lfw lfw-aligned-112.tar --pairs lfw-pairs.txt --work FOLDER

The data are the 3,000 pairs of the first five folds, whose people the attribute heads were not trained on. Parts of 20
pairs are kept in the work folder, so that a run that was interrupted, or stopped by ``--seconds``, can be resumed.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studies.words.arms import arm_scores, word_arms
from studies.words.figure import words_study_figure
from studies.words.report import words_markdown
from studies.words.results import attribute_rows, most_telling, separation
from whyface.bench.subjects import open_subject
from whyface.data.pair_lists import read_lfw_pairs
from whyface.data.protocols import PairProtocol
from whyface.explain.pair_method import PairMethod
from whyface.explain.verdict import software_versions
from whyface.faces.pictures import PictureSource, open_pictures
from whyface.figures.style import save_figure
from whyface.files.integrity import write_atomic
from whyface.files.parts import open_folder
from whyface.files.progress import progress_bar
from whyface.models.catalogue import FAST_MODEL, model_entry
from whyface.verification import Verifier
from whyface.words.attribute_model import AttributeReader, open_attributes
from whyface.words.identity_evidence import IdentityClasses, fit_classes, identity_cells
from whyface.words.method_comparison import SHARES, WORD_KINDS, PairSide, compare_methods, read_side
from whyface.words.word_explainer import WordExplainer, open_words
from whyface.words.word_report import WordSettings
from whyface.xcos.open_model import open_model

TEST_FOLDS = range(5)
METHODS = ("xcos", "ebp", "xssab")
GENUINE_COMPARED = 300
"""Number of genuine pairs in which every method erases; of the others only the original score is needed."""

_CHUNK = 20
_LEAST_PICTURES, _MOST_PICTURES = 8, 20


def test_pairs(protocol: PairProtocol, seed: int) -> NDArray[np.intp]:
    """Return pairs of people that the attribute heads were not trained on, by number, genuine and impostor in turn."""
    inside = np.isin(protocol.fold, list(TEST_FOLDS))
    rng = np.random.default_rng(seed)
    parts = [rng.permutation(np.flatnonzero(inside & (protocol.genuine == kind))) for kind in (True, False)]
    return np.stack(parts, axis=1).ravel()


def learn_people(verifier: Verifier, source: PictureSource, protocol: PairProtocol, cache: Path) -> IdentityClasses:
    """Fit the identity classifier to people of LFW with enough pictures who are in none of the study's pairs."""
    if cache.is_file():
        with np.load(cache) as stored:
            return IdentityClasses(tuple(stored["names"].tolist()), stored["weights"])
    tested = {
        protocol.people[picture]
        for side in (protocol.left, protocol.right)
        for picture in side[np.isin(protocol.fold, list(TEST_FOLDS))]
    }
    pictures: dict[str, list[str]] = {}
    for name in source.names():
        person = name.split("/")[-2]
        if person not in tested:
            pictures.setdefault(person, []).append(name)
    cells = identity_cells(verifier.method.comparison)
    assert cells is not None
    rows, owners = [], []
    for person, names in pictures.items():
        if len(names) >= _LEAST_PICTURES:
            rows.append(cells.embedding(cells.read(_batch(source, names[:_MOST_PICTURES]))))
            owners += [person] * min(len(names), _MOST_PICTURES)
    classes = fit_classes(np.concatenate(rows), owners)
    _write_arrays(cache, {"names": np.array(classes.names), "weights": classes.weights})
    return classes


def run(args: argparse.Namespace, protocol: PairProtocol, numbers: NDArray[np.intp]) -> bool:
    """Score the missing chunks; return whether all are done."""
    verifier = Verifier(threads=args.threads, accept_poor=True)  # a few pictures of LFW are poor
    reader = open_attributes(threads=args.threads)
    stop = time.monotonic() + args.seconds
    with open_pictures(args.lfw) as source, progress_bar(args.part) as progress:
        classes = learn_people(verifier, source, protocol, args.work / "people.npz")
        methods = _methods(verifier) if args.part == "comparison" else {}
        for start in range(0, len(numbers), _CHUNK):
            path = args.work / args.part / f"part-{start:05d}.npz"
            if path.is_file():
                continue
            if time.monotonic() > stop:
                return False
            part = numbers[start : start + _CHUNK]
            plain = open_words(verifier, attributes=reader)
            sides = (
                read_side(plain, _faces(source, protocol, protocol.left[part])),
                read_side(plain, _faces(source, protocol, protocol.right[part])),
            )
            genuine = protocol.genuine[part]
            found: dict[str, NDArray[Any]] = {
                "number": part,
                "score": plain.comparison.scores(sides[0].features, sides[1].features),
            }
            if args.part == "arms":
                found |= _arms(verifier, reader, classes, sides, part, genuine, args.seed)
            else:
                found |= _comparison(plain, methods, sides, part, genuine, start < 2 * GENUINE_COMPARED, args.seed)
            _write_arrays(path, found)
            progress(start + len(part), len(numbers))
            print(f"{args.part}: {start + len(part)} of {len(numbers)} pairs", flush=True)
    return True


def _arms(
    verifier: Verifier,
    reader: AttributeReader,
    classes: IdentityClasses,
    sides: tuple[PairSide, PairSide],
    part: NDArray[np.intp],
    genuine: NDArray[np.bool_],
    seed: int,
) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {}
    for arm in word_arms():
        explainer = open_words(verifier, settings=arm.settings, attributes=reader, classes=classes)
        scores = np.full((len(part), 2, len(explainer.names)), np.nan, np.float32)
        areas = scores.copy()
        for kind in (False, True):
            rows = np.flatnonzero(genuine == kind)
            if not len(rows) or (kind and not arm.with_genuine):
                continue
            chosen = (sides[0].rows(rows), sides[1].rows(rows))
            result = arm_scores(explainer, arm, chosen, part[rows], "alike" if kind else "different", seed=seed)
            scores[rows], areas[rows] = result.score, result.area
        found |= {f"score {arm.name}": scores, f"area {arm.name}": areas}
    return found


def _comparison(
    explainer: WordExplainer,
    methods: dict[str, PairMethod],
    sides: tuple[PairSide, PairSide],
    part: NDArray[np.intp],
    genuine: NDArray[np.bool_],
    with_genuine: bool,
    seed: int,
) -> dict[str, NDArray[Any]]:
    """Compare methods on a chunk; genuine pairs that are left out stay NaN."""
    rows = np.flatnonzero(~genuine | with_genuine)
    chosen = (sides[0].rows(rows), sides[1].rows(rows))
    found = compare_methods(explainer, methods, chosen, part[rows], genuine[rows], seed=seed)
    whole = {}
    for name, values in found.items():
        whole[name] = np.full((len(part), *values.shape[1:]), np.nan, np.float32)
        whole[name][rows] = values
    return whole


def _methods(verifier: Verifier) -> dict[str, PairMethod]:
    model = open_model(FAST_MODEL)
    comparison = verifier.method.comparison
    return {name: open_subject(name, model, comparison, threshold=verifier.method.threshold).method for name in METHODS}


def _faces(source: PictureSource, protocol: PairProtocol, pictures: NDArray[np.intp]) -> NDArray[np.uint8]:
    return _batch(source, [protocol.pictures[picture] for picture in pictures])


def _batch(source: PictureSource, names: list[str]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.stack([source.read(name) for name in names]).transpose(0, 3, 1, 2))


def _write_arrays(path: Path, arrays: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, buffer.getvalue())


def _read_parts(folder: Path) -> dict[str, NDArray[Any]]:
    columns: dict[str, list[NDArray[Any]]] = {}
    for path in sorted(folder.glob("part-*.npz")):
        with np.load(path) as part:
            for name in part.files:
                columns.setdefault(name, []).append(part[name])
    return {name: np.concatenate(parts) for name, parts in columns.items()}


def report_arms(parts: dict[str, NDArray[Any]], protocol: PairProtocol, explainer: WordExplainer) -> dict[str, Any]:
    """Return the results of the arms' scores."""
    number, plain = parts["number"], parts["score"].astype(np.float64)
    genuine = protocol.genuine[number]
    people = np.array(protocol.people)
    both = people[protocol.left[number]], people[protocol.right[number]]
    of_impostors = both[0][~genuine], both[1][~genuine]
    of_genuine = both[0][genuine], both[1][genuine]
    before, kept = np.repeat(plain[~genuine, None], 2, axis=1), np.repeat(plain[genuine, None], 2, axis=1)
    rows: dict[str, Any] = {
        "before": separation(before, kept, of_impostors, of_genuine) | {"words_per_face": None, "area": 0.0}
    }
    falls: dict[str, Any] = {}
    for arm in word_arms():
        erased, area = parts[f"score {arm.name}"], parts[f"area {arm.name}"]
        after = most_telling(plain[~genuine], erased[~genuine], genuine=False)
        control = None
        if arm.control is not None:
            control = most_telling(plain[~genuine], parts[f"score {arm.control}"][~genuine], genuine=False)
        words = (~np.isnan(erased[~genuine])).sum(axis=2)
        rows[arm.name] = separation(after, kept, of_impostors, of_genuine, control=control) | {
            "area": float(np.nanmean(area[~genuine])),
            "words_per_face": float(words.mean()),
            "raised": float((after > before)[words > 0].mean()),
            "settings": arm.settings.to_dict(),
            "control": arm.control,
        }
        if arm.with_genuine:
            lower = most_telling(plain[genuine], erased[genuine], genuine=True)
            falls[arm.name] = {
                "mean_fall": float((kept - lower).mean()),
                "standard_error": float((kept - lower).mean(axis=1).std(ddof=1) / np.sqrt(genuine.sum())),
            }
    words = parts["score words"][~genuine]
    names = list(explainer.names)
    changes = words - before[..., None]
    return {
        "pairs": len(number),
        "genuine": int(genuine.sum()),
        "arms": rows,
        "genuine_falls": falls,
        "attributes": attribute_rows(plain[~genuine], words, plain[genuine], names),
        "words_that_beat_the_original_per_face": float((changes > 0).sum(axis=2).mean()),
        "random_that_beat_the_original_per_face": float(
            ((parts["score random places"][~genuine] - before[..., None]) > 0).sum(axis=2).mean()
        ),
    }


def report_comparison(parts: dict[str, NDArray[Any]], protocol: PairProtocol) -> dict[str, Any]:
    """Return the results of the comparison's scores."""
    number, plain = parts["number"], parts["score"].astype(np.float64)
    genuine = protocol.genuine[number]
    people = np.array(protocol.people)
    both = people[protocol.left[number]], people[protocol.right[number]]
    of_impostors = both[0][~genuine], both[1][~genuine]
    of_genuine = both[0][genuine], both[1][genuine]
    kept = np.repeat(plain[genuine, None], 2, axis=1)
    before = np.repeat(plain[~genuine, None], 2, axis=1)
    table: dict[str, Any] = {}
    for column, share in enumerate(SHARES):
        rows: dict[str, Any] = {"before": separation(before, kept, of_impostors, of_genuine)}
        for name in parts:
            if name in ("number", "score"):
                continue
            values = np.where(np.isnan(parts[name][..., column]), plain[:, None], parts[name][..., column])
            values = values.astype(np.float64)
            chosen = "random, best of as many" if name in WORD_KINDS else "random"
            fair = np.where(np.isnan(parts[chosen][..., column]), plain[:, None], parts[chosen][..., column])
            control = None if name.startswith("random") else fair[~genuine].astype(np.float64)
            erased = genuine & np.isfinite(parts["random"][..., column]).all(axis=1)
            fall = plain[erased, None] - values[erased]
            rows[name] = separation(values[~genuine], kept, of_impostors, of_genuine, control=control) | {
                "control": None if control is None else chosen,
                "genuine_mean_fall": float(fall.mean()),
                "genuine_fall_standard_error": float(fall.mean(axis=1).std(ddof=1) / np.sqrt(len(fall))),
                "genuine_erased": len(fall),
            }
        table[f"{share:g}"] = rows
    return {"pairs": len(number), "genuine": int(genuine.sum()), "shares": table}


def main() -> None:
    """Run the missing parts and report the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lfw", type=Path, required=True, help="aligned pictures, folder or tar")
    parser.add_argument("--pairs", type=Path, required=True, help="the official pairs.txt")
    parser.add_argument("--work", type=Path, required=True, help="folder for parts")
    parser.add_argument("--part", choices=("arms", "comparison", "report"), default="report")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after so long; run again to go on")
    parser.add_argument("--limit", type=int, help="only the first so many pairs (half of them genuine)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/studies/words.json"))
    parser.add_argument("--figure", type=Path, default=Path("docs/figures/words-study.png"))
    args = parser.parse_args()

    protocol = read_lfw_pairs(args.pairs)
    numbers = test_pairs(protocol, args.seed)[: args.limit]
    entry = model_entry(FAST_MODEL)
    settings = {
        "model": FAST_MODEL,
        "sha256": entry.files["onnx"].sha256,
        "seed": args.seed,
        "arms": [arm.settings.to_dict() for arm in word_arms()],
        "shares": list(SHARES),
    }
    open_folder(args.work, settings)
    if args.part != "report":
        run(args, protocol, numbers)
        return
    explainer = open_words(Verifier(accept_poor=True))
    report: dict[str, Any] = {
        "dataset": "LFW, folds 1 to 5 of pairs.txt: people that the attribute heads never saw",
        "settings": settings,
        "threshold": explainer.threshold,
        "default": WordSettings().to_dict(),
        "command": "python -m studies.words.study --lfw ... --pairs ... --work ... --part arms|comparison|report",
        "versions": software_versions(),
    }
    if parts := _read_parts(args.work / "arms"):
        report["words"] = report_arms(parts, protocol, explainer)
    if parts := _read_parts(args.work / "comparison"):
        report["comparison"] = report_comparison(parts, protocol)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(args.out, f"{json.dumps(report, indent=1)}\n".encode())
    write_atomic(args.out.with_suffix(".md"), words_markdown(report).encode())
    save_figure(words_study_figure(report), args.figure, dpi=150)


if __name__ == "__main__":
    main()

r"""Fit likelihood ratios that depend on the recognisability of the faces, and measure them on other people.

    python -m studies.probabilities.evidence --lfw lfw-aligned-112.tar --pairs lfw-pairs.txt --cfp cfp-aligned-112.tar \
        --celeba celeba290-aligned-112.tar --work FOLDER

The fit is on CelebA (290 people): pairs as they are, both faces made worse in a random way, and one of them. Those
below the quality limit are left out, since they get no verdict. LFW and CFP are only reported on. Scores and quality of
all pairs are kept in ``--work``, one file for each model, so that a second run only fits. Results go into the models'
entries (``--zoo``), ``docs/studies/evidence.json`` and two figures.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from studies.probabilities.calibration import fit_platt_quality, reliability
from studies.probabilities.evidence_figures import evidence_figure
from studies.probabilities.figure import reliability_figure
from whyface.data.degradations import draw_degradation
from whyface.data.pair_lists import read_cfp_pairs, read_lfw_pairs
from whyface.data.protocols import PairProtocol
from whyface.evaluate.likelihood import elub, report_cllr
from whyface.explain.verdict import software_versions
from whyface.faces.pictures import open_pictures
from whyface.faces.quality_meter import open_meter
from whyface.figures.style import save_figure
from whyface.files.integrity import write_atomic
from whyface.models.calibration import Calibration
from whyface.models.catalogue import DEFAULT_MODEL, model_entry, update_entry, zoo_path
from whyface.xcos.open_model import open_model

GENUINE: Final = 25_000
STRANGERS: Final = 150_000
SEED: Final = 7
PAIR_SEED: Final = 3
CLEAN, WORSE, ONE_WORSE = "as they are", "both made worse", "one made worse"
WAYS: Final[Mapping[str, tuple[int, int]]] = {CLEAN: (0, 0), WORSE: (1, 1), ONE_WORSE: (0, 1)}
QUARTERS: Final = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Pairs:
    """Scored pairs that pass the quality limit, (N,) each.

    Attributes
    ----------
    score, recognisability
        The score, and the recognisability of the less recognisable face.
    genuine
        Whether both faces show one person.
    people
        Who is in the pair, ``"ann|bob"``.
    """

    score: NDArray[np.float64]
    recognisability: NDArray[np.float64]
    genuine: NDArray[np.bool_]
    people: NDArray[np.str_]

    def only(self, chosen: NDArray[Any]) -> Pairs:
        """Return some of them."""
        return Pairs(*(getattr(self, name)[chosen] for name in ("score", "recognisability", "genuine", "people")))


def join(parts: list[Pairs]) -> Pairs:
    """Return all pairs of several parts."""
    names = ("score", "recognisability", "genuine", "people")
    return Pairs(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def measure(model: str, args: argparse.Namespace, path: Path) -> None:
    """Score all pairs, and keep score, quality, truth and people of each in a file."""
    comparison, meter = open_model(model, threads=args.threads).comparison(), open_meter()
    protocols = {"LFW": (args.lfw, read_lfw_pairs(args.pairs))}
    with open_pictures(args.cfp) as source:
        protocols |= {f"CFP-{split}": (args.cfp, read_cfp_pairs(source, split)) for split in ("FF", "FP")}
    found: dict[str, NDArray[Any]] = {}
    number = 0
    for where, names in _pictures(args, protocols):
        features: list[list[NDArray[np.float32]]] = [[], []]
        quality: list[list[tuple[float, float]]] = [[], []]
        with open_pictures(where) as source:
            for name in names:
                face, rng = source.read(name), np.random.default_rng([SEED, number])
                number += 1
                for version, pixels in enumerate((face, draw_degradation(rng)(face, rng))):
                    batch = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])
                    features[version].append(comparison.features(batch)[0])
                    seen = meter.measure(pixels)
                    quality[version].append((seen.unified or 0.0, seen.recognisability or 0.0))
        rows = {name: place for place, name in enumerate(names)}
        arrays, measured = [np.stack(part) for part in features], [np.array(part) for part in quality]
        for title, protocol in _protocols_of(where, names, protocols, args):
            left = np.array([rows[protocol.pictures[row]] for row in protocol.left])
            right = np.array([rows[protocol.pictures[row]] for row in protocol.right])
            ends = zip(protocol.people_left.tolist(), protocol.people_right.tolist(), strict=True)
            found[f"{title}/people"] = np.array(["|".join(sorted(both)) for both in ends])
            found[f"{title}/genuine"] = protocol.genuine
            for way, (one, other) in WAYS.items():
                steps = range(0, len(left), 1000)
                scores = [
                    comparison.scores(arrays[one][left[at : at + 1000]], arrays[other][right[at : at + 1000]])
                    for at in steps
                ]
                found[f"{title}/{way}/score"] = np.concatenate(scores)
                found[f"{title}/{way}/quality"] = np.minimum(measured[one][left], measured[other][right])
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, allow_pickle=False, **found)


def _pictures(
    args: argparse.Namespace, protocols: Mapping[str, tuple[Path, PairProtocol]]
) -> Iterator[tuple[Path, list[str]]]:
    """Yield each source with its pictures: those that LFW's pairs need, and all of the others."""
    yield args.lfw, list(protocols["LFW"][1].pictures)
    for path in (args.cfp, args.celeba):
        with open_pictures(path) as source:
            names = [name for name in source.names() if name.endswith(".jpg")]
        yield path, names


def _protocols_of(
    where: Path, names: list[str], protocols: Mapping[str, tuple[Path, PairProtocol]], args: argparse.Namespace
) -> list[tuple[str, PairProtocol]]:
    if where != args.celeba:
        return [(title, protocol) for title, (path, protocol) in protocols.items() if path == where]
    people = tuple(name.split("/")[-2] for name in names)
    first, second = np.triu_indices(len(names), 1)
    same = np.asarray(people)[first] == np.asarray(people)[second]
    rng = np.random.default_rng(PAIR_SEED)
    chosen = [rng.permutation(np.flatnonzero(kind))[:count] for kind, count in ((same, GENUINE), (~same, STRANGERS))]
    rows = np.concatenate(chosen)
    fold = np.zeros(len(rows), np.intp)
    return [("CelebA", PairProtocol("CelebA", tuple(names), first[rows], second[rows], same[rows], fold, people))]


def read(path: Path, limit: float) -> dict[tuple[str, str], Pairs]:
    """Return the pairs that pass the limit, by data set and way."""
    with np.load(path) as kept:
        found = {}
        for title in ("CelebA", "LFW", "CFP-FF", "CFP-FP"):
            for way in WAYS:
                quality = kept[f"{title}/{way}/quality"]
                passing = quality[:, 0] >= limit
                scores = kept[f"{title}/{way}/score"].astype(np.float64)
                plain = Pairs(scores, quality[:, 1], kept[f"{title}/genuine"], kept[f"{title}/people"])
                found[title, way] = plain.only(passing)
        return found


def fit(pairs: Pairs, about: str) -> Calibration:
    """Fit to as many strangers as genuine pairs; the bounds are those of all pairs, by people."""
    strangers = np.flatnonzero(~pairs.genuine)
    genuine = np.flatnonzero(pairs.genuine)
    drawn = np.random.default_rng(PAIR_SEED).choice(strangers, min(len(strangers), len(genuine)), replace=False)
    used = pairs.only(np.concatenate([genuine, drawn]))
    fitted = fit_platt_quality(used.score, used.recognisability, used.genuine, about)
    low, high = elub(ratios(replace(fitted, bounds=(-200.0, 200.0)), pairs), pairs.genuine, pairs.people)
    return replace(fitted, bounds=(low, high))


def ratios(calibration: Calibration, pairs: Pairs) -> NDArray[np.float64]:
    """Return log10 LR of pairs."""
    return np.asarray(np.log10(calibration.ratio(pairs.score, pairs.recognisability)), np.float64)


def report(calibration: Calibration, pairs: Pairs) -> dict[str, Any]:
    """Return Cllr, its parts and the calibration error, of all pairs and of each quarter of recognisability."""
    values = ratios(calibration, pairs)
    edges = np.quantile(pairs.recognisability, QUARTERS)
    quarter = np.digitize(pairs.recognisability, edges)
    return {
        **_measures(values, pairs),
        "edges": [round(float(edge), 4) for edge in edges],
        "quarters": [_measures(values[quarter == number], pairs.only(quarter == number)) for number in range(4)],
    }


def _measures(values: NDArray[np.float64], pairs: Pairs) -> dict[str, Any]:
    odds = 10.0**values
    trusted = reliability(odds / (1 + odds), pairs.genuine)
    return {
        "genuine": int(pairs.genuine.sum()),
        "strangers": int((~pairs.genuine).sum()),
        **{name: round(value, 4) for name, value in report_cllr(values, pairs.genuine).to_dict().items()},
        "ece": round(trusted.ece, 5),
        "misleading_genuine": round(float((values[pairs.genuine] < -1).mean()), 5),
        "misleading_strangers": round(float((values[~pairs.genuine] > 1).mean()), 5),
    }


def main() -> None:
    """Measure, fit, report, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("lfw", "pairs", "cfp", "celeba", "work"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=[DEFAULT_MODEL, "xcos-mobilefacenet"])
    parser.add_argument("--zoo", type=Path, default=zoo_path(), help="zoo file to update")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--figures", type=Path, default=Path("docs/figures"))
    parser.add_argument("--out", type=Path, default=Path("docs/studies/evidence.json"))
    args = parser.parse_args()
    limit = open_meter().limit
    document: dict[str, Any] = {
        "command": "python -m studies.probabilities.evidence --lfw ... --pairs ... --cfp ... --celeba ... --work ...",
        "limit": limit,
        "versions": software_versions(),
    }
    for model in args.models:
        path = args.work / f"{model}.npz"
        if not path.is_file():
            measure(model, args, path)
        pairs, entry = read(path, limit), model_entry(model)
        calibration = fit(join([pairs["CelebA", way] for way in WAYS]), "CelebA, 290 people")
        tested = {title: pairs[title, CLEAN] for title in ("LFW", "CFP-FF", "CFP-FP")}
        tested["LFW and CFP-FF, made worse"] = join(
            [pairs[title, way] for title in ("LFW", "CFP-FF") for way in (WORSE, ONE_WORSE)]
        )
        before = entry.confidence[entry.default_attention]
        document[model] = {
            "calibration": calibration.to_dict(),
            "people": {"genuine": 273, "pairs_of_strangers": int(len(np.unique(pairs["CelebA", CLEAN].people)) - 273)},
            "report": {name: report(calibration, part) for name, part in tested.items()},
        }
        if before.kind == "platt":
            document[model]["without quality, fitted on LFW"] = {
                name: report(before, part) for name, part in tested.items()
            }
        for name, found in document[model]["report"].items():
            print(model, name, {key: value for key, value in found.items() if key != "quarters"}, flush=True)
        update_entry(
            args.zoo,
            model,
            confidence={
                kind: (calibration if kind == entry.default_attention else known).to_dict()
                for kind, known in entry.confidence.items()
            },
        )
        if model == DEFAULT_MODEL:
            _draw(calibration, tested, args.figures)
    write_atomic(args.out, f"{json.dumps(document, indent=1)}\n".encode())


def _draw(calibration: Calibration, tested: Mapping[str, Pairs], folder: Path) -> None:
    values = {name: (ratios(calibration, pairs), pairs.genuine) for name, pairs in tested.items()}
    save_figure(evidence_figure(values, calibration), folder / "evidence.png", dpi=150)
    everything = join(list(tested.values()))
    quarter = np.digitize(everything.recognisability, np.quantile(everything.recognisability, QUARTERS))
    diagrams = {}
    for number, name in enumerate(("poorest quarter", "second", "third", "best quarter")):
        part = everything.only(quarter == number)
        odds = 10.0 ** ratios(calibration, part)
        diagrams[name] = reliability(odds / (1 + odds), part.genuine)
    title = "Probabilities by the recognisability of the poorer face"
    subtitle = (
        f"LFW, CFP and both made worse, {len(everything.genuine)} pairs that pass the quality limit, prior 50 %; "
        "fitted on CelebA. Points on the line are calibrated. Bars: 95 % intervals."
    )
    save_figure(
        reliability_figure(diagrams, title=title, subtitle=subtitle), folder / "reliability-quality.png", dpi=150
    )


if __name__ == "__main__":
    main()

r"""Does the evidential uncertainty recognise strangers better than plain similarity does? Measured on LFW people.

    python -m studies.strangers.study --lfw lfw-aligned-112.tar --choose lfw-peopleDevTest.txt \
        --report lfw-peopleDevTrain.txt --run runs/evidential --docs docs

Settings are chosen on the people of one list and reported on those of the other, which are different people. Of the
people with at least four pictures, a random half is enrolled with half of their pictures. Their other pictures are the
probes; the other half of the people, and people with one picture, are strangers. Heads are fitted to enrolled pictures
only. Every probe is used uncovered, and covered in three ways. There are several random divisions; intervals are by
resampling people. Grids and results of finished parts are kept in the run folder, so that a run can be resumed.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from studies.occlusion.conditions import CLEAN, Condition
from studies.occlusion.report import put_between_marks
from studies.strangers.baselines import PUBLISHED, candidate_heads
from studies.strangers.comparison import (
    CONDITIONS,
    COSINE,
    SOFTMAX,
    TRAINED,
    XCOS,
    Scored,
    accepted_but_doubted,
    score_heads,
    verdicts_of,
)
from studies.strangers.figures import uncertainty_figure
from studies.strangers.open_set import OpenSetSplit, difference, mean_area, open_set_rates, split_open_set
from studies.strangers.report import GROUPS, open_set_table
from whyface.data.covering import apply_mask
from whyface.errors import DataError
from whyface.evaluate.bootstrap import bootstrap_intervals
from whyface.explain.verdict import software_versions
from whyface.faces.pictures import PictureSource, open_pictures
from whyface.figures.style import save_figure
from whyface.files.integrity import write_atomic
from whyface.files.progress import progress_bar
from whyface.identify.gallery_people import fpir_of, gallery_threshold
from whyface.models.catalogue import DEFAULT_MODEL, model_entry
from whyface.train.losses import LOSS_KINDS
from whyface.xcos.model import XcosModel, open_xcos
from whyface.xcos.separable import separable_attention, unit_cells

KEPT: Final = ("model", "divisions", "report_divisions", "loners", "replicates", "seed")
SEPARATOR: Final = "|"
MARK: Final = "<!-- results: written by studies/strangers/study.py -->"


def main() -> None:
    """Choose the settings, measure them, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lfw", type=Path, required=True, help="aligned LFW, folder or tar")
    parser.add_argument(
        "--choose", type=Path, required=True, help="list of people for choosing (lfw-peopleDevTest.txt)"
    )
    parser.add_argument("--report", type=Path, required=True, help="list of other people (lfw-peopleDevTrain.txt)")
    parser.add_argument("--run", type=Path, required=True, help="folder for grids and results")
    parser.add_argument("--docs", type=Path, help="also write studies/identify.json and the figure here")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--divisions", type=int, default=3, help="for choosing")
    parser.add_argument("--report-divisions", type=int, default=2, help="for reporting")
    parser.add_argument("--loners", type=int, default=500, help="people with one picture to test with")
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.run.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    lists = {"choose": people_of(args.choose), "report": people_of(args.report)}
    if set(lists["choose"]) & set(lists["report"]):
        raise DataError(
            f"{args.choose} and {args.report} share people; settings must not be reported on people they were chosen on"
        )
    model = open_xcos(args.model)
    study = Study(model, args)
    chosen = study.part("choose", lambda: choose(study, lists["choose"]))
    print(json.dumps(chosen["best"], indent=1))
    report = study.part("report", lambda: report_on(study, lists["report"], chosen))
    document = {
        "model": args.model,
        "sha256": model.embedder.sha256,
        "dataset": "LFW, aligned; people of the two View 1 lists",
        "command": "python -m studies.strangers.study --lfw ... --choose lfw-peopleDevTest.txt "
        f"--report lfw-peopleDevTrain.txt --divisions {args.divisions} --report-divisions {args.report_divisions} "
        f"--seed {args.seed}",
        "settings": {key: getattr(args, key) for key in KEPT},
        "versions": {**software_versions(), "torch": torch.__version__},
        "chosen_on": chosen,
        "reported_on": {key: value for key, value in report.items() if key != "histograms"},
    }
    figure = uncertainty_figure(
        {
            name: {group: np.array(values) for group, values in groups.items()}
            for name, groups in report["histograms"].items()
        },
        auroc={name: rates["auroc"] for name, rates in report["rates"][chosen["best"]["name"]].items()},
        caption=report["caption"],
    )
    write_atomic(args.run / "identify.json", f"{json.dumps(document, indent=1)}\n".encode())
    save_figure(figure, args.run / "identify-uncertainty.png")
    if args.docs is not None:
        write_atomic(args.docs / "studies" / "identify.json", f"{json.dumps(document, indent=1)}\n".encode())
        put_between_marks(args.docs / "studies" / "identify.md", open_set_table(document), MARK)
        save_figure(figure, args.docs / "figures" / "identify-uncertainty.png")


def people_of(path: Path) -> list[str]:
    """Read a list of people of LFW's View 1: a number, then a name and a count in each line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot read the list of people ({error})") from error
    return [line.split("\t")[0] for line in lines if len(line.split("\t")) == 2]


class Study:
    """The model, the pictures' grids under each condition, and finished parts."""

    def __init__(self, model: XcosModel, args: argparse.Namespace) -> None:
        self.model, self.args = model, args
        self.attention = separable_attention(model)
        self.entry = model_entry(args.model)
        self.threshold = self.entry.operating_point("l").threshold
        with open_pictures(args.lfw) as source:
            self.names = source.names()
        self.person_of = [name.split("/")[-2] for name in self.names]
        self._settings = {key: getattr(args, key) for key in KEPT}

    def part(self, name: str, make: Any) -> dict[str, Any]:
        """Return a part; it is made unless its file exists."""
        path = self.args.run / f"{name}.json"
        if path.exists():
            kept = json.loads(path.read_text(encoding="utf-8"))
            if kept["settings"] != self._settings:
                raise DataError(f"{path}: made with other settings; choose another --run")
        else:
            kept = {"settings": self._settings, "result": make()}
            write_atomic(path, json.dumps(kept).encode())
        return dict(kept["result"])

    def splits(self, people: Sequence[str], divisions: int) -> list[OpenSetSplit]:
        """Return random divisions of people."""
        splits = []
        for number in range(divisions):
            split = split_open_set(self.person_of, people, seed=self.args.seed + number)
            few = np.random.default_rng(self.args.seed).permutation(split.loners)[: self.args.loners]
            splits.append(OpenSetSplit(**{**vars(split), "loners": np.sort(few)}))
        return splits

    def grids(self, part: str, splits: Sequence[OpenSetSplit]) -> dict[str, dict[int, NDArray[np.float32]]]:
        """Return condition -> row of the picture -> grid; covered ones only for probes."""
        probing = {
            int(row) for split in splits for rows in (split.probes, split.strangers, split.loners) for row in rows
        }
        every = sorted(probing | {int(row) for split in splits for row in split.enrolled})
        found = {}
        with open_pictures(self.args.lfw) as source:
            for condition in CONDITIONS:
                path = self.args.run / f"grids-{part}-{condition.key}.npz"
                rows = every if condition == CLEAN else sorted(probing)
                if not path.exists():
                    with progress_bar(f"{part}: {condition.key}") as progress:
                        grids = np.concatenate(list(self._embedded(source, rows, condition, progress)))
                    np.savez(path, rows=np.array(rows), grids=grids.astype(np.float16))
                with np.load(path) as kept:
                    if kept["rows"].tolist() != rows:
                        raise DataError(f"{path}: holds other pictures; choose another --run")
                    found[condition.key] = dict(zip(rows, kept["grids"].astype(np.float32), strict=True))
        return found

    def _embedded(
        self, source: PictureSource, rows: list[int], condition: Condition, progress: Any
    ) -> Iterator[NDArray[np.float32]]:
        for start in range(0, len(rows), 64):
            faces = []
            for row in rows[start : start + 64]:
                name = self.names[row]
                mask = condition.mask(np.random.default_rng([self.args.seed, zlib.crc32(name.encode())]))
                picture = source.read(name)
                faces.append((picture if mask is None else apply_mask(picture, mask)).transpose(2, 0, 1))
            yield self.model.grid(np.ascontiguousarray(faces))
            progress(min(start + 64, len(rows)), len(rows))

    def scores(self, name: str, make: Callable[[], dict[str, Scored]]) -> dict[str, Scored]:
        """Return one division's scores, condition -> method -> group; they are computed unless their file exists."""
        path = self.args.run / f"scores-{name}.npz"
        if not path.exists():
            flat = {
                SEPARATOR.join((condition, method, group)): values
                for condition, methods in make().items()
                for method, groups in methods.items()
                for group, values in groups.items()
            }
            with path.with_suffix(".part").open("wb") as file:
                np.savez(file, **flat)  # type: ignore[arg-type]
            path.with_suffix(".part").replace(path)
        found: dict[str, Scored] = {}
        with np.load(path) as kept:
            for key in kept.files:
                condition, method, group = key.split(SEPARATOR)
                found.setdefault(condition, {}).setdefault(method, {})[group] = kept[key]
        return found

    def score_xcos(self, split: OpenSetSplit, grids: dict[str, dict[int, NDArray[np.float32]]]) -> dict[str, Scored]:
        """Score all probes of one division by their best photo in the gallery."""
        gallery = np.stack([grids["clean"][int(row)] for row in split.enrolled])
        found: dict[str, Scored] = {}
        for condition in CONDITIONS:
            scored: dict[str, NDArray[np.float64]] = {}
            for group, rows in zip(GROUPS, (split.probes, split.strangers, split.loners), strict=True):
                pairs = self.xcos(np.stack([grids[condition.key][int(row)] for row in rows]), gallery)
                scored[group] = pairs.max(axis=1)
                if group == "known":
                    scored["right"] = split.enrolled_labels[pairs.argmax(axis=1)] == split.probe_labels
            found[condition.key] = {XCOS: scored}
        return found

    def xcos(self, probes: NDArray[np.float32], gallery: NDArray[np.float32]) -> NDArray[np.float64]:
        """Score P probes against G gallery faces with learned attention, (P, G)."""
        first, second = self.attention.first_terms(probes), self.attention.second_terms(gallery)
        left, right = unit_cells(probes), unit_cells(gallery)
        scores = np.empty((len(probes), len(gallery)))
        for row in range(len(probes)):
            weights = self.attention.weights(first[row : row + 1], second)
            scores[row] = (weights * np.einsum("sc,gsc->gs", left[row], right, optimize=True)).sum(axis=1)
        return scores


def choose(study: Study, people: Sequence[str]) -> dict[str, Any]:
    """Try all heads; the best has the highest AUROC, averaged over conditions and divisions.

    Only heads with a meaningful u can be the best: below 0.5 for half of the known people's clean photos and above it
    for half of the strangers'.
    """
    splits = study.splits(people, study.args.divisions)
    grids = study.grids("choose", splits)
    heads = candidate_heads()
    areas: dict[str, list[float]] = {}
    middle: dict[str, dict[str, list[float]]] = {}
    with progress_bar("heads") as progress:
        for number, split in enumerate(splits):
            kept = study.scores(f"choose-{number}", partial(score_heads, heads, split, grids))
            for scored in kept.values():
                for name, values in scored.items():
                    rates = open_set_rates(values["known"], values["strangers"], values["right"])
                    areas.setdefault(name, []).append(rates.auroc)
            for name in heads:
                for group in ("known", "strangers"):
                    u = -kept["clean"][name][group]
                    middle.setdefault(name, {}).setdefault(group, []).append(float(np.median(u)))
            progress(number + 1, len(splits))
    medians = {name: {key: float(np.mean(own)) for key, own in groups.items()} for name, groups in middle.items()}
    clean = {name: float(np.mean(values[:: len(CONDITIONS)])) for name, values in areas.items()}
    mean = {name: float(np.mean(values)) for name, values in areas.items()}
    meant = [name for name in heads if medians[name]["known"] < 0.5 < medians[name]["strangers"]]
    best = max(meant, key=lambda name: mean[name])
    softmax = max((name for name in mean if name.startswith(SOFTMAX)), key=lambda name: mean[name])
    # One head per loss is reported, with and without the divergence, and the published setting.
    reported = [best]
    for loss, divergence in product(LOSS_KINDS, (0.0, 1.0)):
        own = [
            name
            for name, one in heads.items()
            if one.loss == loss and one.divergence == divergence and one.scale is None
        ]
        reported.append(max(own, key=lambda name: mean[name]))
    reported += [PUBLISHED.format(loss) for loss in LOSS_KINDS]
    return {
        "best": {"name": best, **asdict(heads[best])},
        "softmax": softmax,
        "reported": list(dict.fromkeys(reported)),
        "auroc_mean_over_conditions": mean,
        "auroc_clean": clean,
        "median_u_clean": medians,
        "people_enrolled": len(splits[0].people),
    }


def report_on(study: Study, people: Sequence[str], chosen: dict[str, Any]) -> dict[str, Any]:
    """Measure the chosen settings on other people, with intervals and differences."""
    splits = study.splits(people, study.args.report_divisions)
    grids = study.grids("report", splits)
    heads = {name: settings for name, settings in candidate_heads().items() if name in chosen["reported"]}
    best, softmax = chosen["best"]["name"], chosen["softmax"]
    results: list[dict[str, Scored]] = []
    with progress_bar("divisions") as progress:
        for number, split in enumerate(splits):
            found = study.scores(f"report-{number}", partial(score_heads, heads, split, grids))
            pairs = study.scores(f"report-xcos-{number}", partial(study.score_xcos, split, grids))
            for key, scored in found.items():
                for name in [name for name in scored if name.startswith(SOFTMAX) and name != softmax]:
                    del scored[name]
                scored.update(pairs[key])
            results.append(found)
            progress(number + 1, len(splits))
    names = list(results[0]["clean"])
    rates: dict[str, Any] = {name: {} for name in names}
    differences: dict[str, Any] = {}
    for condition in CONDITIONS:
        key = condition.key
        measures = {name: mean_area([result[key][name] for result in results]) for name in names}
        for baseline in (XCOS, COSINE, softmax, TRAINED):
            measures[f"{best} less {baseline}"] = difference(measures[best], measures[baseline])
        everyone = [
            study.person_of[row]
            for split in splits
            for part in (split.probes, split.strangers)
            for row in part.tolist()
        ]
        intervals = bootstrap_intervals(
            measures, everyone, everyone, replicates=study.args.replicates, seed=study.args.seed
        )
        for name in names:
            each = [
                open_set_rates(r[key][name]["known"], r[key][name]["strangers"], r[key][name]["right"]) for r in results
            ]
            lone = [
                open_set_rates(r[key][name]["known"], r[key][name]["loners"], r[key][name]["right"]) for r in results
            ]
            rates[name][key] = {
                "auroc": float(np.mean([one.auroc for one in each])),
                "auroc_interval": list(intervals[name]),
                "auroc_against_loners": float(np.mean([one.auroc for one in lone])),
                "rank1": float(np.mean([one.rank1 for one in each])),
                "identified_at_fpir_1e-2": float(np.mean([one.identified for one in each])),
            }
        for baseline in (XCOS, COSINE, softmax, TRAINED):
            differences.setdefault(baseline, {})[key] = {
                "auroc_difference": rates[best][key]["auroc"] - rates[baseline][key]["auroc"],
                "interval": list(intervals[f"{best} less {baseline}"]),
            }
    verdicts = {
        condition.key: verdicts_of(
            [result[condition.key] for result in results],
            best,
            study.threshold,
            [gallery_threshold(study.entry, "l", len(split.enrolled))[0] for split in splits],
        )
        for condition in CONDITIONS
    }
    counts: dict[str, Any] = {
        "people_enrolled": len(splits[0].people),
        "photos_enrolled": [len(split.enrolled) for split in splits],
        "probes": [len(split.probes) for split in splits],
        "strangers": [len(split.strangers) for split in splits],
        "loners": [len(split.loners) for split in splits],
    }
    first = results[0]
    histograms = {
        condition.key: {group: (-first[condition.key][best][group]).round(5).tolist() for group in GROUPS}
        for condition in CONDITIONS
    }
    quantiles = {
        key: {group: np.quantile(values, (0.05, 0.5, 0.95)).round(4).tolist() for group, values in groups.items()}
        for key, groups in histograms.items()
    }
    caption = (
        f"LFW: {counts['people_enrolled']} people enrolled with {counts['photos_enrolled'][0]} photos; "
        f"{counts['probes'][0]} other photos of them, {counts['strangers'][0]} of people not enrolled. Head: {best}."
    )
    return {
        "counts": counts,
        "rates": rates,
        "best_less_baseline": differences,
        "verdicts": verdicts,
        "accepted_and_of_these_u_at_least_0.95": accepted_but_doubted(
            [result[CLEAN.key] for result in results], best, study.entry, splits
        ),
        "threshold": study.threshold,
        "gallery_threshold": gallery_threshold(study.entry, "l", len(splits[0].enrolled))[0],
        "fpir_if_comparisons_were_independent": fpir_of(1e-3, len(splits[0].enrolled)),
        "uncertainty_quantiles_5_50_95": quantiles,
        "histograms": histograms,
        "caption": caption,
    }


if __name__ == "__main__":
    main()

r"""Choose the settings of xcos-large on people held out of training, nobody of them in LFW.

    python scripts/choose_large.py --network mobilefacenet-large.onnx --celeba celeba290-aligned-112.tar \
        --cfp cfp-aligned-112.tar --glint glint24-aligned-112.tar --overlap docs/studies/lfw_overlap.json \
        --cache runs/large --out docs/studies/large-choice.json

A third of the people of celeba290 and of CFP's training people is kept out. All pairs of their pictures are compared:
celeba290, CFP's frontal pictures, and frontal with profile pictures.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from factorised_fit import FactorisedSettings, ViewedMaps, fit_factorised, grids_of
from picture_views import read_views
from train_large import CLEAN, DEGRADED, SETTINGS, arguments, fast_network, training_sets
from whyface.evaluate.rates import equal_error
from whyface.explain.verdict import software_versions
from whyface.files.integrity import write_atomic
from whyface.files.progress import progress_bar
from whyface.models.linear_head import linear_head
from whyface.xcos.grid import grid_cosine
from whyface.xcos.learned import FactorisedXcos

TRIED: Final[tuple[dict[str, Any], ...]] = (
    {"sigma": 1.2, "steps": 400, "head_lr": 1e-3, "identity": 0.1, "place": 1.0, "degraded": 0.2},
    {"sigma": 1.4, "steps": 400, "head_lr": 1e-3, "identity": 0.1, "place": 1.0, "degraded": 0.05},
    {"sigma": 1.4, "steps": 400, "head_lr": 1e-3, "identity": 0.1, "place": 3.0, "degraded": 0.0},
    {"sigma": 1.4, "steps": 800, "head_lr": 3e-4, "identity": 0.0, "place": 3.0, "degraded": 0.0},
    {"sigma": 1.6, "steps": 400, "head_lr": 3e-4, "identity": 0.1, "place": 3.0, "degraded": 0.0},
    {"sigma": 1.6, "steps": 800, "head_lr": 2e-4, "identity": 0.05, "place": 3.0, "degraded": 0.0},
)


def scores(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compare all pairs of weighed grids."""
    return np.asarray(FactorisedXcos().scores(torch.from_numpy(first), torch.from_numpy(second)), np.float32)


def measured(found: NDArray[np.float32], same: NDArray[np.bool_], pairs: NDArray[np.bool_]) -> dict[str, Any]:
    """Summarise the scores of all pairs: equal error, and misses at low false match rates."""
    genuine, impostor = found[same & pairs], found[~same & pairs]
    misses = {
        f"fnmr_at_{rate:g}": float((genuine <= np.quantile(impostor, 1 - rate)).mean()) for rate in (1e-2, 1e-3, 1e-4)
    }
    return {
        "genuine_pairs": len(genuine),
        "impostor_pairs": len(impostor),
        "eer": float(equal_error(found[pairs], same[pairs]).rate),
        **misses,
    }


def held_out(people: list[str], seed: int) -> set[str]:
    """Draw a third of the people of celeba290 and of CFP."""
    rng = np.random.default_rng(seed)
    chosen: set[str] = set()
    for key in ("celeba/", "cfp/"):
        everybody = sorted({person for person in people if person.startswith(key)})
        chosen |= set(rng.permutation(everybody)[: len(everybody) // 3].tolist())
    return chosen


def results(
    settings: FactorisedSettings, maps: ViewedMaps, weights: NDArray[np.float32], tables: dict[str, NDArray[Any]]
) -> dict[str, Any]:
    """Fit on the people that are left, and measure on those held out."""
    out = tables["held_out"]
    head, _ = fit_factorised(maps, weights, chosen=~out, settings=settings)
    rows = {name: np.flatnonzero(out & tables[name]) for name in ("celeba", "frontal", "profile")}
    grids = {name: grids_of(head, maps.clean[0][index]) for name, index in rows.items()}
    who = {name: tables["people"][index] for name, index in rows.items()}
    answer: dict[str, Any] = {}
    for name, one, other in (
        ("celeba290", "celeba", "celeba"),
        ("cfp_frontal", "frontal", "frontal"),
        ("cfp_frontal_profile", "frontal", "profile"),
    ):
        same = who[one][:, None] == who[other][None]
        pairs = np.triu(np.ones_like(same), 1) if one == other else np.ones_like(same)
        answer[name] = measured(scores(grids[one], grids[other]), same, pairs)
    answer["largest_mean_similarity_of_strangers_at_a_place"] = _strangers(grids["celeba"], who["celeba"])
    poor = grids_of(head, maps.degraded[0][rows["celeba"]])
    same = who["celeba"][:, None] == who["celeba"][None]
    limit = np.quantile(scores(grids["celeba"], grids["celeba"])[~same], 1 - 1e-3)
    answer["degraded_strangers_above_fmr_1e-3_of_clean_ones"] = float((scores(poor, poor)[~same] > limit).mean())
    return answer


def _strangers(grids: NDArray[np.float32], who: NDArray[Any]) -> float:
    rng = np.random.default_rng(0)
    first, second = rng.integers(len(grids), size=(2, 4000))
    other = who[first] != who[second]
    return float(np.abs(grid_cosine(grids[first[other]], grids[second[other]]).mean(axis=0)).max())


def main() -> None:
    """Fit with all settings that were tried."""
    args = arguments(__doc__)
    torch.set_num_threads(args.threads)
    network = fast_network(args.network, args.cache, args.threads)
    _, own_head = linear_head(network)
    sets = training_sets(args)
    with progress_bar("Running the network") as progress:
        maps, who = read_views(args.cache, network, own_head, sets, clean=CLEAN, degraded=DEGRADED, progress=progress)
    people, names = list(who), [name for one in sets for name in one.names]
    chosen = held_out(people, args.seed)
    tables: dict[str, NDArray[Any]] = {
        "people": np.array(people),
        "held_out": np.array([person in chosen for person in people]),
        "celeba": np.array([person.startswith("celeba/") for person in people]),
        "profile": np.array(["/profile/" in name for name in names]),
    }
    cfp = np.array([person.startswith("cfp/") for person in people])
    tables["frontal"], tables["profile"] = cfp & ~tables["profile"], cfp & tables["profile"]
    found = []
    for tried in TRIED:
        settings = FactorisedSettings(**{**asdict(SETTINGS), **tried, "seed": args.seed})
        found.append({"settings": tried, **results(settings, maps, own_head.weights, tables)})
        print(json.dumps(found[-1]))
    document = {
        "people_trained_on": len(set(people)) - len(chosen),
        "people_held_out": len(chosen),
        "pictures_held_out": int(tables["held_out"].sum()),
        "seed": args.seed,
        "software": software_versions(),
        "tried": found,
    }
    write_atomic(Path(args.out), (json.dumps(document, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()

r"""Measure the likelihood ratios that ship on people of CFP whom neither the models' heads nor the fit have seen.

    python -m studies.probabilities.unseen_evidence --cfp cfp-aligned-112.tar --people docs/studies/lfw_overlap.json \
        --cache FOLDER --out docs/studies/evidence-unseen.json

The people are those who were left out of all training because they are or may be in LFW.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studies.all_faces import features_of
from studies.probabilities.evidence import Pairs, report
from whyface.data.pair_lists import read_cfp_pairs
from whyface.data.protocols import PairProtocol
from whyface.explain.verdict import software_versions
from whyface.faces.pictures import open_pictures
from whyface.faces.quality_meter import open_meter
from whyface.files.integrity import write_atomic
from whyface.files.progress import progress_bar
from whyface.gallery.kernel import GalleryFeatures
from whyface.models.catalogue import DEFAULT_MODEL, FAST_MODEL, model_entry
from whyface.xcos.open_model import open_model


def scored(
    protocol: PairProtocol,
    chosen: NDArray[np.intp],
    names: list[str],
    features: NDArray[np.float32],
    quality: NDArray[np.float64],
    limit: float,
    scores_of: Any,
) -> Pairs:
    """Return the scored pairs of both usable faces."""
    rows = {name: row for row, name in enumerate(names)}
    left, right = (
        np.array([rows[protocol.pictures[row]] for row in side[chosen]]) for side in (protocol.left, protocol.right)
    )
    passing = np.minimum(quality[left, 0], quality[right, 0]) >= limit
    left, right, kept = left[passing], right[passing], chosen[passing]
    steps = range(0, len(left), 500)
    scores = np.concatenate([scores_of(features[left[at : at + 500]], features[right[at : at + 500]]) for at in steps])
    ends = zip(protocol.people_left[kept].tolist(), protocol.people_right[kept].tolist(), strict=True)
    return Pairs(
        scores.astype(np.float64),
        np.minimum(quality[left, 1], quality[right, 1]),
        protocol.genuine[kept],
        np.array(["|".join(sorted(both)) for both in ends]),
    )


def main() -> None:
    """Measure both models on both splits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("cfp", "people", "cache", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    people = [entry["person"] for entry in json.loads(args.people.read_text(encoding="utf-8"))["cfp"]]
    meter = open_meter()
    document: dict[str, Any] = {
        "command": "python -m studies.probabilities.unseen_evidence --cfp ... --people docs/studies/lfw_overlap.json",
        "people": len(people),
        "limit": meter.limit,
        "versions": software_versions(),
    }
    with open_pictures(args.cfp) as source:
        protocols = {f"CFP-{split}": read_cfp_pairs(source, split) for split in ("FF", "FP")}
        chosen = {
            title: np.flatnonzero(np.isin(one.people_left, people) & np.isin(one.people_right, people))
            for title, one in protocols.items()
        }
        names = sorted(
            {
                protocols[title].pictures[row]
                for title, rows in chosen.items()
                for side in (protocols[title].left, protocols[title].right)
                for row in side[rows].tolist()
            }
        )
        every = [name for name in source.names() if name.endswith(".jpg")]
        places = [every.index(name) for name in names]
        quality = np.empty((len(names), 2))
        with progress_bar("measuring quality") as progress:
            for row, name in enumerate(names):
                seen = meter.measure(source.read(name))
                quality[row] = seen.unified or 0.0, seen.recognisability or 0.0
                progress(row + 1, len(names))
        for model in (DEFAULT_MODEL, FAST_MODEL):
            opened, entry = open_model(model, threads=args.threads), model_entry(model)
            comparison = opened.comparison()
            features = features_of(GalleryFeatures(opened.model), args.cfp, every, args.cache)[places]
            calibration = entry.confidence[entry.default_attention]
            document[model] = {}
            for title, protocol in protocols.items():
                pairs = scored(protocol, chosen[title], names, features, quality, meter.limit, comparison.scores)
                document[model][title] = report(calibration, pairs)
                print(model, title, {key: one for key, one in document[model][title].items() if key != "quarters"})
    write_atomic(args.out, f"{json.dumps(document, indent=1)}\n".encode())


if __name__ == "__main__":
    main()

r"""Do galleries pass as few strangers as they mean to? Measured on people who did not make the thresholds.

    python -m studies.gallery_rates --pictures fairface-aligned-112.tar --about FairFace --model xcos-large \
        --out docs/studies/gallery-rates.json

One picture a person. For several sizes, galleries of so many people are drawn at random, all others are strangers, and
the share of strangers whose best score is above the gallery's threshold is compared with the share that was meant. The
interval resamples people: all galleries share the same ones. Faces that are too poor for a verdict are left out, as
``gallery enroll`` and ``identify`` do.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import DataError
from whyface.explain.trust import doubt_about_face
from whyface.explain.verdict import software_versions
from whyface.faces.load import load_face
from whyface.faces.pictures import open_pictures
from whyface.files.integrity import write_atomic
from whyface.files.progress import progress_bar
from whyface.gallery.kernel import GalleryFeatures, score_records
from whyface.identify.gallery_people import gallery_threshold
from whyface.xcos.open_model import open_model

SIZES: Final = (20, 100, 300, 660, 1300)
MEANT: Final = (0.1, 0.01)
_AT_ONCE: Final = 256


def all_scores(model: GalleryFeatures, path: Path, threads: int) -> NDArray[np.float32]:
    """Return the scores of all pictures with one another, (N, N); a picture with itself is -1."""
    parts = []
    with open_pictures(path) as source, progress_bar("running the network") as progress:
        names = [name for name in source.names() if name.endswith((".jpg", ".png"))]
        for start in range(0, len(names), _AT_ONCE):
            pictures = [source.read(name) for name in names[start : start + _AT_ONCE]]
            good = [one for one in pictures if doubt_about_face(load_face(one, aligned=True, threads=threads)) is None]
            faces = np.stack(good)
            parts.append(model.features(np.ascontiguousarray(faces.transpose(0, 3, 1, 2))))
            progress(min(start + _AT_ONCE, len(names)), len(names))
    features = np.concatenate(parts)
    records = model.records(model.layout(features.shape[1:], "float32"), 0, features)
    scores = np.concatenate(
        [
            score_records(
                records, model.probes(features[start : start + _AT_ONCE], None), model.attention, threads=threads
            )
            for start in range(0, len(features), _AT_ONCE)
        ]
    )
    np.fill_diagonal(scores, -1)
    return scores


def passed(
    scores: NDArray[np.float32], size: int, threshold: float, draws: int, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Return the share of strangers who pass, over random galleries, and its 95 % interval over people."""
    count = len(scores)
    shares = np.zeros(count)
    seen = np.zeros(count)
    for _ in range(draws):
        inside = rng.permutation(count)[:size]
        outside = np.setdiff1d(np.arange(count), inside)
        shares[outside] += scores[np.ix_(outside, inside)].max(axis=1) > threshold
        seen[outside] += 1
    each = shares / np.maximum(seen, 1)
    resampled = [each[rng.integers(count, size=count)].mean() for _ in range(1000)]
    low, high = np.quantile(resampled, (0.025, 0.975))
    return float(each.mean()), float(low), float(high)


def main() -> None:
    """Measure every model asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, required=True, help="aligned pictures, one a person")
    parser.add_argument("--about", required=True, help="name of the set")
    parser.add_argument("--model", action="append", required=True, help="may be given several times")
    parser.add_argument("--draws", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    results: dict[str, Any] = {}
    for name in args.model:
        opened = open_model(name, threads=args.threads)
        if opened.entry is None:
            raise DataError(f"{name}: has no thresholds on record")
        model = GalleryFeatures(opened.model)
        scores = all_scores(model, args.pictures, args.threads)
        rng = np.random.default_rng(args.seed)
        rows: list[dict[str, Any]] = []
        for meant in MEANT:
            for size in SIZES:
                threshold, _ = gallery_threshold(opened.entry, model.default_kind, size, fpir=meant)
                found = passed(scores, size, threshold, args.draws, rng)
                rows.append({"meant": meant, "faces": size, "threshold": threshold, "passed": found[0]})
                rows[-1]["interval"] = found[1:]
                print(name, rows[-1], flush=True)
        results[name] = {"sha256": model.sha256, "people": len(scores), "rows": rows}
    document = {"set": args.about, "draws": args.draws, "seed": args.seed, "software": software_versions()}
    write_atomic(args.out, (json.dumps(document | {"models": results}, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()

"""Find the people of CFP (and of the Glint360K sample) who also occur in LFW.

A model that is measured on LFW must not be trained on LFW people. CFP's people have numbers instead of names,
so they are compared by face: a template per person (the mean of the embeddings of their pictures), the cosine
between every CFP person and every LFW person, and a threshold. The same comparison among LFW people, who have
different names, shows how similar the nearest stranger among so many people is.

Example::

    python scripts/lfw_overlap.py --lfw lfw-aligned-112.tar --cfp cfp-aligned-112.tar \
        --glint24 glint24-aligned-112.tar --model mobilefacenet-large.onnx --out docs/studies/lfw_overlap.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from whyface.evaluate.scoring import embed_all
from whyface.faces.face import FACE_SIZE
from whyface.faces.pictures import PictureSource, open_pictures
from whyface.models.embedder import Embedder, l2_normalise
from whyface.models.onnx_embedder import OnnxEmbedder

Floats = NDArray[np.float32]

BATCH = 64
MOST_PICTURES = 50

# With mobilefacenet-large the best cosines form two groups, around 0.28 and above 0.44, with few between them. On
# the contact sheet, the lowest pair of the same person is at 0.38. CFP's numbers follow the alphabet, so that
# certain matches narrow down each person's name; a search among only the LFW names that fit also finds nobody
# below 0.38. The threshold leaves a margin: about twenty people above it are strangers.
THRESHOLD = 0.34
SHEET_PICTURES = 4


def templates(embedder: Embedder, source: PictureSource, people: dict[str, list[str]]) -> tuple[list[str], Floats]:
    """Return the people's names and their unit-length mean features, shape (P, D)."""
    people = {person: pictures[:MOST_PICTURES] for person, pictures in people.items()}
    names = [name for pictures in people.values() for name in pictures]
    features = embed_all(embedder, source, names, batch=BATCH)
    starts = np.cumsum([0, *[len(pictures) for pictures in people.values()][:-1]])
    return list(people), l2_normalise(np.add.reduceat(features, starts, axis=0))


def by_person(names: Iterable[str], part: int, only: str = "") -> dict[str, list[str]]:
    """Group picture names by the ``part``-th folder of their path, keeping those that contain ``only``."""
    people: dict[str, list[str]] = {}
    for name in names:
        if only in name:
            people.setdefault(PurePosixPath(name).parts[part], []).append(name)
    return people


def nearest(rows: Floats, columns: Floats) -> tuple[NDArray[np.intp], Floats]:
    """Return for each row its best column and their cosine."""
    cosines = rows @ columns.T
    best = cosines.argmax(axis=1)
    return best, cosines[np.arange(len(rows)), best]


def stranger_statistics(lfw: Floats, counts: NDArray[np.int64]) -> dict[str, float]:
    """Describe the cosines between LFW people, who differ by name.

    The best match of every person with at least five pictures shows how similar the nearest stranger is to a template
    as good as CFP's. LFW has a few people under two names, so that the highest ones are not all strangers.
    """
    cosines = lfw @ lfw.T
    np.fill_diagonal(cosines, -1.0)
    upper = cosines[np.triu_indices(len(lfw), 1)]
    best = cosines[counts >= 5].max(axis=1)
    return {
        "pair_mean": float(upper.mean()),
        "pair_deviation": float(upper.std()),
        **{f"nearest_stranger_quantile_{q}": float(np.quantile(best, q)) for q in (0.5, 0.9, 0.95, 0.99)},
    }


def save_sheet(
    path: Path,
    rows: list[tuple[str, list[str], list[str]]],
    cfp: PictureSource,
    lfw: PictureSource,
) -> None:
    """Write a contact sheet with one row per candidate, CFP pictures on the left and LFW pictures on the right."""
    label = 14
    sheet = Image.new("RGB", ((2 * SHEET_PICTURES) * FACE_SIZE + 8, len(rows) * (FACE_SIZE + label)), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (title, left, right) in enumerate(rows):
        top = row * (FACE_SIZE + label)
        draw.text((2, top), title, fill="black")
        for source, names, offset in ((cfp, left, 0), (lfw, right, SHEET_PICTURES * FACE_SIZE + 8)):
            for column, name in enumerate(names[:SHEET_PICTURES]):
                picture = Image.fromarray(source.read(name))
                sheet.paste(picture, (offset + column * FACE_SIZE, top + label))
    sheet.save(path)


def histogram(values: Floats) -> dict[str, int]:
    """Count values in bins of 0.05 between 0 and 1."""
    edges = np.round(np.arange(0.0, 1.0001, 0.05), 2)
    counts, _ = np.histogram(values, edges)
    return {f"{low:.2f}": int(count) for low, count in zip(edges[:-1], counts, strict=True)}


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--lfw", type=Path, required=True, help="aligned LFW pictures, tar or folder")
    parser.add_argument("--cfp", type=Path, required=True, help="aligned CFP pictures, tar or folder")
    parser.add_argument("--glint24", type=Path, help="aligned sample of Glint360K, tar or folder")
    parser.add_argument("--model", type=Path, required=True, help="ONNX network, raw 0..255 RGB in")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--threshold", type=float, default=THRESHOLD, help="exclude from this cosine upwards")
    parser.add_argument("--sheet", type=Path, help="also write a contact sheet (PNG) of the borderline people")
    parser.add_argument("--sheet-from", type=float, default=0.28, help="lowest cosine on the sheet")
    parser.add_argument("--sheet-to", type=float, default=0.45, help="highest cosine on the sheet")
    return parser.parse_args()


def main() -> None:
    """Compare the people, and write those to exclude."""
    options = parse()
    embedder = OnnxEmbedder(options.model, threads=1)
    with open_pictures(options.lfw) as lfw_source, open_pictures(options.cfp) as cfp_source:
        lfw_people = by_person(lfw_source.names(), -2)
        cfp_people = by_person(cfp_source.names(), -3, only="/frontal/")
        lfw_names, lfw = templates(embedder, lfw_source, lfw_people)
        cfp_names, cfp = templates(embedder, cfp_source, cfp_people)
        best, cosine = nearest(cfp, lfw)
        order = np.argsort(-cosine, kind="stable")
        if options.sheet is not None:
            rows = [
                (
                    f"{cfp_names[i]} - {lfw_names[best[i]]} {cosine[i]:.3f}",
                    cfp_people[cfp_names[i]],
                    lfw_people[lfw_names[best[i]]],
                )
                for i in order
                if options.sheet_from <= cosine[i] <= options.sheet_to
            ]
            save_sheet(options.sheet, rows, cfp_source, lfw_source)

    counts = np.array([len(pictures) for pictures in lfw_people.values()])
    excluded = [i for i in order if cosine[i] >= options.threshold]
    result: dict[str, Any] = {
        "settings": {
            "model": options.model.name,
            "model_sha256": embedder.sha256,
            "template": f"mean feature of the first {MOST_PICTURES} pictures (CFP: frontal only)",
            "threshold": options.threshold,
            "rule": "exclude when the best cosine with any LFW person is at or above the threshold",
        },
        "strangers": stranger_statistics(lfw, counts),
        "cfp_people": len(cfp_names),
        "lfw_people": len(lfw_names),
        "best_cosine_histogram": histogram(cosine),
        "cfp": [entry(cfp_names[i], lfw_names[best[i]], cosine[i]) for i in excluded],
        "cfp_just_below": [
            entry(cfp_names[i], lfw_names[best[i]], cosine[i])
            for i in order
            if options.threshold - 0.02 <= cosine[i] < options.threshold
        ],
    }
    if options.glint24 is not None:
        with open_pictures(options.glint24) as source:
            names, rows24 = templates(embedder, source, by_person(source.names(), -2))
        best, cosine = nearest(rows24, lfw)
        # By name as well as by face: "Robert_Downey_Jr" is spelt the same in both sets.
        found = [
            {**entry(name, lfw_names[best[i]], cosine[i]), "same_name_in_lfw": name in lfw_people}
            for i, name in enumerate(names)
            if name in lfw_people or cosine[i] >= options.threshold
        ]
        result["glint24"] = found
        result["glint24_kept"] = [
            entry(name, lfw_names[best[i]], cosine[i])
            for i, name in enumerate(names)
            if name not in lfw_people and cosine[i] < options.threshold
        ]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"{len(excluded)} of {len(cfp_names)} CFP people excluded at {options.threshold}")


def entry(person: str, lfw_name: str, cosine: float) -> dict[str, str | float]:
    """Describe one comparison."""
    return {"person": person, "lfw_name": lfw_name, "cosine": round(float(cosine), 4)}


if __name__ == "__main__":
    main()

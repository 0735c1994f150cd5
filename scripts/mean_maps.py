r"""Make the mean maps of the package: a network's mean spatial map over many faces, which methods subtract.

    python scripts/mean_maps.py mobilefacenet-ms1m mobilefacenet-large mobilefacenet-casia --model-dir weights \
        --cfp cfp-aligned-112.tar --overlap docs/studies/lfw_overlap.json

They are measured on the first frontal picture of each person of CFP who is not in LFW.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from whyface.explain.places import mean_map, save_mean_map, shipped_mean_maps
from whyface.explain.verdict import software_versions
from whyface.faces.pictures import PictureSource, open_pictures
from whyface.files.progress import progress_bar
from whyface.models.catalogue import model_entry, open_embedder
from whyface.train.corpus import people_left_out


def main() -> None:
    """Read the faces once, and average every network's map."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--model-dir", type=Path)
    parser.add_argument("--cfp", type=Path, required=True, help="aligned CFP, folder or tar")
    parser.add_argument("--overlap", type=Path, required=True, help="report of lfw_overlap.py")
    args = parser.parse_args()
    with open_pictures(args.cfp) as source:
        names = first_frontal(source, people_left_out(args.overlap))
        faces = np.stack([source.read(name).transpose(2, 0, 1) for name in names])
    for name in args.models:
        embedder = open_embedder(name, directory=args.model_dir)
        with progress_bar(name) as progress:
            values = mean_map(embedder, faces, progress=progress)
        record = {
            "model": name,
            "sha256": model_entry(name).files["onnx"].sha256,
            "faces": f"one frontal picture of each of {len(faces)} people of CFP whom LFW does not have",
            "whyface": software_versions()["whyface"],
        }
        save_mean_map(shipped_mean_maps() / f"{name}.safetensors", values, record)
        print(f"{name}: {values.shape}, {len(faces)} people")


def first_frontal(source: PictureSource, left_out: frozenset[str]) -> list[str]:
    """Return the name of one picture of each person, such as ``cfp/Images/001/frontal/01.jpg``."""
    first: dict[str, str] = {}
    for name in source.names():
        person = f"cfp/{name.split('/')[2]}"
        if "/frontal/" in name and person not in left_out:
            first.setdefault(person, name)
    return list(first.values())


if __name__ == "__main__":
    main()

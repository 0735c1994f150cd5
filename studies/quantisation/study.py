"""Make an int8 version of a shipped model: a folder that every command opens with ``--model``.

    python -m studies.quantisation.study --faces faces.tar --out int8
    whyface verify one.jpg other.jpg --model int8 --threshold 0.35

Calibrate with aligned faces of people who are in none of your tests. Thresholds may not carry over; measure them with
``whyface evaluate``. docs/studies/speed.md has the gain in time and the loss in accuracy.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from studies.quantisation.quantised import HEAD, quantise, write_variant
from whyface.faces.pictures import open_pictures
from whyface.models.catalogue import FAST_MODEL, model_entry


def calibration_faces(path: Path, count: int, seed: int) -> NDArray[np.uint8]:
    """Draw aligned faces from a folder or tar file."""
    with open_pictures(path) as source:
        names = np.random.default_rng(seed).permutation(source.names())[:count]
        return np.stack([source.read(str(name)).transpose(2, 0, 1) for name in names])


def main() -> None:
    """Quantise and write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, required=True, help="aligned faces, a folder or tar file")
    parser.add_argument("--model", default=FAST_MODEL)
    parser.add_argument("--head", type=int, default=HEAD, help="convolutions at the end that stay as they are")
    parser.add_argument("--count", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="the model's folder")
    args = parser.parse_args()
    # The quantiser recommends a preparation step that has no effect on this network.
    logging.getLogger().setLevel(logging.ERROR)
    faces = calibration_faces(args.faces, args.count, args.seed)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "model.onnx"
        quantise(model_entry(args.model).locate("onnx"), target, faces, head=args.head)
        written = write_variant(args.out, target, args.model)
    sys.stdout.write(f"{written.folder}: {sum(file.bytes for file in written.files.values())} bytes\n")


if __name__ == "__main__":
    main()

r"""Describe and group faces by dlib, as the package face_recognition does, for the study of groups.

    python -m studies.clusters.dlib_faces --pictures lfw-deepfunneled-folds-1-2.tar --models DAT_FILES --out dlib.npz

dlib and its networks are no part of whyface: install dlib-bin and face_recognition_models where this runs. The
pictures are whole photos: dlib finds faces and aligns them its own way. Of several faces the one nearest the middle
is taken; where none is found, the middle of the photo. Groups are dlib's Chinese whispers at distance 0.5, as in its
own example, and at 0.6, the tolerance of face_recognition.
"""

from __future__ import annotations

import argparse
import importlib
import tarfile
from pathlib import Path
from typing import Final

import numpy as np

from whyface.faces.photo import decode_photo

DISTANCES: Final = (0.5, 0.6)


def main() -> None:
    """Describe all pictures of a tar file, group them, and write names, descriptors and groups."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True, help="folder of face_recognition_models")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    dlib = importlib.import_module("dlib")
    find = dlib.get_frontal_face_detector()
    marks = dlib.shape_predictor(str(args.models / "shape_predictor_5_face_landmarks.dat"))
    network = dlib.face_recognition_model_v1(str(args.models / "dlib_face_recognition_resnet_model_v1.dat"))
    names, vectors, found = [], [], []
    with tarfile.open(args.pictures) as pictures:
        for member in pictures:
            file = pictures.extractfile(member) if member.name.endswith((".jpg", ".png")) else None
            if file is None:
                continue
            picture = decode_photo(file.read(), member.name)
            middle = np.array(picture.shape[1::-1]) / 2
            boxes = find(picture, 1)
            none = dlib.rectangle(*(middle / 2).astype(int).tolist(), *(middle * 1.5).astype(int).tolist())
            apart = [abs(box.center().x - middle[0]) + abs(box.center().y - middle[1]) for box in boxes]
            box = boxes[int(np.argmin(apart))] if apart else none
            names.append(member.name)
            found.append(bool(apart))
            vectors.append(network.compute_face_descriptor(picture, marks(picture, box)))
    groups = {
        f"groups_Chinese whispers at {distance}": np.array(dlib.chinese_whispers_clustering(vectors, distance))
        for distance in DISTANCES
    }
    about = {"names": np.array(names), "vectors": np.array(vectors), "found": np.array(found)}
    np.savez(args.out, allow_pickle=False, **about, **groups)
    print(f"{len(names)} pictures, a face was found in {np.mean(found):.1%}")


if __name__ == "__main__":
    main()

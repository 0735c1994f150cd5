"""Whole files of every kind that whyface reads from others, and how each is read; the fuzzer spoils them."""

from __future__ import annotations

import io
import json
import pickle
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from PIL import Image, features
from safetensors.numpy import save

from helpers.face_folders import write_config
from helpers.gallery_models import TinyGrids
from helpers.picture_files import flat, write_tar
from helpers.record_writer import image, write_records
from helpers.tiny_networks import flat_faces, write_tiny
from hostile.mutators import BINARY, TEXT, Mutator
from whyface.batch.pair_source import open_pair_source
from whyface.data.folders import label_by_folder
from whyface.data.insightface_bin import read_bin
from whyface.data.pair_lists import read_lfw_pairs, read_pair_list
from whyface.data.protocols import build_protocol
from whyface.data.recordio import open_records
from whyface.data.video_sets import read_video_sets
from whyface.demo import demo_photo
from whyface.errors import WhyfaceError
from whyface.evaluate.report import read_scores, write_scores
from whyface.explain.explanation import Explanation
from whyface.explain.places import read_mean_map
from whyface.faces.photo import read_photo
from whyface.faces.pictures import decode_aligned, open_pictures
from whyface.gallery.gallery import Gallery
from whyface.identify.evidential import load_evidential_head
from whyface.models.catalogue import write_entry
from whyface.models.onnx_embedder import OnnxEmbedder
from whyface.models.onnx_session import list_grids
from whyface.train.config import read_config
from whyface.train.networks import read_safetensors
from whyface.verification import verify
from whyface.words.attribute_model import read_attributes
from whyface.xcos.model import read_correlated
from whyface.xcos.open_model import open_model
from whyface.xcos.separable import read_attention

Files = dict[str, bytes]
"""File name -> content, of one input."""


@dataclass(frozen=True)
class Kind:
    """One kind of input.

    Attributes
    ----------
    samples
        Make whole inputs; of each, the first file is spoilt, or any where ``spoil_any``.
    read
        Read one from its folder as the library does.
    command
        Arguments of the command that takes it, given the folder; None where there is none.
    mutators
        Ways to spoil it.
    """

    samples: Callable[[], list[Files]]
    read: Callable[[Path], object]
    command: Callable[[Path], list[str]] | None = None
    mutators: tuple[Mutator, ...] = BINARY
    spoil_any: bool = field(default=False)


def files_of(folder: Path) -> Files:
    """Read all files of a folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def made(*makers: Callable[[Path], object]) -> list[Files]:
    """Read what each maker writes into an empty folder."""
    found = []
    for make in makers:
        with tempfile.TemporaryDirectory() as name:
            make(Path(name))
            found.append(files_of(Path(name)))
    return found


def try_all(readers: list[Callable[[], object]]) -> None:
    """Call each; refuse as the first does if all refuse."""
    refused: list[WhyfaceError] = []
    for read in readers:
        try:
            read()
        except WhyfaceError as error:
            refused.append(error)
    if len(refused) == len(readers):
        raise refused[0]


PHOTOS: Final = [str(demo_photo(name)) for name in ("obama-portrait.jpg", "biden-portrait.jpg")]


def photos() -> list[Files]:
    """Small pictures in every format, grey, 16 bits, palette and progressive among them."""
    rng = np.random.default_rng(0)
    smooth = np.kron(rng.integers(0, 256, (14, 14, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
    picture = Image.fromarray(smooth)
    options: list[tuple[str, Image.Image, dict[str, Any]]] = [
        ("JPEG", picture, {}),
        (
            "JPEG",
            picture,
            {"progressive": True, "exif": b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"},
        ),
        ("PNG", picture, {}),
        ("PNG", picture.convert("P"), {"transparency": 3}),
        ("PNG", Image.fromarray(smooth[..., 0].astype(np.uint16) * 257), {}),
        ("WEBP", picture, {}),
        ("BMP", picture, {}),
        ("GIF", picture, {}),
        ("TIFF", picture, {"compression": "tiff_lzw"}),
        ("TIFF", picture, {"compression": "jpeg"}),
        ("TIFF", Image.fromarray(smooth[..., 0].astype(np.float32)), {}),
        *([("AVIF", picture, {})] if features.check("avif") else []),
    ]
    found = []
    for kind, one, more in options:
        buffer = io.BytesIO()
        one.save(buffer, kind, **more)
        found.append({"photo.jpg": buffer.getvalue()})
    try:
        import pillow_heif
    except ImportError:
        return found
    buffer = io.BytesIO()
    pillow_heif.from_pillow(picture).save(buffer)
    return [*found, {"photo.jpg": buffer.getvalue()}]


def read_photo_twice(folder: Path) -> None:
    """Read a photo, and then the same bytes as an aligned crop."""
    path = folder / "photo.jpg"
    read_photo(path)
    decode_aligned(path.read_bytes(), "photo.jpg")


def _function(model: Any) -> None:
    ops = [onnx.helper.make_opsetid("", 13)]
    node = onnx.helper.make_node("Relu", ["x"], ["z"])
    model.functions.append(onnx.helper.make_function("own", "f", ["x"], ["z"], [node], ops))
    model.opset_import.append(onnx.helper.make_opsetid("own", 1))
    model.graph.node[-1].output[0] = "before"
    model.graph.node.append(onnx.helper.make_node("f", ["before"], ["y"], domain="own"))


def networks() -> list[Files]:
    """Tiny networks."""
    return made(
        lambda folder: write_tiny(folder / "net.onnx"),
        lambda folder: write_tiny(folder / "net.onnx", batch=2, outputs=("y", "map")),
        lambda folder: write_tiny(folder / "net.onnx", edit=_function),
    )


def read_network(folder: Path) -> None:
    """Look for grids and embed a face."""
    list_grids(folder / "net.onnx")
    OnnxEmbedder(folder / "net.onnx", grid="map", threads=1).embed(flat_faces((1, 2, 3)))


def tensors() -> list[Files]:
    """Files of tensors with and without a record."""
    rng = np.random.default_rng(0)
    values: dict[str, Any] = {
        "a": rng.random((4, 5), np.float32),
        "correlated": rng.random((7, 7), np.float32),
        "n": np.arange(9),
    }
    record = {"evidential": json.dumps({"format": "whyface/evidential/1", "people": ["a"], "scale": 1, "shift": 0})}
    return [{"x.safetensors": save(values)}, {"x.safetensors": save(values, record)}]


def read_any_tensors(folder: Path) -> None:
    """Read with every reader of tensors; an error of one leaves the others to be tried."""
    path = folder / "x.safetensors"
    readers: list[Callable[[Path], object]] = [
        *(read_safetensors, read_correlated, read_attention, read_attributes, load_evidential_head, read_mean_map),
    ]
    try_all([partial(read, path) for read in readers])


def models() -> list[Files]:
    """A model's folder, with its description first."""

    def write(folder: Path) -> None:
        network = write_tiny(folder / "net.onnx")
        write_entry(folder, {"onnx": network}, name="own", kind="cosine", embedding_size=2, grid=("map", (2, 7, 7)))

    (found,) = made(write)
    return [dict(sorted(found.items(), key=lambda item: item[0] != "model.json"))]


@cache
def explained() -> bytes:
    """One explanation as JSON."""
    return verify(*PHOTOS).explanation.to_json(indent=1).encode()


def archives() -> list[Files]:
    """Archives of labelled pictures: plain, with long names, with metadata of the pax kind."""
    pictures = {f"p{n % 3}/{n}.png": flat(40 * n) for n in range(6)}
    long = {f"{'long' * 30}/{n}.png": flat(n) for n in range(3)} | {"é/1.png": flat(9)}
    return made(
        lambda folder: write_tar(folder / "x.tar", pictures),
        lambda folder: write_tar(folder / "x.tar", long),
    )


def read_labelled(folder: Path) -> None:
    """Read an archive's pictures."""
    with open_pictures(folder / "x.tar") as source:
        label_by_folder(source, "x.tar")
        for name in source.names():
            source.read(name)


def pair_tables() -> list[Files]:
    """Lists of pairs for a batch."""
    plain = 'a,b,note\nx/1.png,x/2.png,same\nx/1.png,y/1.png,"other, one"\n'
    return [{"pairs.csv": plain.encode()}, {"pairs.csv": f"\ufeff{plain}".replace("\n", "\r\n").encode()}]


def read_pair_table(folder: Path) -> None:
    """Read all its pairs."""
    source = open_pair_source(folder / "pairs.csv")
    assert source.count() == len(list(source))
    source.describe()


def protocols() -> list[Files]:
    """Lists of pairs for an evaluation."""
    fold = "".join(f"Ann\t{n}\t{n + 1}\n" for n in range(1, 4)) + "".join(f"Ann\t{n}\tBob\t1\n" for n in range(1, 4))
    lfw = f"2\t3\n{fold}{fold.replace('Ann', 'Cyd')}"
    return [
        {"list.txt": lfw.encode()},
        {"list.txt": b"a/1.png b/1.png 0\na/1.png a/2.png 1\nb/1.png b/2.png 1\na/2.png b/2.png 0\n"},
        {"list.txt": b"split, first, second, same\n1, a/1, b/1, 0\n2, a/1, a/2, 1\n"},
    ]


def read_protocols(folder: Path) -> None:
    """Read a list in all three ways; it cannot be right for all."""
    path = folder / "list.txt"
    names = [f"{p}/{v}/{n}.png" for p in "ab" for v in (1, 2) for n in (1, 2)]
    readers: list[Callable[[], object]] = [
        lambda: read_lfw_pairs(path),
        lambda: read_pair_list(path, folds=2),
        lambda: read_video_sets(path, names, where="x"),
    ]
    try_all(readers)


def bins() -> list[Files]:
    """Verification files of pickled pictures, by old and new protocols."""
    content = ([flat(n, "jpeg") for n in range(4)], [True, False])
    arrays = ([np.frombuffer(data, np.uint8) for data in content[0]], np.array(content[1]))
    return [
        *({"x.bin": pickle.dumps(content, protocol)} for protocol in (0, 2, 5)),
        {"x.bin": pickle.dumps(arrays, 4)},
    ]


def read_all_of_bin(folder: Path) -> None:
    """Read a verification file and its pictures."""
    found = read_bin(folder / "x.bin", folds=1)
    for name in found.source.names():
        found.source.read(name)


def records() -> list[Files]:
    """A record file, with its index and without."""

    def write(folder: Path) -> None:
        pictures = [image(n % 2, flat(n), n) for n in range(1, 6)]
        write_records(folder / "x.rec", [image([6.0, 8.0], b""), *pictures])

    (whole,) = made(write)
    return [whole, {"x.rec": whole["x.rec"]}]


def read_all_records(folder: Path) -> None:
    """Read the labels and pictures of a record file."""
    source = open_records(folder / "x.rec").source
    for name in source.names():
        source.read(name)


MODEL: Final = TinyGrids()


def galleries() -> list[Files]:
    """A gallery of twelve faces."""

    def write(folder: Path) -> None:
        pictures = np.random.default_rng(0).integers(0, 256, (12, 3, 112, 112), np.uint8)
        with Gallery.create(folder / "g", MODEL) as gallery:
            names = [f"person {n // 2}" for n in range(12)]
            gallery.add(MODEL.embed(pictures), names, [f"{n}.png" for n in range(12)])
            gallery.remove("person 3")

    return made(write)


def read_gallery(folder: Path) -> None:
    """Do all that a reader does."""
    with Gallery.open(folder / "g", MODEL) as gallery:
        gallery.names()
        gallery.rows(range(20))
        gallery.check()
        gallery.search(MODEL.embed(flat_faces((1, 2, 3))), k=5, threads=1)


def scores() -> list[Files]:
    """A table of scores."""
    pairs: list[Any] = [("a/1", "b/1", False, 0), ("a/1", "a/2", True, 1)]
    protocol = build_protocol("x", pairs, {"a/1": "a", "a/2": "a", "b/1": "b"})
    return made(lambda folder: write_scores(folder / "x.parquet", protocol, {"u": np.array([0.9, 0.1])}, {"seed": 1}))


def configurations() -> list[Files]:
    """Settings of a training run."""

    def write(folder: Path) -> None:
        write_config(folder / "run.yaml", folder / "nothing")

    return made(write)


KINDS: Final[dict[str, Kind]] = {
    "photos": Kind(photos, read_photo_twice, lambda f: ["verify", str(f / "photo.jpg"), PHOTOS[0]]),
    "networks": Kind(
        networks,
        read_network,
        lambda f: ["verify", *PHOTOS, "--model", str(f / "net.onnx"), "--threshold", "0.3", "--threads", "1"],
    ),
    "tensors": Kind(tensors, read_any_tensors),
    "models": Kind(
        models,
        lambda f: open_model(str(f)).comparison().features(flat_faces((1, 2, 3))),
        lambda f: ["verify", *PHOTOS, "--model", str(f), "--threshold", "0.3", "--threads", "1"],
        TEXT,
    ),
    "explanations": Kind(
        lambda: [{"x.json": explained()}],
        lambda f: Explanation.from_json((f / "x.json").read_bytes().decode("utf-8", "surrogateescape")),
        mutators=TEXT,
    ),
    "configurations": Kind(
        configurations,
        lambda f: read_config(f / "run.yaml"),
        lambda f: ["train", str(f / "run.yaml"), "--out", str(f / "out")],
        TEXT,
    ),
    "archives": Kind(
        archives,
        read_labelled,
        lambda f: ["evaluate", "--protocol", "lfw", "--data", str(f / "x.tar"), "--out", str(f / "out")],
    ),
    "pair tables": Kind(
        pair_tables,
        read_pair_table,
        lambda f: ["batch", str(f / "pairs.csv"), "--aligned", "--out", str(f / "out.csv"), "--threads", "1"],
        TEXT,
    ),
    "protocols": Kind(protocols, read_protocols, mutators=TEXT),
    "bins": Kind(bins, read_all_of_bin),
    "records": Kind(records, read_all_records, spoil_any=True),
    "galleries": Kind(galleries, read_gallery, lambda f: ["gallery", "info", str(f / "g"), "--check"], spoil_any=True),
    "scores": Kind(scores, lambda f: read_scores(f / "x.parquet")),
}

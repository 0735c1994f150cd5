"""Plug-ins: a frozen network's own cosine at the start, graphs that agree with torch, mistakes that are named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from helpers.face_folders import write_faces
from helpers.tiny_networks import shared_weights, write_tiny
from helpers.tiny_torch import curved_parts, random_faces
from whyface.data.pair_lists import read_lfw_pairs
from whyface.errors import InputError, ModelError, OutputError
from whyface.evaluate.rates import best_threshold
from whyface.faces.pictures import open_pictures
from whyface.models.embedder import Embedder
from whyface.models.onnx_embedder import OnnxEmbedder
from whyface.models.preprocessing import ARCFACE
from whyface.models.torch_embedder import TorchEmbedder
from whyface.train.config import LossConfig
from whyface.train.plug_in import PlugInSettings, fit_xcos
from whyface.train.viewed_maps import FrozenMaps, MapNetwork, freeze_maps, read_faces
from whyface.xcos.model import XcosModel, open_xcos
from whyface.xcos.open_model import open_model

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
QUICK = PlugInSettings(steps=3, people=3, pictures=2, grid_channels=8, context=3)
QUICK_SHARED = replace(QUICK, head="shared")
WHO = np.array(["a", "a", "b", "b", "c", "c", "d"])


def faces_of(count: int = 7) -> NDArray[np.uint8]:
    """Pairs of pictures of one person that differ by noise."""
    rng = np.random.default_rng(0)
    people = random_faces((count + 1) // 2).repeat(2, axis=0)[:count].astype(np.float64)
    return (people + rng.normal(0, 20, people.shape)).clip(0, 255).astype(np.uint8)


def curved(**options: Any) -> TorchEmbedder:
    return TorchEmbedder(*curved_parts(), name="curved", **options)


@pytest.fixture
def tiny(tmp_path: Path) -> OnnxEmbedder:
    return OnnxEmbedder(write_tiny(tmp_path / "tiny.onnx"), grid="map", threads=1)


def test_before_training_a_placed_head_gives_the_network_s_own_cosine() -> None:
    """With an endless neighbourhood every place holds the whole embedding, less that of the mean face."""
    network, faces = curved(), faces_of()
    settings = PlugInSettings(steps=0, sigma=1e4, context=13)
    plug = fit_xcos(network, faces, WHO, settings=settings)
    with torch.no_grad():
        whole = network.head(torch.from_numpy(network.grid(faces))).numpy()
    whole -= whole.mean(axis=0)
    whole /= np.linalg.norm(whole, axis=1, keepdims=True)
    grids = plug.grid(network.grid(faces))
    grids /= np.linalg.norm(grids, axis=1, keepdims=True)
    similarity = np.einsum("achw,bchw->abhw", grids, grids)
    expected = np.broadcast_to((whole @ whole.T)[..., None, None], similarity.shape)
    # The mean was taken off maps in half precision.
    np.testing.assert_allclose(similarity, expected, atol=5e-3)


def test_an_onnx_network(tiny: OnnxEmbedder, tmp_path: Path) -> None:
    plug = fit_xcos(tiny, faces_of(), WHO, settings=QUICK)
    entry = plug.save(tmp_path / "mine", licence="MIT", training_data="made-up faces")
    assert entry.licence == "MIT"
    assert tiny.sha256 in entry.source
    opened = open_model(tmp_path / "mine")
    assert opened.name == "mine"
    assert isinstance(opened.model, XcosModel)
    assert opened.model.attentions == ("u", "p", "l")
    faces = faces_of()
    np.testing.assert_allclose(opened.model.grid(faces), plug.grid(tiny.grid(faces)), rtol=1e-3, atol=1e-2)
    maps = opened.model.compare(faces, faces, "l")
    np.testing.assert_allclose(maps.score, 1, atol=1e-5)
    np.testing.assert_allclose(maps.attention.sum(axis=(1, 2)), 1, atol=1e-5)
    # Nothing of the old head is left in the graph.
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(entry.locate("onnx")).graph
    assert "GlobalAveragePool" not in {node.op_type for node in graph.node}
    assert [output.name for output in graph.output] == ["grid"]


@pytest.mark.parametrize("version", [11, 20])
def test_older_and_newer_onnx_files_keep_their_preprocessing(tmp_path: Path, version: int) -> None:
    def renumber(model: Any) -> None:
        model.opset_import[0].version = version

    path = write_tiny(tmp_path / "t.onnx", edit=renumber)
    network = OnnxEmbedder(path, grid="map", preprocessing=ARCFACE, threads=1)
    plug = fit_xcos(network, faces_of(), WHO, settings=QUICK_SHARED)
    entry = plug.save(tmp_path / "mine")
    assert entry.preprocessing == ARCFACE
    faces = faces_of()
    np.testing.assert_allclose(open_xcos(entry).grid(faces), plug.grid(network.grid(faces)), atol=1e-4)


def named_layer() -> TorchEmbedder:
    return TorchEmbedder.from_layer(nn.Sequential(*curved_parts()).eval(), "0.4", preprocessing=ARCFACE)


@pytest.mark.parametrize("make", [curved, named_layer])
def test_a_torch_network(make: Any, tmp_path: Path) -> None:
    network = make()
    plug = fit_xcos(network, faces_of(), WHO, settings=QUICK)
    model = open_xcos(plug.save(tmp_path / "mine"))
    faces = faces_of()
    np.testing.assert_allclose(model.grid(faces), plug.grid(network.grid(faces)), rtol=1e-3, atol=1e-3)


def test_a_torch_network_described_by_two_functions() -> None:
    whole = nn.Sequential(*curved_parts()).eval()
    network = TorchEmbedder.from_functions(whole, lambda net, x: net[0](x), lambda net, x: net[1](x))
    same = curved()
    faces = faces_of()
    for one, other in zip(network.embed_with_grid(faces), same.embed_with_grid(faces), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    first, second = (fit_xcos(one, faces, WHO, settings=QUICK).grid(one.grid(faces)) for one in (network, same))
    np.testing.assert_allclose(first, second, atol=1e-2)


def test_the_two_branches_are_learnt(tiny: OnnxEmbedder) -> None:
    losses = LossConfig(identification=0.1, margin_kind="arcface", similarity=1.0)
    settings = replace(QUICK_SHARED, steps=60, losses=losses)
    seen = fit_xcos(tiny, faces_of(), WHO, settings=settings).losses
    assert len(seen) == 60
    assert np.mean(seen[-10:]) < 0.7 * np.mean(seen[:10])


def test_the_same_seed_gives_the_same_and_leaves_the_global_one_alone(tiny: OnnxEmbedder) -> None:
    maps = freeze_maps(tiny, faces_of(), WHO)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    plugs = [fit_xcos(tiny, maps, settings=replace(QUICK, seed=seed)) for seed in (1, 1, 2)]
    assert torch.equal(torch.rand(1), expected)
    first, again, other = (plug.xcos.state_dict() for plug in plugs)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["xcos.attention.pair_conv.weight"], other["xcos.attention.pair_conv.weight"])


def test_pictures_are_run_once_and_mirrored(tiny: OnnxEmbedder) -> None:
    seen: list[int] = []

    class Counting:
        name, sha256 = tiny.name, tiny.sha256

        def embed(self, batch: Any) -> Any:
            raise AssertionError("one pass gives both")

        def embed_with_grid(self, batch: Any) -> Any:
            seen.append(len(batch))
            return tiny.embed_with_grid(batch)

    network: MapNetwork = Counting()
    faces = faces_of()
    frozen = freeze_maps(network, faces, WHO)
    assert seen == [7, 7]
    assert frozen.maps.shape == (2, 7, 2, 7, 7)
    assert frozen.people.tolist() == [0, 0, 1, 1, 2, 2, 3]
    mirrored = tiny.grid(np.ascontiguousarray(faces[..., ::-1]))
    np.testing.assert_allclose(frozen.maps[1].astype(np.float32), mirrored, rtol=1e-3)
    assert freeze_maps(tiny, faces, WHO, mirror=False).maps.shape[0] == 1
    part = frozen.of(np.array([4, 5, 6]))
    assert part.people.tolist() == [0, 0, 1]
    assert part.shape == (2, 7, 7)


def test_another_teacher(tiny: OnnxEmbedder) -> None:
    teacher: Embedder = curved()
    frozen = freeze_maps(tiny, faces_of(), WHO, teacher=teacher)
    np.testing.assert_allclose(frozen.embeddings[0], teacher.embed(faces_of()), atol=1e-6)
    plug = fit_xcos(tiny, frozen, settings=QUICK)
    assert (plug.trained_on["network"], plug.trained_on["teacher"]) == ("tiny", "curved")


def test_values_too_large_for_half_precision(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "big.onnx", weights=((1e4, 2, 3), (4, 5, 6)))
    frozen = freeze_maps(OnnxEmbedder(path, grid="map", threads=1), faces_of(), WHO)
    assert frozen.maps.dtype == np.float32
    assert np.isfinite(frozen.maps).all()


def test_a_head_that_is_not_affine_asks_for_the_shared_one() -> None:
    trunk, _ = curved_parts()
    network = TorchEmbedder(trunk, nn.Sequential(nn.Flatten(), nn.ReLU()), name="bent")
    with pytest.raises(ModelError, match=r"not a sum over places.*head='shared'"):
        fit_xcos(network, faces_of(), WHO, settings=QUICK)
    assert fit_xcos(network, faces_of(), WHO, settings=QUICK_SHARED).correlated.shape == (7, 7)


def test_reading_faces_skips_and_names_a_broken_picture(tmp_path: Path) -> None:
    root = write_faces(tmp_path / "faces", {"ann": 2, "bob": 3})
    (root / "bob" / "1.png").write_bytes(b"no picture")
    with pytest.warns(UserWarning, match=r"skipped .*bob/1\.png"):
        faces, people = read_faces(root)
    assert faces.shape == (4, 3, 112, 112)
    assert people.tolist() == ["ann", "ann", "bob", "bob"]


def test_bad_input(tiny: OnnxEmbedder, tmp_path: Path) -> None:
    faces = faces_of()
    with pytest.raises(InputError, match="one person for each picture, got 3 for 7"):
        freeze_maps(tiny, faces, WHO[:3])
    with pytest.raises(InputError, match="who is in each picture"):
        fit_xcos(tiny, faces)
    with pytest.raises(InputError, match="at least two people"):
        fit_xcos(tiny, faces, np.zeros(7), settings=QUICK)
    with pytest.raises(ModelError, match="no spatial map"):
        fit_xcos(OnnxEmbedder(tiny.path, threads=1), faces, WHO, settings=QUICK)
    with pytest.raises(InputError, match="do not fit together"):
        FrozenMaps(np.zeros((1, 2, 3, 4, 5)), np.zeros((1, 3, 2), np.float32), np.zeros(2, np.int64), {})
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made"):
        fit_xcos(tiny, faces, WHO, settings=QUICK).save(tmp_path / "file")


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared beside the repository")
def test_a_published_network_keeps_its_accuracy(tmp_path: Path) -> None:
    """Trained on 60 people of CFP, compared with its own FC layer on LFW's first 300 + 300 pairs."""
    weights = shared_weights("mobilefacenet-large.onnx")
    network = OnnxEmbedder(weights, grid="/m/PRelu_33_output_0", threads=1)
    with open_pictures(DATA / "cfp-aligned-112.tar") as source:
        names = [name for name in source.names() if name.endswith(("01.jpg", "02.jpg", "03.jpg", "04.jpg"))][:480]
        faces = np.stack([source.read(name).transpose(2, 0, 1) for name in names])
    people = np.array([name.split("/")[2] for name in names])
    assert len(np.unique(people)) == 60
    plug = fit_xcos(network, faces, people, settings=PlugInSettings(steps=60))
    protocol = read_lfw_pairs(DATA / "lfw-pairs.txt")
    rows = np.flatnonzero(protocol.fold == 0)
    chosen, index = np.unique([protocol.left[rows], protocol.right[rows]], return_inverse=True)
    left, right = index.reshape(2, -1)
    with open_pictures(DATA / "lfw-aligned-112.tar") as source:
        tested = np.stack([source.read(protocol.pictures[k]).transpose(2, 0, 1) for k in chosen])
    embeddings, maps = network.embed_with_grid(tested)
    model = open_xcos(plug.save(tmp_path / "mine"))
    grids = plug.grid(maps)
    np.testing.assert_allclose(model.grid(tested[:8]), grids[:8], atol=1e-3)

    def accuracy(scores: NDArray[np.floating[Any]]) -> float:
        genuine = protocol.genuine[rows]
        return float(np.mean((scores > best_threshold(scores, genuine)) == genuine))

    own = accuracy((embeddings[left] * embeddings[right]).sum(axis=1))
    learned = accuracy(model.compare_grids(grids[left], grids[right], "l").score)
    assert own > 0.99
    assert learned > own - 0.01

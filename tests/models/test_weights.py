from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs torch (the extra torch)")

import safetensors  # noqa: E402
from safetensors import safe_open  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from torch import nn  # noqa: E402

from whyface.errors import ModelError, OutputError  # noqa: E402
from whyface.models.weights import LoadReport, load_safetensors, save_safetensors  # noqa: E402


def _net(width: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width))


def test_round_trip_with_metadata(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    torch.manual_seed(0)
    source, target = _net(), _net()
    save_safetensors(source, path, {"licence": "Apache-2.0"})
    assert load_safetensors(target, path) == LoadReport((), ())
    for name, tensor in source.state_dict().items():
        assert torch.equal(tensor, target.state_dict()[name])
    with safetensors.safe_open(path, "pt") as file:
        assert file.metadata() == {"licence": "Apache-2.0"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"]


def test_prefix_takes_a_part(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    trunk = _net()
    save_safetensors(nn.ModuleDict({"trunk": trunk, "head": nn.Linear(3, 3)}), path)
    target = _net()
    load_safetensors(target, path, prefix="trunk.")
    assert torch.equal(target[0].weight, trunk[0].weight)


def test_not_strict_reports_what_is_left(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    weight = torch.full((3, 2), 7.0)
    save_safetensors({"0.weight": weight, "extra": torch.zeros(1)}, path)
    net = _net()
    bias = net.state_dict()["0.bias"].clone()
    report = load_safetensors(net, path, strict=False)
    assert report.unexpected == ("extra",)
    assert report.missing == ("0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var")
    assert torch.equal(net[0].weight, weight)
    assert torch.equal(net[0].bias, bias)


def test_step_counters_may_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    tensors = {name: t for name, t in _net().state_dict().items() if not name.endswith("num_batches_tracked")}
    save_safetensors(tensors, path)
    assert load_safetensors(_net(), path) == LoadReport((), ())


def test_half_precision_file_into_a_float_module(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    source = _net().half()
    save_safetensors(source, path)
    target = _net()
    load_safetensors(target, path)
    assert target[0].weight.dtype == torch.float32
    assert torch.equal(target[0].weight, source[0].weight.float())


def test_tensors_that_share_memory_or_are_strided_are_saved(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    base = torch.arange(6.0).view(2, 3)
    save_safetensors({"a": base, "b": base, "t": base.T}, path)
    with safetensors.safe_open(path, "pt") as file:
        assert torch.equal(file.get_tensor("t"), base.T)


def _refused(path: Path, message: str, **options: bool | str) -> None:
    net = _net()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(ModelError, match=message) as caught:
        load_safetensors(net, path, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_names_and_shapes_that_differ(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    tensors = dict(_net().state_dict())
    save_safetensors({**tensors, "extra": torch.zeros(1)}, path)
    _refused(path, "has the unknown 'extra'")
    del tensors["1.weight"]
    save_safetensors(tensors, path)
    _refused(path, "misses '1.weight'")
    save_safetensors(_net(4), path)
    _refused(path, r"'0\.weight' has the shape \(4, 2\), but Sequential needs \(3, 2\)")
    _refused(path, "has the shape", strict=False)
    _refused(path, "no tensor under the prefix 'x.' fits Sequential", prefix="x.", strict=False)


def test_long_lists_are_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_safetensors({"0.weight": torch.zeros(3, 2)}, path)
    _refused(path, "misses '0.bias', '1.weight', '1.bias' and 2 more")


def test_files_that_are_no_safetensors(tmp_path: Path) -> None:
    pickled = tmp_path / "a.pth"
    torch.save({"0.weight": torch.zeros(3, 2)}, pickled)
    _refused(pickled, "not a usable safetensors file")
    (tmp_path / "empty.safetensors").touch()
    _refused(tmp_path / "empty.safetensors", "empty")
    _refused(tmp_path / "none.safetensors", "no such model file")
    whole = tmp_path / "whole.safetensors"
    save_safetensors(_net(), whole)
    (tmp_path / "cut.safetensors").write_bytes(whole.read_bytes()[:-4])
    _refused(tmp_path / "cut.safetensors", "not a usable safetensors file")


def test_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        save_safetensors(_net(), tmp_path / "none" / "a.safetensors")


def test_equal_tensors_make_equal_files(tmp_path: Path) -> None:
    """The library puts the metadata into an order that it draws anew for every file."""
    tensors = {"a": torch.arange(5.0), "bé": torch.ones(2, 3, dtype=torch.int64), "c": torch.zeros(3)}
    metadata = {"format": "pt", "whyface": '{"naïve": "a\\n\x1f\t"}', "model": "é", "z": ""}
    files = set()
    for number in range(20):
        save_safetensors(tensors, tmp_path / f"{number}.safetensors", metadata)
        files.add((tmp_path / f"{number}.safetensors").read_bytes())
    assert len(files) == 1
    with safe_open(tmp_path / "0.safetensors", framework="pt") as file:
        assert file.metadata() == metadata
        for name, tensor in tensors.items():
            assert torch.equal(file.get_tensor(name), tensor)
    save_safetensors(tensors, tmp_path / "bare.safetensors")
    assert load_file(tmp_path / "bare.safetensors").keys() == tensors.keys()

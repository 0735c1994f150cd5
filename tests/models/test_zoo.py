from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.tiny_networks import flat_faces, shared_weights, write_tiny
from whyface.errors import ModelError, ModelIntegrityError, OutputError
from whyface.models.catalogue import (
    DEFAULT_MODEL,
    find_entry,
    known_models,
    model_entry,
    open_embedder,
    read_entry,
    update_entry,
    write_entry,
    zoo_path,
)
from whyface.models.entry import ATTENTIONS, MODELS_VARIABLE, ModelEntry, parse_entries
from whyface.models.preprocessing import RAW

POINT: dict[str, Any] = {
    "name": "FMR 1e-3",
    "threshold": 0.31,
    "fmr": 0.001,
    "fnmr": 0.02,
    "fmr_interval": [0.0005, 0.002],
    "fnmr_interval": [0.01, 0.03],
    "genuine_pairs": 3000,
    "impostor_pairs": 3000,
    "dataset": "LFW View 2",
    "note": "",
}


@pytest.fixture
def zoo_copy(tmp_path: Path) -> Path:
    path = tmp_path / "zoo.json"
    path.write_bytes(zoo_path().read_bytes())
    return path


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MODELS_VARIABLE, raising=False)


@pytest.fixture
def own_entry(tmp_path: Path, zoo_copy: Path) -> ModelEntry:
    """The ms1m entry, but its file is a tiny network in the folder ``put``."""
    (tmp_path / "put").mkdir()
    data = write_tiny(tmp_path / "put" / "tiny.onnx").read_bytes()
    files = {"onnx": {"file_name": "tiny.onnx", "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}}
    return update_entry(zoo_copy, "mobilefacenet-ms1m", files=files)


def test_the_zoo_of_the_package() -> None:
    models = known_models()
    names = [entry.name for entry in models]
    assert names[0] == DEFAULT_MODEL
    assert {"mobilefacenet-ms1m", "mobilefacenet-large", "mobilefacenet-casia"} < set(names)
    for entry in models:
        assert model_entry(entry.name) == entry
        assert entry.default_attention in ATTENTIONS[entry.kind]


@pytest.mark.parametrize("entry", known_models(), ids=lambda entry: entry.name)
def test_shipped_files_are_there_and_right(entry: ModelEntry) -> None:
    if not entry.shipped:
        pytest.skip("not part of the package")
    for role, file in entry.files.items():
        assert entry.locate(role).stat().st_size == file.bytes


@pytest.mark.parametrize(
    ("name", "grid", "size"),
    [
        ("mobilefacenet-ms1m", (512, 7, 7), 128),
        ("mobilefacenet-large", (64, 7, 7), 512),
        ("mobilefacenet-casia", (512, 7, 6), 128),
    ],
)
def test_published_networks_are_what_the_zoo_says(name: str, grid: tuple[int, int, int], size: int) -> None:
    directory = shared_weights(f"{name}.onnx").parent
    entry = model_entry(name)
    for role, file in entry.files.items():
        assert entry.locate(role, directory=directory).stat().st_size == file.bytes
    embedding, features = open_embedder(name, directory=directory, threads=1).embed_with_grid(
        flat_faces((200, 150, 120))
    )
    assert features.shape == (1, *grid)
    assert entry.grid is not None
    assert entry.grid.shape == grid
    assert embedding.shape == (1, size)
    assert entry.embedding_size == size
    assert entry.preprocessing == RAW


def test_casia_looks_at_columns_8_to_103_by_itself() -> None:
    directory = shared_weights("mobilefacenet-casia.onnx").parent
    embedder = open_embedder("mobilefacenet-casia", directory=directory, threads=1)
    faces = np.random.default_rng(0).integers(0, 256, (1, 3, 112, 112), np.uint8)
    cut = faces.copy()
    cut[..., :8] = cut[..., 104:] = 0
    np.testing.assert_array_equal(embedder.embed(cut), embedder.embed(faces))


@pytest.mark.parametrize(
    ("name", "hint"), [("mobilefacenet-ms1", "did you mean 'mobilefacenet-ms1m'"), ("zzz", "known: xcos")]
)
def test_unknown_model(name: str, hint: str) -> None:
    with pytest.raises(ModelError, match=f"unknown model '{name}'; .*{hint}") as caught:
        model_entry(name)
    assert "mobilefacenet-large" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_places_and_their_order(own_entry: ModelEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put = tmp_path / "put"
    other = tmp_path / "other"
    other.mkdir()
    assert own_entry.locate("onnx", directory=put) == put / "tiny.onnx"
    monkeypatch.setenv(MODELS_VARIABLE, str(put))
    assert own_entry.locate("onnx") == put / "tiny.onnx"
    assert own_entry.locate("onnx", directory=other) == put / "tiny.onnx"
    (other / "tiny.onnx").write_bytes((put / "tiny.onnx").read_bytes())
    assert own_entry.locate("onnx", directory=other) == other / "tiny.onnx"


def test_missing_file_says_what_to_do(own_entry: ModelEntry, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"tiny\.onnx: .*get it from https://.* set WHYFACE_MODELS to it"):
        own_entry.locate("onnx")
    with pytest.raises(ModelError, match=f"put it into {tmp_path}"):
        own_entry.locate("onnx", directory=tmp_path)


def test_another_file_of_that_name_is_refused(own_entry: ModelEntry, tmp_path: Path) -> None:
    with (tmp_path / "put" / "tiny.onnx").open("ab") as file:
        file.write(b"\x00")
    with pytest.raises(ModelIntegrityError, match="on record"):
        own_entry.locate("onnx", directory=tmp_path / "put")


def test_missing_shipped_file(zoo_copy: Path) -> None:
    entry = update_entry(
        zoo_copy, DEFAULT_MODEL, files={"onnx": {"file_name": "no.onnx", "sha256": "0" * 64, "bytes": 1}}
    )
    with pytest.raises(ModelError, match="install whyface again"):
        entry.locate("onnx")


def test_role_that_the_model_lacks(own_entry: ModelEntry) -> None:
    with pytest.raises(ModelError, match="no file for 'torch'; it has onnx"):
        own_entry.locate("torch")


def test_operating_points(zoo_copy: Path) -> None:
    entry = update_entry(zoo_copy, DEFAULT_MODEL, thresholds={"l": [POINT], "u": [{**POINT, "threshold": 0.2}]})
    assert entry.operating_point().threshold == 0.31
    assert entry.operating_point("u", fmr=1e-3).threshold == 0.2
    assert entry.operating_point().to_dict() == POINT
    with pytest.raises(ModelError, match=r"no threshold for FMR 0\.01 with 'l'; measured: 0\.001; give one of these"):
        entry.operating_point(fmr=1e-2)
    with pytest.raises(ModelError, match="measured: none"):
        entry.operating_point("p")


def test_points_without_a_rate_in_their_name_are_passed_over(zoo_copy: Path) -> None:
    names = ("EER", "FMR of a friend", "FMR 0", "FMR 1e-2")
    entry = update_entry(zoo_copy, DEFAULT_MODEL, thresholds={"l": [{**POINT, "name": name} for name in names]})
    assert [point.name for point in entry.measured("l").values()] == ["FMR 1e-2"]


def test_what_was_not_measured_may_be_left_out(zoo_copy: Path) -> None:
    plain = {key: POINT[key] for key in ("name", "threshold", "fmr", "fnmr", "dataset")}
    point = update_entry(zoo_copy, DEFAULT_MODEL, thresholds={"l": [plain]}).operating_point()
    assert (point.fmr_interval, point.impostor_pairs, point.note) == (None, None, "")
    assert point.to_dict() == {**plain, "note": ""}


def test_a_folder_of_one_s_own_is_an_entry_that_knows_its_files(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.onnx")
    written = write_entry(tmp_path, {"onnx": path}, name="tiny", kind="cosine", embedding_size=8, grid=None)
    for meant in (tmp_path, tmp_path / "model.json", path):
        assert find_entry(meant) == read_entry(tmp_path) == written
    assert written.locate("onnx", directory=tmp_path / "elsewhere") == path
    assert open_embedder(written, threads=1).sha256 == written.files["onnx"].sha256
    assert find_entry(write_tiny(tmp_path / "other.onnx")) is None
    with pytest.raises(ModelError, match="no model here"):
        find_entry(tmp_path.parent)
    path.unlink()
    with pytest.raises(ModelError, match="no such model file"):
        written.locate("onnx")


def test_update_changes_one_model_and_keeps_the_layout(zoo_copy: Path) -> None:
    before = json.loads(zoo_copy.read_text(encoding="utf-8"))
    entry = update_entry(zoo_copy, "mobilefacenet-large", thresholds={"cosine": (POINT,)}, results={"lfw": 99.6})
    assert entry.results == {"lfw": 99.6}
    assert model_entry("mobilefacenet-large", zoo_copy) == entry
    after = json.loads(zoo_copy.read_text(encoding="utf-8"))
    for old, new in zip(before["models"], after["models"], strict=True):
        if old["name"] == "mobilefacenet-large":
            old |= {"thresholds": {"cosine": [POINT]}, "results": {"lfw": 99.6}}
        assert old == new
    text = zoo_copy.read_bytes()
    update_entry(zoo_copy, "mobilefacenet-large", results={"lfw": 99.6})
    assert zoo_copy.read_bytes() == text


def test_the_package_zoo_is_in_the_stable_layout(zoo_copy: Path) -> None:
    update_entry(zoo_copy, DEFAULT_MODEL)
    assert zoo_copy.read_bytes() == zoo_path().read_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": "red"}, "has the unknown colour"),
        ({"files": {"onnx": {"file_name": "../a.onnx", "sha256": "0" * 64, "bytes": 1}}}, "plain file name"),
        ({"thresholds": {"cosine": [POINT]}}, "has cosine, but may have u, p, l"),
        ({"results": {"value": float("nan")}}, "does not fit into JSON"),
        ({"results": {"value": object()}}, "does not fit into JSON"),
        ({"embedding_size": 0}, "whole number of at least 1"),
    ],
)
def test_update_refuses_and_leaves_the_file(zoo_copy: Path, changes: dict[str, Any], message: str) -> None:
    before = zoo_copy.read_bytes()
    with pytest.raises(ModelError, match=message):
        update_entry(zoo_copy, DEFAULT_MODEL, **changes)
    assert zoo_copy.read_bytes() == before


def test_update_of_an_unknown_model(zoo_copy: Path) -> None:
    with pytest.raises(ModelError, match="did you mean 'xcos-mobilefacenet'"):
        update_entry(zoo_copy, "xcos-mobile", summary="x")


def test_update_where_nothing_can_be_written(zoo_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Path, other: Path) -> Path:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OutputError, match="cannot write"):
        update_entry(zoo_copy, DEFAULT_MODEL, summary="x")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("name", "", r"models\[2\] \(\)\.name must be a text"),
        ("name", "xcos-mobilefacenet", "repeats"),
        ("summary", 3, "summary must be a text"),
        ("kind", ["xcos"], "kind must be one of"),
        ("kind", "xcos", "default_attention must be one of u, p, l"),
        ("files", [], "files must be an object"),
        ("files", {"onnx": {}}, r"files\.onnx must have the keys"),
        ("files", {"onnx": {"file_name": "a", "sha256": "0A", "bytes": 1}}, "sha256 must be 64"),
        ("files", {"onnx": {"file_name": "a", "sha256": "0" * 64, "bytes": True}}, "bytes must be a whole"),
        ("grid", {"tensor": "a"}, "grid must be null or have"),
        ("grid", {"tensor": "a", "shape": [1, 2]}, r"shape must be \[channels"),
        ("preprocessing", {"order": "gbr"}, "preprocessing: preprocessing order"),
        ("preprocessing", 3, "preprocessing must be an object"),
        ("shipped", "no", "shipped must be true or false"),
        ("results", None, "results must be an object"),
        ("thresholds", {"cosine": POINT}, "must be a list of operating points"),
        ("thresholds", {"cosine": [3]}, r"cosine\[0\] must be an object"),
        ("thresholds", {"cosine": [{"name": "a"}]}, "misses threshold, fmr, fnmr, dataset"),
        ("thresholds", {"cosine": [POINT, POINT]}, "two operating points of one name"),
        ("thresholds", {"cosine": [{**POINT, "threshold": "high"}]}, "threshold must be a number"),
        ("thresholds", {"cosine": [{**POINT, "fmr": 1.2}]}, "fmr must be a rate"),
        ("thresholds", {"cosine": [{**POINT, "fnmr_interval": [0.2, 0.1]}]}, r"fnmr_interval must be \[low"),
        ("thresholds", {"cosine": [{**POINT, "genuine_pairs": -1}]}, "genuine_pairs must not be negative"),
    ],
)
def test_malformed_fields(field: str, value: Any, message: str) -> None:
    document = json.loads(zoo_path().read_text(encoding="utf-8"))
    number = [model["name"] for model in document["models"]].index("mobilefacenet-ms1m")
    document["models"][number][field] = value
    with pytest.raises(ModelError, match=message) as caught:
        parse_entries(document, "zoo.json")
    assert str(caught.value).startswith(f"zoo.json: models[{number}]")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "must be an object"),
        ('{"format": 2, "models": []}', "format must be 1"),
        ('{"format": 1}', "models must be a list"),
        ('{"format": 1, "models": [3]}', r"models\[0\] must be an object"),
        ('{"format": 1, "models": [{"name": "a"}]}', r"models\[0\] \(a\) misses summary"),
    ],
)
def test_malformed_documents(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "zoo.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=message) as caught:
        known_models(path)
    assert "\n" not in str(caught.value)


def test_missing_zoo(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot read the list of models"):
        known_models(tmp_path / "none.json")

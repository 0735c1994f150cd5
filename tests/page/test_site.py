from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from helpers.command_line import assert_refused
from whyface.errors import InputError, ModelError, ModelIntegrityError
from whyface.models.catalogue import DEFAULT_MODEL, known_models, model_entry
from whyface.page.bundle import page_files
from whyface.page.site import RUNTIME_FILES, _networks, page_settings, read_runtime, write_site


def test_the_settings_of_both_kinds_of_models_are_those_on_record() -> None:
    for name, roles in ((DEFAULT_MODEL, {"onnx"}), ("xcos-mobilefacenet", {"onnx", "pair"})):
        entry = model_entry(name)
        found = page_settings(entry, _networks(entry))
        assert set(found["files"]) == roles | {"detector", "quality"}
        assert found["weighed"] == ("pair" not in roles)
        assert found["sha256"] == entry.files["onnx"].sha256
        named = [one for one in found["operating_points"] if one["name"] == found["default_point"]]
        assert [one["threshold"] for one in named] == [entry.operating_point("l").threshold]
        assert {file["name"] for file in found["record_files"]} >= {entry.files["onnx"].file_name, "centerface.onnx"}


def test_models_without_reasons_are_refused() -> None:
    plain = next(entry for entry in known_models() if entry.kind == "cosine")
    with pytest.raises(ModelError, match="the page shows xCos models with learned attention"):
        _networks(plain)


def test_a_runtime_that_is_missing_or_another_version_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ONNX Runtime Web is not there; run: npm pack onnxruntime-web@"):
        write_site(tmp_path / "out", tmp_path / "none")
    (tmp_path / "runtime").mkdir()
    for name in RUNTIME_FILES:
        (tmp_path / "runtime" / name).write_bytes(b"another version")
    with pytest.raises(ModelIntegrityError, match="is not that of onnxruntime-web@"):
        write_site(tmp_path / "out", tmp_path / "runtime")
    (tmp_path / "text.tgz").write_text("no archive")
    with pytest.raises(InputError, match="not an archive of onnxruntime-web@"):
        read_runtime(tmp_path / "text.tgz")
    with tarfile.open(tmp_path / "other.tgz", "w:gz") as archive:
        archive.add(tmp_path / "text.tgz", "package/dist/else")
    with pytest.raises(InputError, match="not an archive of onnxruntime-web@"):
        read_runtime(tmp_path / "other.tgz")
    assert not (tmp_path / "out").exists()


def test_the_command_refuses_a_folder_that_holds_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    assert_refused(monkeypatch, capsys, "is not an empty folder", "page", str(tmp_path), "--runtime", str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_page_has_a_policy_without_holes_and_asks_nobody_else() -> None:
    files = page_files()
    assert "default-src 'none'" in files["index.html"]
    for hole in ("unsafe-inline", "'unsafe-eval'", "https:", "http:"):
        assert hole not in files["index.html"].split("Content-Security-Policy")[1].split(">")[0]
    svg = "http://www.w3.org/2000/svg"
    assert [name for name, text in files.items() if "://" in text.replace(svg, "")] == []

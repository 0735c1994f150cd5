"""The train command: prints presets, and every mistake ends in one line and status 2."""

import json
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest

from helpers.command_line import Ended, in_process
from helpers.face_folders import write_config, write_faces

pytestmark = pytest.mark.usefixtures("small_backbones")


class Run(Protocol):
    def __call__(self, *arguments: str) -> Ended: ...


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return partial(in_process, monkeypatch, capsys, "train")


def test_a_preset_can_be_printed_and_used(run: Run, tmp_path: Path) -> None:
    printed = run("--print-config", "paper")
    assert printed.returncode == 0
    path = tmp_path / "run.yaml"
    path.write_text(printed.stdout, encoding="utf-8")
    found = run(str(path), "--out", str(tmp_path / "out"))
    # The preset names a folder that is not there: it was read, and that is what stops it.
    assert found.returncode == 2
    assert "faces" in found.stderr
    assert found.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [("learning_rate: 1", "unknown key 'learning_rate'"), ("data: {sources: []}", "data.sources"), ("[", "YAML")],
)
def test_mistakes(run: Run, text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    found = run(str(path), "--out", str(tmp_path / "out"))
    assert found.returncode == 2
    assert message in found.stderr
    assert "Traceback" not in found.stderr
    assert found.stderr.count("\n") == 1


@pytest.mark.parametrize("what", ["empty folder", "one picture each", "wrong list of people", "wrong record file"])
def test_pictures_that_cannot_be_used(run: Run, what: str, tmp_path: Path) -> None:
    faces, message = tmp_path / "faces", {"empty folder": "holds no pictures"}.get(what, "")
    faces.mkdir()
    extra = ""
    if what == "one picture each":
        write_faces(faces, {"ann": 1, "bob": 1, "cem": 1})
        message = "0 people have two pictures or more"
    elif what == "wrong list of people":
        write_faces(faces, {"ann": 2, "bob": 2, "cem": 2})
        (tmp_path / "people.json").write_text('{"ann": 2}', encoding="utf-8")
        extra, message = "  leave_out: people.json\n", "people.json: not a report of people to leave out"
    elif what == "wrong record file":
        faces = tmp_path / "faces.rec"
        faces.write_bytes(b"no records")
        message = "faces.rec"
    layout = ", layout: rec" if faces.suffix else ""
    text = f"data:\n  sources: [{{path: {faces.name}{layout}}}]\n  held_out: 2\n{extra}"
    text += "losses: {similarity: 0}\nsteps: 1\n"
    (tmp_path / "run.yaml").write_text(text, encoding="utf-8")
    found = run(str(tmp_path / "run.yaml"), "--out", str(tmp_path / "out"))
    assert found.returncode == 2, found.stderr
    assert message in found.stderr
    assert found.stderr.count("\n") == 1
    assert "Traceback" not in found.stderr
    assert not (tmp_path / "out").exists()


def test_a_run_keeps_its_configuration_when_another_is_refused(run: Run, tmp_path: Path) -> None:
    faces = write_faces(tmp_path / "faces", {"ann": 2, "bob": 2, "cem": 2, "dan": 1, "eva": 1})
    out = tmp_path / "out"
    assert run(str(write_config(tmp_path / "run.yaml", faces, steps=1)), "--out", str(out)).returncode == 0
    before = (out / "config.json").read_bytes()
    assert json.loads(before)["steps"] == 1
    found = run(str(write_config(tmp_path / "run.yaml", faces, steps=2)), "--out", str(out))
    assert found.returncode == 2, found.stderr
    assert (out / "config.json").read_bytes() == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a device without room")
def test_no_room_for_the_log_leaves_the_checkpoint(run: Run, tmp_path: Path) -> None:
    faces = write_faces(tmp_path / "faces", {"ann": 2, "bob": 2, "cem": 2, "dan": 1, "eva": 1})
    config = write_config(tmp_path / "run.yaml", faces, steps=12, save_every=1)
    out = tmp_path / "out"
    out.mkdir()
    (out / "log.jsonl").symlink_to("/dev/full")
    found = run(str(config), "--out", str(out))
    assert found.returncode == 2, found.stderr
    assert "No space left on device" in found.stderr.splitlines()[-1]
    assert "Traceback" not in found.stderr
    assert json.loads((out / "state.json").read_text())["step"] == 9  # Step 10 is the first that is logged.
    (out / "log.jsonl").unlink()
    assert run(str(config), "--out", str(out)).returncode == 0


def test_no_configuration(run: Run) -> None:
    found = run()
    assert found.returncode == 2
    assert "give a configuration, a YAML file" in found.stderr

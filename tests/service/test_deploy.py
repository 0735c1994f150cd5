"""The container's files keep to the rules: small, not as root, nothing writable, only the loopback, no key inside."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def instructions() -> list[tuple[str, str]]:
    text = (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def compose() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml", reason="needs the extra train")
    found: dict[str, Any] = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text(encoding="utf-8"))
    return dict(found["services"]["whyface"])


def test_the_image_is_slim_and_does_not_run_as_root() -> None:
    found = instructions()
    assert all(re.match(r"python:3\.\d+-slim( AS \w+)?$", value) for name, value in found if name == "FROM")
    last = max(place for place, (name, _) in enumerate(found) if name == "FROM")
    users = [value for name, value in found[last:] if name == "USER"]
    assert users[-1].split(":")[0].isdecimal()
    assert int(users[-1].split(":")[0]) > 0
    # The sources stay in the first stage.
    assert not any(name == "COPY" and "--from=build" not in value for name, value in found[last:])
    assert not any(name == "ADD" for name, _ in found)


def test_the_image_installs_the_extra_and_starts_the_service() -> None:
    found = dict(instructions())
    assert '"/source[serve]"' in " ".join(value for name, value in instructions() if name == "RUN")
    assert found["ENTRYPOINT"].startswith('["whyface", "serve"')
    assert "/health" in found["HEALTHCHECK"]


def test_no_key_is_in_the_files() -> None:
    for name in ("Dockerfile", "compose.yaml"):
        text = (ROOT / "deploy" / name).read_text(encoding="utf-8")
        assert not re.search(r"API_KEY\s*[:=]\s*['\"]?\w{8,}", text.replace("${WHYFACE_API_KEY:?set a key}", ""))
    assert "?" in compose()["environment"]["WHYFACE_API_KEY"]


def test_only_this_computer_reaches_it_and_it_can_write_nothing() -> None:
    found = compose()
    assert all(port.startswith("127.0.0.1:") for port in found["ports"])
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in found["security_opt"]
    assert all(volume.endswith(":ro") for volume in found["volumes"])
    assert found["user"].split(":")[0] != "0"
    assert "image" not in found


def test_only_the_package_is_sent_to_the_build() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert lines[0] == "*"
    assert all(line.startswith("!") and (ROOT / line[1:]).exists() for line in lines[1:])

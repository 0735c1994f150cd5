"""Ray starts with its usage statistics off, and its workers load ONNX Runtime with its telemetry off."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from whyface.engines import RayEngine, ray_module


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Stand in for Ray, which this package's own tests need not have installed; return what it is asked."""
    asked: dict[str, Any] = {}
    actor = SimpleNamespace(remote=lambda *_: None)

    def remote(**options: Any) -> Any:
        asked.update(options)
        return lambda _: actor

    module = ModuleType("ray")
    module.is_initialized = lambda: True  # type: ignore[attr-defined]
    module.remote = remote  # type: ignore[attr-defined]
    module.kill = lambda _: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ray", module)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    return asked


def test_workers_get_the_variable_before_they_load_anything(asked: dict[str, Any]) -> None:
    assert not list(RayEngine(1)(lambda: str, iter(())))
    assert asked["runtime_env"]["env_vars"]["ORT_DISABLE_TELEMETRY"] == "1"


def test_usage_statistics_are_off_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "ray.py").write_text("import os\nSEEN = os.environ['RAY_USAGE_STATS_ENABLED']\n")
    monkeypatch.syspath_prepend(tmp_path)
    # Whatever is imported under this name in between goes again at the end.
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    del sys.modules["ray"]
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    assert ray_module().SEEN == "0"


def test_ray_itself_says_that_they_are_off(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'whyface[ray]'")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    ray_module()
    usage = pytest.importorskip("ray._common.usage.usage_lib", reason="this release of Ray keeps it elsewhere")
    assert not usage.usage_stats_enabled()

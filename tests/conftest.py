"""What all tests share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

import pytest
import typer.main
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# No test fails because the machine is busy.
settings.register_profile("whyface", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("whyface")


@pytest.fixture(scope="session", autouse=True)
def commands_built_once() -> Iterator[None]:
    """Build the command line once for all tests that call it: building takes longer than most commands."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("typer.main.get_command", cache(typer.main.get_command))
        yield


@pytest.fixture(autouse=True)
def no_trial_of_networks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Open the networks that tests make without showing them the demo photos, which say nothing to them.

    A test with the marker ``trial`` leaves the trial in place.
    """
    if request.node.get_closest_marker("trial") is None:
        # The package offers a function of the module's name.
        monkeypatch.setattr(import_module("whyface.xcos.open_model"), "check_network", lambda network: None)


@pytest.fixture(scope="module")
def small_backbones() -> Iterator[None]:
    """Make MobileFaceNet with 4 narrow blocks instead of 15, and narrow IResNets, where size says nothing."""
    heads = pytest.importorskip("whyface.models.heads", reason="needs the extra torch")
    stages = ((1, 16, 2, 2), (1, 16, 1, 2), (1, 16, 1, 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("whyface.models.backbones._STAGES", stages)
        patch.setattr("whyface.models.backbones._WIDTHS", (16, 16, 32, 32))
        patch.setattr("whyface.models.backbones.IResNet.out_channels", 32)
        patch.setattr(heads.FcHead.__init__, "__defaults__", (32,))
        yield


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Open a real browser: the system's Chromium, driven by Playwright; its camera shows a photo of the demo."""
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is missing: it comes with the extra test")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no Chromium here: run make browser")
    from helpers.browser_site import camera_film

    film = camera_film(tmp_path_factory.mktemp("camera") / "camera.y4m")
    with api.sync_playwright() as playwright:
        # Chromium's own sandbox does not start as root, as which CI runs.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        arguments += ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        arguments += [f"--use-file-for-fake-video-capture={film}"]
        opened = playwright.chromium.launch(executable_path=program, args=arguments)
        yield opened
        opened.close()

"""What all tests share."""

from __future__ import annotations

from importlib import import_module

import pytest


@pytest.fixture(autouse=True)
def no_trial_of_networks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Open the networks that tests make without showing them the demo photos, which say nothing to them.

    A test with the marker ``trial`` leaves the trial in place.
    """
    if request.node.get_closest_marker("trial") is None:
        # The package offers a function of the module's name.
        monkeypatch.setattr(import_module("whyface.xcos.open_model"), "check_network", lambda network: None)

"""A worker for the tests of engines, in a module that a new process imports quickly."""

from __future__ import annotations

import os
import signal
from typing import Any

from whyface.errors import DataError


class Doubler:
    """Doubles items and says which process it is in; it fails or dies when told to."""

    def __call__(self, item: Any) -> tuple[Any, int]:
        if item == "bad":
            raise DataError("bad: is no number")
        if item == "bug":
            raise ZeroDivisionError("a bug")
        if item == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        return 2 * item, os.getpid()


class SignalMask:
    """Answers which signals are kept from its process."""

    def __call__(self, item: object) -> set[signal.Signals]:
        return {signal.Signals(one) for one in signal.pthread_sigmask(signal.SIG_BLOCK, set())}

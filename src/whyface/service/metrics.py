"""Counts for Prometheus: requests, their time, verdicts, workers and queue. None holds a name or a part of a photo."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from whyface.service.workplace import Workplace


class Metrics:
    """The counts of one service.

    Parameters
    ----------
    workplace
        Says how many requests run and wait.
    """

    def __init__(self, workplace: Workplace) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("whyface_requests", "Answered requests", ("path", "status"), registry=self.registry)
        self.seconds = Histogram("whyface_request_seconds", "Seconds to the answer", ("path",), registry=self.registry)
        self.verdicts = Counter("whyface_verdicts", "Verdicts", ("verdict",), registry=self.registry)
        running = Gauge("whyface_running", "Requests that are being computed", registry=self.registry)
        running.set_function(lambda: workplace.running)
        waiting = Gauge("whyface_waiting", "Requests that wait for a worker", registry=self.registry)
        waiting.set_function(lambda: workplace.waiting)

    def text(self) -> bytes:
        """Return all counts in Prometheus' text format."""
        return generate_latest(self.registry)

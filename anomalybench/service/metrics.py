"""What the service counts, for Prometheus.

Labels are routes, statuses and promoted models, never text of a request, so that their number is bounded.
"""

from collections.abc import Mapping

from anomalybench.service.web import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

_SECONDS = (0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The counters of one service.

    Attributes:
        requests: By route, method and status.
        seconds: Latency by route.
        decisions: By model, version and verdict.
        feedback: By the operator's verdict.
        queue: Requests in work or waiting.
        rejected: Refused requests by reason.
        log_failures: Decisions that could not be kept.
        log_writable: 1 while the log can be written.
        pending: By model, how many of its versions cannot be served.
        drift_psi: Population stability index by model, version and quantity.
        drift_ks: Kolmogorov-Smirnov distance by the same.
        drift_level: By model and version: 0 none, 1 moderate, 2 strong.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        name, model = "anomalybench_{}".format, ["model", "version"]
        self.requests = Counter(
            name("requests"), "Requests by route and status.", ["route", "method", "status"], registry=registry
        )
        self.seconds = Histogram(
            name("request_seconds"), "Time to answer.", ["route"], buckets=_SECONDS, registry=registry
        )
        self.decisions = Counter(
            name("decisions"), "Verdicts by model and version.", [*model, "verdict"], registry=registry
        )
        self.feedback = Counter(name("feedback"), "Feedback that was kept.", ["verdict"], registry=registry)
        self.queue = Gauge(name("queue"), "Requests in work or waiting.", registry=registry)
        self.rejected = Counter(name("rejected"), "Refused requests by reason.", ["reason"], registry=registry)
        self.log_failures = Counter(name("log_failures"), "Decisions that could not be kept.", registry=registry)
        self.log_writable = Gauge(name("log_writable"), "1 while the log can be written.", registry=registry)
        self.pending = Gauge(name("pending"), "Versions that cannot be served.", ["model"], registry=registry)
        self.drift_psi = Gauge(
            name("drift_psi"), "Population stability index.", [*model, "quantity"], registry=registry
        )
        self.drift_ks = Gauge(name("drift_ks"), "Kolmogorov-Smirnov distance.", [*model, "quantity"], registry=registry)
        self.drift_level = Gauge(name("drift_level"), "0 none, 1 moderate, 2 strong drift.", model, registry=registry)

    def text(self) -> bytes:
        """All of them in the format of Prometheus."""
        return generate_latest(self.registry)

    def show(self, *, queue: int, log_writable: bool, pending: Mapping[str, int]) -> None:
        """Bring the gauges up to date that are looked at rather than counted."""
        self.queue.set(queue)
        self.log_writable.set(log_writable)
        self.pending.clear()
        for name, count in pending.items():
            self.pending.labels(name).set(count)

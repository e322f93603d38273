"""What the service says of itself: models, readiness, comparison, drift, metrics."""

import asyncio
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from anomalybench.core.errors import shortened
from anomalybench.core.files import none_for_nan
from anomalybench.service import log_reader
from anomalybench.service.engine import Engine
from anomalybench.service.refusals import RefusedError
from anomalybench.service.schemas import (
    ArmShown,
    Comparison,
    DriftShown,
    ModelDetails,
    ModelShown,
    QuantityShown,
    Ready,
)
from anomalybench.service.serving import Loaded, Served

_LEVELS = ("none", "moderate", "strong")


def model(served: Served) -> ModelShown:
    """A model in short."""
    return ModelShown(**_shown(served))


def details(served: Served) -> ModelDetails:
    """A model with its card and versions."""
    card = served.main.model.card if served.main else None
    return ModelDetails(**_shown(served), versions=list(served.there), card=card)


def _shown(served: Served) -> dict[str, Any]:
    return {
        "name": served.name,
        "current": served.current,
        "serving": sorted(served.versions),
        "split": [
            ArmShown(selector=str(share.selector), percent=share.percent, version=share.version)
            for share in served.shares
        ],
        "pending": list(served.pending),
    }


async def readiness(engine: Engine) -> Ready:
    """Whether requests are answered, and what needs attention; a log in trouble is tried again."""
    if engine.log.trouble:
        await asyncio.wrap_future(engine.log.probe())
    models = engine.serving.models.values()
    pending = [text for one in models for text in one.pending]
    trouble = engine.log.trouble
    unavailable = not any(one.main for one in models)
    return Ready(
        status="unavailable" if unavailable else "degraded" if pending or trouble else "ready",
        models={one.name: sorted(one.versions) for one in models},
        pending=pending,
        log_writable=trouble is None,
        log_error=trouble,
        queue=engine.queue,
        queue_limit=engine.settings.queue,
    )


def comparison(log: Path, name: str, since: str | None) -> Comparison:
    """How the versions of a model compare by the log.

    Raises:
        RefusedError: `since` is no time, or the log cannot be read.
    """
    from anomalybench.service.comparison import compare  # SciPy takes half a second, which the start need not wait for

    start = None if since is None else _time(since)
    try:
        return compare(name, log_reader.counts(log, name, start), start)
    except sqlite3.Error as error:
        raise RefusedError(503, f"{log}: cannot be read ({error}).", "log") from None


def _time(text: str) -> str:
    """A time as the log writes it."""
    try:
        found = datetime.fromisoformat(text)
        found = found if found.tzinfo else found.replace(tzinfo=UTC)
        return found.astimezone(UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError):
        raise RefusedError(
            422, f"since={shortened(text)}: write a time as in 2026-05-04 or 2026-05-04T08:15:00Z.", "field"
        ) from None


def drift(loaded: Loaded) -> DriftShown:
    """Whether a version's last images are like its calibration images."""
    from anomalybench.deploy.drift import report
    from anomalybench.evaluate.statistics import STATISTICS

    seen = loaded.window.last()
    statistics = {name: [one.statistics[name] for one in seen if name in one.statistics] for name in STATISTICS}
    found = report(loaded.model.card, [one.score for one in seen], statistics)
    quantities = [
        QuantityShown(
            name=one.name,
            level=one.level,
            psi=none_for_nan(one.psi),
            ks=none_for_nan(one.ks),
            p=none_for_nan(one.p),
            median=none_for_nan(one.median),
            reference_median=none_for_nan(one.reference_median),
        )
        for one in found.quantities
    ]
    return DriftShown(
        model=loaded.name,
        version=loaded.version,
        images=found.images,
        anomalous=found.anomalous,
        level=found.level,
        sentences=list(found.sentences),
        quantities=quantities,
    )


def metrics(engine: Engine) -> bytes:
    """Counters, and the gauges as they are now, for Prometheus."""
    models, shown = engine.serving.models.values(), engine.metrics
    shown.show(
        queue=engine.queue,
        log_writable=engine.log.trouble is None,
        pending={one.name: len(one.pending) for one in models},
    )
    for gauge in (shown.drift_psi, shown.drift_ks, shown.drift_level):
        gauge.clear()
    for loaded in (version for one in models for version in one.versions.values()):
        found = drift(loaded)
        shown.drift_level.labels(loaded.name, str(loaded.version)).set(_LEVELS.index(found.level))
        for one in found.quantities:
            labels = (loaded.name, str(loaded.version), one.name)
            shown.drift_psi.labels(*labels).set(one.psi if one.psi is not None else float("nan"))
            shown.drift_ks.labels(*labels).set(one.ks if one.ks is not None else float("nan"))
    return shown.text()

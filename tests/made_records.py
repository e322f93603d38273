"""Finished jobs that were never run: real records, scores, maps and small images, made in a moment."""

import platform

import numpy as np
import pandas as pd
from PIL import Image

from anomalybench.bench.store import Outcome
from anomalybench.core.files import none_for_nan
from anomalybench.core.job import Choice, Job
from anomalybench.core.model_card import Decision, ModelCard
from anomalybench.core.record import MEASURE_VERSION, Costs, Counts, Measurement, Record, results_of
from anomalybench.evaluate import catalogue, map_codes, uncertainty

WIDTH, HEIGHT = 48, 40
DEFECTS = ("crack", "stain")


def job(method, category="bolt", dataset="toy", **changes):
    protocol = Choice(name="pooled", params={"train": 0.6, "calibration": 0.2})
    method = Choice(name=method, params={"size": 64, "rate": 1e-05}, chosen=("rate", "size"))
    return Job(method=method, version=1, dataset=Choice(name=dataset), category=category, protocol=protocol, **changes)


def draw_images(root, category, n, side=(WIDTH, HEIGHT), defects=DEFECTS):
    """Half normal, half defective with masks; returns the table of test images without scores."""
    rng = np.random.default_rng(len(category))
    rows = []
    for i in range(n):
        defect = defects[i % len(defects)] if i >= n // 2 else "good"
        pixels = rng.integers(90, 120, (side[1], side[0], 3), dtype=np.uint8)
        path, mask = f"{category}/{i:03d}.png", None
        (root / category).mkdir(parents=True, exist_ok=True)
        if defect != "good":
            marked = np.zeros((side[1], side[0]), np.uint8)
            marked[side[1] // 4 : side[1] // 2, side[0] // 4 : side[0] // 2] = 255
            pixels[marked > 0] = 250
            mask = f"{category}/{i:03d}_mask.png"
            Image.fromarray(marked).save(root / mask, compress_level=1)
        Image.fromarray(pixels).save(root / path, compress_level=1)
        rows.append({"path": path, "split": "test", "label": int(defect != "good"), "defect": defect, "mask": mask})
    return pd.DataFrame(rows)


def put(store, data, job, test, *, gap=1.5, seed=0, maps=True, choice=None, **changes):
    """Store one result with made-up scores of these test images; `gap` parts normal from defective ones."""
    rng = np.random.default_rng(seed)
    known = test.assign(split="calibration", path="calibration/" + test["path"])
    table = pd.concat([known, test], ignore_index=True)
    table["score"] = rng.normal(table["label"] * gap).round(3)
    threshold = gap / 2
    measured = catalogue.measure_image(tested(table)["score"], test["label"], threshold)
    resamples = uncertainty.resample(
        tested(table)["score"], test["label"], threshold, uncertainty.weights(list(test["path"]))
    )
    tp, fn, fp, tn = (measured[name] for name in ("tp", "fn", "fp", "tn"))
    intervals = {}
    for name in ("auroc", "average_precision", "balanced_accuracy"):
        value, values = measured[name], resamples[name]
        error = uncertainty.standard_error(value, values, tp + fn, fp + tn)
        intervals[name] = tuple(uncertainty.interval(value, error))
    intervals["balanced_accuracy"] = tuple(uncertainty.balanced_accuracy_interval(tp, fn, fp, tn))
    intervals = {name: limits for name, limits in intervals.items() if np.isfinite(limits).all()}
    own = {name: changes.pop(name) for name in list(changes) if name in Measurement.model_fields}
    measurement = Measurement(**{
        "version": MEASURE_VERSION, "choice": choice, "rule": "youden", "threshold": threshold,
        "metrics": none_for_nan(measured), "intervals": intervals, **own,
    })  # fmt: skip
    heat = None
    if maps:
        heat = rng.normal(size=(len(table), 16, 20)).astype(np.float32) / 8
        heat[table["label"].to_numpy() == 1, 4:8, 5:10] += 1
    n = int((test["label"] == 0).sum())
    record = Record(**{
        "job": job, "status": "ok", "supervision": "normals", "root": str(data), "fingerprint": "f" * 16,
        "measurements": (measurement,), "map_size": (16, 20) if maps else None,
        "counts": Counts(
            images=3 * len(test), calibration=len(test), test=len(test), test_normal=n, test_anomalous=len(test) - n
        ),
        "costs": Costs(fit_s=1 + seed, predict_ms_per_image=10.0 + 7 * seed, params_m=1.5, peak_memory_mb=500.0 + seed),
        "environment": {"date": "2026-01-02T03:04:05.000+00:00", "command": "anomalybench run", "torch": "2.6",
                        "host": platform.node()},
        **changes,
    })  # fmt: skip
    return store.put(Outcome(record, table, None if heat is None else map_codes.encode(heat), resamples))


def card(record, **changes):
    """The card of a model that was never fitted."""
    threshold = record.measurements[0].threshold
    decision = Decision(threshold=threshold, measured=threshold, rule="youden")
    return ModelCard(**{"job": record.job, "record": record.id, "decision": decision, **changes})


def result(record):
    """The first result of a record."""
    return results_of(record)[0]


def results(store):
    """Everything in the store, as tables and page take it."""
    return [result for record in store.records() for result in results_of(record)]


def folder(store, record):
    """Where the record lies."""
    return store.folder(record.job, record.fingerprint)


def tested(table):
    return table[table["split"] == "test"]


def lost(job, status="failed", error="RuntimeError: no luck", **changes):
    """A record of a job that came to nothing."""
    return Record(job=job, status=status, error=error, **changes)

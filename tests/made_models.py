"""Small real models: `pixel_knn` fitted on drawn images in a moment, with the card of a job that was never run."""

from dataclasses import replace

import numpy as np
from PIL import Image

from anomalybench.bench.store import Outcome
from anomalybench.core import parameters, registry
from anomalybench.core.job import Choice, Job
from anomalybench.core.method import Context, ImageArrays, Train
from anomalybench.core.model_card import Decision, ModelCard
from anomalybench.deploy.bundle import Bundle
from anomalybench.evaluate.statistics import STATISTICS, image_statistics, quantiles

SIDE = 24


def job(method="pixel_knn", category="bolt", dataset="toy", **changes):
    built = parameters.build(registry.method(method), method, {"size": 8} if method == "pixel_knn" else {})
    choice = Choice.of(method, built)
    protocol = Choice(name="pooled", params={"train": 0.6, "calibration": 0.2})
    values = {"version": type(built).version, "dataset": Choice(name=dataset), "category": category, **changes}
    return Job(method=choice, protocol=protocol, **values)


def normal(n, seed=0, light=120):
    """Noise around a grey level that differs from image to image; the left half is a little brighter."""
    rng = np.random.default_rng(seed)
    levels = rng.normal(light, 4, (n, 1, 1, 1)) + 20 * (np.arange(SIDE) < SIDE // 2)[:, None]
    return list(np.clip(levels + rng.normal(0, 5, (n, SIDE, SIDE, 3)), 0, 255).astype(np.uint8))


def defective(n, seed=0):
    """The same with a bright square."""
    pictures = normal(n, 1000 + seed)
    for picture in pictures:
        picture[4:16, 6:18] = 250
    return pictures


def draw(folder, good=40, scratch=20, seed=5):
    """Normal and defective images in a folder for each class; every third defect is a normal part turned over."""
    bad, turned = defective(scratch, seed), [picture[:, ::-1] for picture in normal(scratch, 2000 + seed)]
    bad[::3] = turned[::3]
    for name, pictures in (("good", normal(good, seed)), ("scratch", bad)):
        write(folder / name, pictures)


def write(folder, pictures):
    folder.mkdir(parents=True)
    for i, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{i:03d}.png", compress_level=1)


def bundle(method="pixel_knn", seed=0, n=20, **changes):
    """A fitted model; its threshold is the greatest score of `n` normal calibration images.

    Args:
        method: Name of one that needs no network.
        seed: Of its images.
        n: How many calibration images.
        changes: Other fields of the card.
    """
    made = job(method, seed=seed)
    fitted = parameters.build(registry.method(method), method, made.method.params)
    fitted.fit(Train(ImageArrays(normal(10, seed))), Context(seed=seed))
    shown = normal(n, 100 + seed)
    scores = fitted.predict(ImageArrays(shown)).scores
    measured = [image_statistics(picture) for picture in shown]
    threshold = float(scores.max())
    card = ModelCard(**{
        "job": made,
        "record": f"{made.id}-{'f' * 8}",
        "supervision": "normals",
        "fingerprint": "f" * 16,
        "decision": Decision(threshold=threshold, measured=threshold, rule="normal_quantile(q=1)", normal=n),
        "normal_scores": quantiles(scores),
        "statistics": {name: quantiles([one[name] for one in measured]) for name in STATISTICS},
        "metrics": {"auroc": 0.9, "balanced_accuracy": 0.8},
        "intervals": {"auroc": (0.8, 0.95), "balanced_accuracy": (0.7, 0.9)},
        "environment": {"date": "2026-01-02T03:04:05.000+00:00", "anomalybench-vision": "0.2.0"},
        **changes,
    })  # fmt: skip
    return Bundle(card, fitted.state())


def kept(store, record, **changes):
    """The record of a made job, which has a model from now on; the arrays are those of `bundle`."""
    known = bundle()
    threshold = record.measurements[0].threshold
    decision = Decision(threshold=threshold, measured=threshold, rule=record.measurements[0].rule, normal=20)
    values = {"job": record.job, "record": record.id, "fingerprint": record.fingerprint, "decision": decision}
    card = known.card.model_copy(update=values | changes)
    outcome = Outcome(record, store.scores(record), store.maps(record), store.resamples(record))
    return store.put(replace(outcome, model=Bundle(card, known.state)))

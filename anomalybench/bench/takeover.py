"""Results of version 0.1.0, taken over into today's layout; nothing is fitted again, and the old folders stay.

They had one measurement for each fit, maps in float16, and an id that every new parameter would have moved.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomalybench.bench import measure
from anomalybench.bench.item_table import ItemTable, ItemTables, Source, build_dataset
from anomalybench.bench.measure import Scored
from anomalybench.bench.store import Outcome, Store, arrays
from anomalybench.core import parameters, registry
from anomalybench.core.dataset import ANOMALOUS, NORMAL, Dataset
from anomalybench.core.errors import StoreError
from anomalybench.core.job import EXTERNAL, Choice, Job
from anomalybench.core.record import Costs, Counts, Explanation, Record
from anomalybench.evaluate import map_codes
from anomalybench.evaluate.thresholds import RULES

_EXPLAINED = ("insertion_auc", "deletion_auc")


def take_over(folder: Path, store: Store) -> Record | None:
    """Read a job's folder of version 0.1.0, measure it and put it into the store; None if the job's result is there.

    Raises:
        StoreError: The folder is damaged, or the images have changed or are gone.
        UsageError: Its method, dataset or protocol is not here any more.
        DataError: Images cannot be read.
    """
    try:
        old: dict[str, Any] = json.loads((folder / "record.json").read_bytes())
        root = Path(old["root"])
        job = _job(old["job"], root)
        table = ItemTables(Source(root)).get(job.dataset, job.category)
        if table.fingerprint != old["fingerprint"]:
            raise StoreError(f"{folder}: the images in {root} are not those of that run any more. Run it again.")
        if store.get(job, table.fingerprint) is not None:
            return None
        return store.put(_outcome(old, folder, job, table))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{folder}: cannot be taken over ({error}). Run it again.") from None


def _outcome(old: dict[str, Any], folder: Path, job: Job, table: ItemTable) -> Outcome:
    facts = {name: old[name] for name in ("status", "error", "bad_input", "traceback", "supervision", "environment")}
    record = Record(job=job, root=old["root"], fingerprint=table.fingerprint, **facts)
    if record.status != "ok":
        return Outcome(record)
    scores = _scores(folder, table)
    maps = None
    if "maps.npz" in old["files"]:
        maps = arrays.read(folder / "maps.npz", ("maps",))["maps"].astype(np.float32)
        if maps.ndim != 3 or len(maps) != len(scores):
            raise StoreError(f"{folder}: its maps do not fit its scores. Run it again.")
    measured = measure.measure(Scored(job, table.root, scores, maps), _threshold(old["job"].get("threshold")))
    explained = {name: old["pixel_metrics"][name] for name in _EXPLAINED if name in old["pixel_metrics"]}
    update = {
        "counts": Counts(
            **old["counts"],
            test_normal=measure.objects(table.split(job).test, NORMAL),
            test_anomalous=measure.objects(table.split(job).test, ANOMALOUS),
        ),
        "costs": Costs(**old["costs"]),
        "leaks": tuple(map(tuple, old["leaks"])),
        "map_size": None if maps is None else maps.shape[1:],
        "measurements": (measured.measurement,),
        "explanation": Explanation(images=old["job"]["explain"], metrics=explained) if explained else None,
    }
    coded = None if maps is None else map_codes.encode(maps)
    return Outcome(record.model_copy(update=update), scores, coded, measured.resamples)


def _job(old: dict[str, Any], root: Path) -> Job:
    method, name = old["method"], str(old["method"]["name"])
    dataset: Dataset = build_dataset(Choice(**old["dataset"])).settled(root)
    facts = {key: old[key] for key in ("version", "category", "fold", "seed")}
    return Job(
        method=Choice(name=name) if name.startswith(EXTERNAL) else _choice(method, registry.method(name)),
        dataset=Choice.of(old["dataset"]["name"], dataset),
        protocol=_choice(old["protocol"], registry.protocol(old["protocol"]["name"])),
        **facts,
    )


def _choice(old: dict[str, Any], cls: type) -> Choice:
    return Choice.of(old["name"], parameters.build(cls, old["name"], old["params"]))


def _threshold(old: dict[str, Any] | None) -> Choice | None:
    return None if old is None else _choice(old, RULES[old["name"]])


def _scores(folder: Path, table: ItemTable) -> pd.DataFrame:
    """The scores with the groups of their images, which 0.1.0 did not write down."""
    scores = pd.read_parquet(folder / "scores.parquet")
    groups = {item.path: item.group for item in table.items}
    return scores.assign(group=scores["path"].map(groups))

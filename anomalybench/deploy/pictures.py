"""Maps and overlays of predictions as files."""

from pathlib import Path

import numpy as np

from anomalybench.core.errors import StoreError, UsageError, printable
from anomalybench.core.files import write_aside
from anomalybench.deploy.verdict import Verdict


def write_map(verdict: Verdict, target: Path) -> None:
    """Write a raw map, float32 in the model's own cells, as `TARGET.npy`.

    Raises:
        UsageError: The method has no maps.
        StoreError: It cannot be written.
    """
    if verdict.map is None:
        raise UsageError("--maps: this method cannot locate; it has no maps.")
    try:
        with write_aside(target.with_name(f"{target.name}.npy"), durable=False) as aside, aside.open("wb") as stream:
            np.save(stream, verdict.map.astype(np.float32), allow_pickle=False)
    except OSError as error:
        raise StoreError(f"{printable(target)}.npy: cannot be written ({error.strerror or error}).") from None


def write_overlay(verdict: Verdict, target: Path) -> None:
    """Write the image under its heat map, with boxes where it is anomalous, as `TARGET.png`.

    Raises:
        StoreError: It cannot be written.
    """
    from PIL import Image

    picture = verdict.overlay()
    if picture is None:
        return
    try:
        with write_aside(target.with_name(f"{target.name}.png"), durable=False) as aside:
            Image.fromarray(picture).save(aside, "PNG", compress_level=3)
    except OSError as error:
        raise StoreError(f"{printable(target)}.png: cannot be written ({error.strerror or error}).") from None

"""Grey stripes, some of them with a white block: a data set that draws itself."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from PIL import Image
from pydantic import Field

from anomalybench import Dataset, Item
from anomalybench.core import places


@dataclass(frozen=True, kw_only=True)
class Stripes(Dataset):
    """Categories fine and wide; one defect, `block`, with masks."""

    source: ClassVar[str] = "drawn on the spot (public domain)"

    n: Annotated[int, Field(ge=5, le=50, description="normal images per category, and as many anomalous ones")] = 10

    def root(self, data: Path | None) -> Path:
        """The cache folder; `data` plays no part."""
        return places.cache() / "acme-stripes"

    def categories(self, root: Path) -> list[str]:
        """See `Dataset.categories`."""
        return ["fine", "wide"]

    def items(self, root: Path, category: str) -> list[Item]:
        """See `Dataset.items`."""
        items = []
        for i in range(self.n):
            good, bad, mask = (f"{category}/{kind}/{i:02d}.png" for kind in ("good", "block", "masks"))
            picture = np.full((32, 32), 60 + i, np.uint8)
            picture[:: 4 if category == "fine" else 8] = 120
            defect = np.zeros((32, 32), bool)
            defect[8:16, 8:20] = True
            _save(root / good, picture)
            _save(root / bad, np.where(defect, 250, picture).astype(np.uint8))
            _save(root / mask, (defect * 255).astype(np.uint8))
            items += [Item(good, category, 0), Item(bad, category, 1, "block", mask=mask)]
        return items


def _save(path: Path, pixels: np.ndarray) -> None:
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.stem}.{os.getpid()}.png")
    Image.fromarray(pixels).save(aside)
    aside.replace(path)

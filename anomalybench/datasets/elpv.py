"""Electroluminescence images of solar cells, mono- and polycrystalline (Buerhop-Lutz et al. 2018), 300 x 300 grey.

Experts gave each cell a defect probability: 0 is normal and 1 anomalous here; the uncertain ones (1/3 and 2/3) are
left out. There are no masks. The images come with the package elpv-dataset.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from anomalybench.core.dataset import ANOMALOUS, NORMAL, Dataset, Item
from anomalybench.core.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Elpv(Dataset):
    """Categories mono and poly; the one defect type is called `defective`."""

    source: ClassVar[str] = "pip install elpv-dataset (CC BY-NC-SA 4.0: not for commercial use)"

    def root(self, data: Path | None) -> Path:
        """The installed package's folder; `data` plays no part."""
        spec = importlib.util.find_spec("elpv_dataset")
        if spec is None or spec.origin is None:
            raise DataError(f"elpv: the package with the images is not installed.\nSource: {self.source}")
        return Path(spec.origin).parent / "data"

    def categories(self, root: Path) -> list[str]:
        """See `Dataset.categories`."""
        return ["mono", "poly"]

    def items(self, root: Path, category: str) -> list[Item]:
        """See `Dataset.items`."""
        items = []
        for line in (root / "labels.csv").read_text(encoding="utf-8").splitlines():
            path, probability, kind = line.split()
            if kind == category and float(probability) in (0, 1):
                defective = float(probability) == 1
                items.append(Item(path, category, *((ANOMALOUS, "defective") if defective else (NORMAL,))))
        return items

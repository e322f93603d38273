"""MVTec AD and everything laid out like it (Bergmann et al. 2019): any subset of categories, masks where there are any.

Layout: CATEGORY/train/good, CATEGORY/test/{good,DEFECT...}, CATEGORY/ground_truth/DEFECT/STEM_mask.png.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from anomalybench.core.dataset import ANOMALOUS, GOOD, NORMAL, Dataset, Item
from anomalybench.datasets._files import image_files


@dataclass(frozen=True, kw_only=True)
class MvtecAd(Dataset):
    """One category per folder that has a `train` and a `test` folder."""

    source: ClassVar[str] = (
        "MVTec AD, https://www.mvtec.com/company/research/datasets/mvtec-ad (CC BY-NC-SA 4.0: not for commercial use); "
        "unpack it so that DIR holds bottle, cable, ..."
    )

    def categories(self, root: Path) -> list[str]:
        """See `Dataset.categories`."""
        return sorted(d.name for d in root.iterdir() if (d / "train").is_dir() and (d / "test").is_dir())

    def items(self, root: Path, category: str) -> list[Item]:
        """See `Dataset.items`."""
        base = root / category
        items = []
        for split in ("train", "test"):
            for folder in sorted(d for d in (base / split).iterdir() if d.is_dir()):
                masks = {file.stem: file for file in image_files(base / "ground_truth" / folder.name)}
                for file in image_files(folder):
                    mask = masks.get(f"{file.stem}_mask") or masks.get(file.stem)
                    good = folder.name == GOOD
                    items.append(
                        Item(
                            path=file.relative_to(root).as_posix(),
                            category=category,
                            label=NORMAL if good else ANOMALOUS,
                            defect=folder.name,
                            mask=None if good or mask is None else mask.relative_to(root).as_posix(),
                            split=split,
                        )
                    )
        return items

"""MVTec AD and everything laid out like it (Bergmann et al. 2019): any subset of categories, masks where there are any.

Layout: CATEGORY/train/good, CATEGORY/test/{good,DEFECT...}, CATEGORY/ground_truth/DEFECT/STEM_mask.png.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from anomalybench.core.dataset import ANOMALOUS, GOOD, NORMAL, Dataset, Item, LeftOut
from anomalybench.core.errors import DataError, printable
from anomalybench.datasets import _layout
from anomalybench.datasets._files import folders, image_files, left_out, others

_PARTS = ("train", "test")
_MASKS = "ground_truth"


@dataclass(frozen=True, kw_only=True)
class MvtecAd(Dataset):
    """One category per folder that has a `train` and a `test` folder."""

    source: ClassVar[str] = (
        "MVTec AD, https://www.mvtec.com/company/research/datasets/mvtec-ad (CC BY-NC-SA 4.0: not for commercial use); "
        "unpack it so that DIR holds bottle, cable, ..."
    )

    normal: Annotated[str, Field(description="names of the classes without defects, separated by commas")] = GOOD

    def categories(self, root: Path) -> list[str]:
        """See `Dataset.categories`.

        Raises:
            DataError: There is none, and the folder can be read in another way.
        """
        found = sorted(d.name for d in folders(root) if all((d / part).is_dir() for part in _PARTS))
        if not found and (works := _layout.what_works(root)):
            seen = f"{printable(root)} holds no folder with train and test in it ({_layout.seen(root)})"
            raise DataError(f"mvtec_ad: {seen}.\n{works}")
        return found

    def items(self, root: Path, category: str) -> list[Item]:
        """See `Dataset.items`."""
        base = root / category
        normal = {name.strip().lower() for name in self.normal.split(",")}
        items = []
        for split in _PARTS:
            for folder in folders(base / split):
                masks = {file.stem: file for file in image_files(base / _MASKS / folder.name)}
                for file in image_files(folder):
                    mask = masks.get(f"{file.stem}_mask") or masks.get(file.stem)
                    good = folder.name.lower() in normal
                    items.append(
                        Item(
                            path=file.relative_to(root).as_posix(),
                            category=category,
                            label=NORMAL if good else ANOMALOUS,
                            defect=GOOD if good else folder.name,
                            mask=None if good or mask is None else mask.relative_to(root).as_posix(),
                            split=split,
                        )
                    )
        return items

    def left_out(self, root: Path, category: str) -> list[LeftOut]:
        """See `Dataset.left_out`."""
        base = root / category
        strangers = [d for d in folders(base) if d.name not in (*_PARTS, _MASKS)] + image_files(base)
        found = [left_out(root, entry, "beside train, test and ground_truth") for entry in strangers]
        found += others(root, base)
        for part in _PARTS:
            found += [left_out(root, file, f"beside the class folders of {part}") for file in image_files(base / part)]
            found += others(root, base / part)
            for folder in folders(base / part):
                if not image_files(folder):
                    found.append(left_out(root, folder, "without images"))
                found += others(root, folder)
        used = {item.mask for item in self.items(root, category)}
        masks = (file for folder in folders(base / _MASKS) for file in image_files(folder))
        found += [one for file in masks if (one := left_out(root, file, "masks of no image")).path not in used]
        return sorted(found, key=lambda one: one.path)

"""`data split`: paths that begin like a formula are harmless in a spreadsheet and still name their files."""

import pandas as pd
from PIL import Image


def test_paths_that_begin_like_a_formula(cli, tmp_path):
    root = tmp_path / "data" / "bolt"
    for folder in ("good", "=1+1"):
        (root / folder).mkdir(parents=True)
        for i in range(10):
            Image.new("RGB", (8, 8), (i, len(folder), 0)).save(root / folder / f"{i}.png")
    out = tmp_path / "split.csv"
    result = cli("data", "split", "folder", "--out", out, "--data", root)
    assert result.exit_code == 0, result.text
    table = pd.read_csv(out)
    strange = table[table["label"] == 1]
    assert set(strange["defect"]) == {"'=1+1"}
    assert not table["path"].str.startswith("=").any()
    assert all((root / path).is_file() or (root.parent / path).is_file() for path in table["path"])

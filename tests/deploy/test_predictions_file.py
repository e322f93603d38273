"""Tables of predictions come back as they were written, and nothing that is there is lost."""

from pathlib import Path

import numpy as np
import pytest

from anomalybench.core.errors import DataError, StoreError, UsageError
from anomalybench.deploy import predictions_file
from anomalybench.deploy.predictions_file import PredictionsFile
from anomalybench.deploy.stream import COLUMNS, Predicted
from anomalybench.deploy.verdict import Verdict
from anomalybench.evaluate.boxes import Box
from anomalybench.evaluate.statistics import image_statistics

STATISTICS = image_statistics(np.random.default_rng(0).integers(0, 255, (5, 7, 3), dtype=np.uint8))
ROWS = [
    Predicted(Path('a/good, "one".png'), Verdict(0.1, 0.5), statistics=STATISTICS),
    Predicted(Path("b/größer\nname.png"), Verdict(2.5, 0.5, (Box(1, 2, 3, 4), Box(0, 0, 5, 7))), statistics=STATISTICS),
    Predicted(Path("c/broken.png"), reason="c/broken.png: cannot be read as an image"),
]


def write(file, rows=ROWS, **options):
    with PredictionsFile(file, **options) as table:
        for row in rows:
            table.write(row)
    return file


@pytest.mark.parametrize("kind", predictions_file.KINDS)
def test_rows_come_back(tmp_path, kind):
    rows = predictions_file.read(write(tmp_path / "new" / f"table{kind}"))
    assert [set(row) for row in rows] == [set(COLUMNS)] * 3
    assert [row["verdict"] for row in rows] == ["normal", "anomalous", "unreadable"]
    assert [row["score"] for row in rows] == [0.1, 2.5, None]
    assert [row["boxes"] for row in rows] == [[], [[1, 2, 3, 4], [0, 0, 5, 7]], None]
    assert rows[0]["brightness"] == pytest.approx(STATISTICS["brightness"])
    assert rows[2]["reason"].endswith("cannot be read as an image")
    assert rows[0]["path"] == 'a/good, "one".png'


@pytest.mark.parametrize("kind", predictions_file.KINDS)
def test_a_table_that_is_there_is_never_overwritten(tmp_path, kind):
    file = write(tmp_path / f"table{kind}")
    before = file.read_bytes()
    with pytest.raises(UsageError, match="is there already"):
        PredictionsFile(file)
    assert file.read_bytes() == before


@pytest.mark.parametrize("kind", [".csv", ".jsonl"])
def test_a_watched_folders_table_goes_on(tmp_path, kind):
    file = write(tmp_path / f"table{kind}", ROWS[:1], go_on=True)
    write(file, ROWS[1:], go_on=True)
    assert [row["verdict"] for row in predictions_file.read(file)] == ["normal", "anomalous", "unreadable"]


@pytest.mark.parametrize("kind", [".csv", ".jsonl"])
def test_a_row_is_on_the_disk_at_once(tmp_path, kind):
    with PredictionsFile(tmp_path / f"table{kind}") as table:
        table.write(ROWS[0])
        assert len(predictions_file.read(table.file)) == 1


def test_what_is_known_is_written_where_the_work_is_stopped(tmp_path):
    def stopped():
        with PredictionsFile(tmp_path / "table.parquet") as table:
            table.write(ROWS[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert len(predictions_file.read(tmp_path / "table.parquet")) == 1


def test_another_ending_names_those_there_are(tmp_path):
    with pytest.raises(UsageError, match=r"\.csv, \.jsonl, \.parquet"):
        PredictionsFile(tmp_path / "table.xlsx")


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="--out FILE"):
        PredictionsFile(tmp_path / "file" / "table.csv")


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "\0\0", "path,score,verdict\nx,abc,normal\n"])
def test_another_table_is_refused(tmp_path, text):
    file = tmp_path / "table.csv"
    file.write_text(text)
    if not text:
        assert predictions_file.read(file) == []
        return
    with pytest.raises(DataError, match=r"table\.csv"):
        predictions_file.read(file)

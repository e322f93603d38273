import io

import pandas as pd
import pytest

from anomalybench.report import leaderboard
from anomalybench.report.files import csv_text


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_text_that_begins_like_a_formula_is_harmless_in_a_spreadsheet(text):
    table = pd.DataFrame({"name": [text, "plain", None], "value": [-1.5, 2.0, None], "n": [-1, 0, 1]})
    read = pd.read_csv(io.StringIO(csv_text(table), newline=""))
    assert read["name"][0] == f"'{text}".replace("\r", " ")
    assert read["name"][1] == "plain"
    assert read["name"].isna()[2]
    assert read["value"][0] == -1.5
    assert read["n"].tolist() == [-1, 0, 1]


def test_leaderboards_are_written_so(tmp_path):
    rows = [{"method": "=cmd|' /C calc'!A0", "dataset": "toy", "auroc": 0.5}]
    tables = leaderboard.Tables(*(pd.DataFrame(rows, columns=columns) for columns in
                                  (leaderboard.summary_columns(), leaderboard.job_columns())))  # fmt: skip
    for file in leaderboard.write(tables, tmp_path, "x"):
        assert pd.read_csv(file)["method"][0].startswith("'=cmd")

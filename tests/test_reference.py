"""No result may move unnoticed: the suite `smoke` against `results/reference/smoke.csv`."""

import pytest


@pytest.mark.slow
def test_the_smoke_suite_gives_the_pinned_results(cli_process, cli, tmp_path):
    done = cli_process("run", "smoke", "--device", "cpu", "--results", tmp_path)
    assert done.exit_code == 0, done.stderr
    compared = cli("reference", "check", "smoke", "--results", tmp_path)
    assert compared.exit_code == 0, f"{compared.stdout}\n{compared.stderr}"
    assert "numbers are where they were pinned" in compared.text

"""A run that is killed again and again, at any moment, until it is done."""

import multiprocessing
import os
import random
import signal
import sys

import pandas as pd
import pytest

from anomalybench.bench.store import Store

ROUNDS = 50
N = 30


def cli_main(arguments):
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    from anomalybench.cli import main

    sys.argv = ["anomalybench", *arguments]
    main()


@pytest.mark.skipif("forkserver" not in multiprocessing.get_all_start_methods(), reason="starts fifty processes fast")
def test_nothing_is_lost_or_done_twice(probe, command, cli, tables, fits, tmp_path):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["anomalybench.bench.executors", "anomalybench.report.leaderboard"])
    chance, kills, campaigns = random.Random(0), 0, []
    while kills < ROUNDS:
        results = tmp_path / f"campaign {len(campaigns)}"
        campaigns.append(results)
        arguments = command(N, "--results", results)
        for _ in range(ROUNDS):
            done, before = {record.job.seed for record in Store(results).records()}, fits()
            process = context.Process(target=cli_main, args=(arguments,))
            process.start()
            process.join(chance.uniform(0.1, 0.9))
            process.kill()
            process.join()
            again = {seed for seed in done if fits().get(seed) != before.get(seed)}
            assert not again, "run again after their records were complete"
            kills += process.exitcode == -signal.SIGKILL
            if process.exitcode == 0:
                break
            assert process.exitcode == -signal.SIGKILL
        probe.unlink()
    assert cli(*command(N, "--results", tmp_path / "straight")).exit_code == 0
    for results in campaigns:
        cli(*command(N, "--results", results))
        pd.testing.assert_frame_equal(tables(results), tables(tmp_path / "straight"), check_exact=True)

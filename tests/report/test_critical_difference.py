import numpy as np
from PIL import Image

from anomalybench.evaluate.paired_tests import Ranking
from anomalybench.report import critical_difference

BLUE = np.array([0x00, 0x72, 0xB2])


def drawn(file, cliques):
    names, ranks = ["a", "b", "c $x", "d_1"], [1.0, 2.0, 3.0, 4.0]
    critical_difference.draw(Ranking(names, ranks, {}, cliques, 7), "auroc", file)
    pixels = np.asarray(Image.open(file).convert("RGB")).astype(int)
    assert pixels.std() > 5
    return (np.abs(pixels - BLUE).sum(axis=2) < 30).any(axis=0).nonzero()[0]


def test_bars_join_those_that_do_not_differ_and_rank_1_is_on_the_right(tmp_path):
    """A bar from rank 1 to 2 lies right of one from 3 to 4, and one over all is about three times as long."""
    best, worst = drawn(tmp_path / "new" / "1.png", [["a", "b"]]), drawn(tmp_path / "2.png", [["c $x", "d_1"]])
    whole = drawn(tmp_path / "3.png", [["a", "b", "c $x", "d_1"]])
    assert best.min() > worst.max()
    assert 2.5 < len(whole) / len(best) < 3.1
    assert drawn(tmp_path / "4.png", []).size == 0

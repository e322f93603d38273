"""The threshold of a model judges as the record's does, with room for another engine's rounding."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalybench.core.record import Measurement
from anomalybench.deploy import cards


def decided(threshold, scores, rule="normal_quantile(q=0.95)"):
    known = pd.DataFrame({"split": "calibration", "label": 0, "score": np.asarray(scores, float)})
    return cards.decision(Measurement(version=1, rule=rule, threshold=threshold), known)


@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=30, unique=True),
    st.integers(0, 29),
)
def test_a_threshold_at_a_score_moves_without_changing_a_decision(scores, place):
    threshold = sorted(scores)[place % len(scores)]
    found = decided(threshold, scores)
    before = np.array(scores) > threshold
    assert ((np.array(scores) > found.threshold) == before).all()
    assert found.measured == threshold
    gap = min([s - threshold for s in scores if s > threshold], default=1.0)
    if gap > 1e-9 * abs(threshold):
        assert found.threshold > threshold


def test_a_threshold_between_two_scores_stays():
    assert decided(0.5, [0.0, 1.0]).threshold == 0.5


def test_the_distance_is_a_small_share_of_the_range():
    assert decided(1.0, [0.0, 1.0, 2.0]).threshold == pytest.approx(1.0002)


def test_just_below_the_lowest_score_moves_down():
    found = decided(np.nextafter(1.0, -np.inf), [1.0, 2.0])
    assert 0.9998 < found.threshold < 0.99995


def test_a_fixed_threshold_is_the_users_own_and_says_so():
    found = decided(1.0, [0.0, 1.0, 2.0], "fixed(t=1)")
    assert (found.threshold, found.fitted) == (1.0, False)


def test_minus_infinity_becomes_a_number():
    found = decided(-np.inf, [0.0, 1.0])
    assert np.isfinite(found.threshold)
    assert np.isfinite(found.measured)

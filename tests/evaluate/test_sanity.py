import dataclasses

import numpy as np
import pytest
from scipy import stats

from anomalybench.evaluate.image import auroc
from anomalybench.evaluate.sanity import Sanity, check, remarks


def scores(rng, normal=40, anomalous=40, shift=0.0, distance=2.0):
    labels = np.repeat([0, 1], [normal, anomalous])
    return rng.normal(distance * labels + shift), labels


def checked(calibration, test, seed=0):
    found = check(calibration, test, np.random.default_rng(seed))
    return found, remarks(found, auroc(*test))


def test_a_sane_method_gets_no_remark():
    rng = np.random.default_rng(0)
    found, said = checked(scores(rng), scores(rng))
    assert said == []
    assert found.shuffled_auroc == pytest.approx(0.5, abs=0.02)
    assert found.permutation_p == pytest.approx(1 / 201)


def test_turned_scores_are_noted():
    rng = np.random.default_rng(1)
    (known, y), (s, truth) = scores(rng), scores(rng)
    found, said = checked((-known, y), (-s, truth))
    assert found.permutation_p == 1
    assert len(said) == 1
    assert "inverted" in said[0]


def test_chance_is_not_called_inverted():
    """A method that knows nothing falls below .4 on ten and ten images in one of five cases."""
    rng = np.random.default_rng(2)
    low = noted = 0
    for _ in range(300):
        test = scores(rng, 10, 10, distance=0)
        low += auroc(*test) < 0.4
        noted += any("inverted" in remark for remark in checked(scores(rng, 10, 10, distance=0), test)[1])
    assert low > 40
    assert noted < 9


@pytest.mark.parametrize(("kind", "moved"), [("normal", 0), ("anomalous", 1)])
def test_a_shifted_calibration_is_noted_for_the_class_that_moved(kind, moved):
    rng = np.random.default_rng(3)
    (known, y), test = scores(rng), scores(rng)
    _, said = checked((known + 2 * (y == moved), y), test)
    assert len(said) == 1
    assert f"scores of {kind} calibration and test images differ" in said[0]


def test_remarks_on_sane_scores_are_rare():
    rng = np.random.default_rng(4)
    said = [checked(scores(rng, 20, 20), scores(rng, 20, 20))[1] for _ in range(200)]
    assert sum(map(bool, said)) <= 9  # two tests at 1 %: four are expected


def test_values_agree_with_scipy():
    rng = np.random.default_rng(5)
    (known, y), (s, truth) = scores(rng, 15, 9), scores(rng, 20, 11)
    found, _ = checked((known, y), (s, truth))
    assert found.ks_normal_p == stats.ks_2samp(known[y == 0], s[truth == 0]).pvalue
    assert found.ks_anomalous_p == stats.ks_2samp(known[y == 1], s[truth == 1]).pvalue


def test_the_permutation_p_value_is_that_of_mann_and_whitney():
    rng = np.random.default_rng(6)
    found = []
    for _ in range(40):
        s, y = scores(rng, 12, 12, distance=0.4)
        mann = stats.mannwhitneyu(s[y == 1], s[y == 0], alternative="greater").pvalue
        found.append(checked((s, y), (s, y))[0].permutation_p - mann)
    assert np.mean(found) == pytest.approx(0, abs=0.02)
    assert np.abs(found).max() < 0.13


def test_constant_scores_and_a_calibration_without_defects():
    labels = np.array([0, 0, 0, 1, 1])
    found, said = checked((np.ones(3), np.zeros(3)), (np.ones(5), labels))
    assert (found.shuffled_auroc, found.permutation_p, found.ks_normal_p) == (0.5, 1.0, 1.0)
    assert np.isnan(found.ks_anomalous_p)
    assert said == []
    assert found.as_dict()["ks_anomalous_p"] is None
    assert found.as_dict()["shuffled_auroc"] == 0.5


def test_one_image_says_nothing_of_a_distribution():
    found, _ = checked((np.array([9.0, 1.0, 2.0]), np.array([1, 0, 0])), (np.arange(4.0), np.array([0, 0, 1, 1])))
    assert np.isnan(found.ks_anomalous_p)
    assert not np.isnan(found.ks_normal_p)


def test_a_broken_measurement_is_noted():
    sane = Sanity(0.5, 0.01, 0.5, 0.5)
    assert remarks(sane, 0.9) == []
    (said,) = remarks(dataclasses.replace(sane, shuffled_auroc=0.7), 0.9)
    assert "shuffled" in said
    assert remarks(dataclasses.replace(sane, shuffled_auroc=0.7), 0.9, fewest=1) == []


def test_few_images_and_floors_are_not_called_inverted():
    turned = Sanity(0.5, 1.0, 0.5, 0.5)
    assert "inverted" in remarks(turned, 0.1, fewest=10)[0]
    assert remarks(turned, 0.1, fewest=9) == []
    assert remarks(turned, 0.1, fewest=50, floor=True) == []


def test_the_same_seed_gives_the_same_values():
    rng = np.random.default_rng(7)
    parts = scores(rng, 9, 9, distance=0.3), scores(rng, 9, 9, distance=0.3)
    assert checked(*parts, seed=3)[0] == checked(*parts, seed=3)[0]
    assert checked(*parts, seed=3)[0] != checked(*parts, seed=4)[0]

import json
from functools import partial

import made_models
import numpy as np
import pytest

from anomalybench.core.model_card import Decision
from anomalybench.deploy.drift import report
from anomalybench.evaluate.statistics import STATISTICS, image_statistics, quantiles

TRIALS = 1000


@pytest.fixture(scope="module")
def made():
    return made_models.bundle().card


def stream(rng, n, defective=0.0):
    """Scores and statistics of n images; defective ones score 3 deviations higher."""
    scores = rng.normal(3 * (rng.random(n) < defective), 1)
    sizes = dict.fromkeys(("width", "height"), np.full(n, 300.0))
    return scores, {
        "brightness": rng.normal(120, 5, n), "contrast": rng.gamma(9, 3, n), "sharpness": rng.lognormal(1, 0.3, n),
        **sizes,
    }  # fmt: skip


def calibrated(made, scores, statistics, threshold):
    decision = Decision(threshold=threshold, measured=threshold, rule="fixed", normal=len(scores))
    kept = {name: quantiles(values) for name, values in statistics.items()}
    return made.model_copy(update={"decision": decision, "normal_scores": quantiles(scores), "statistics": kept})


def card_of(made, rng, m=20, rule="most"):
    """A card whose threshold is the greatest normal score, their .9 quantile, or that of Youden's index."""
    scores, statistics = stream(rng, m)
    threshold = float(scores.max() if rule == "most" else np.quantile(scores, 0.9))
    if rule == "youden":
        bad = rng.normal(2, 1, 10)
        every = np.concatenate([scores, bad])
        threshold = float(max(every, key=lambda t: (bad > t).mean() - (scores > t).mean()))
    return calibrated(made, scores, statistics, threshold)


@pytest.mark.parametrize("n", [30, 200])
@pytest.mark.parametrize(("rule", "defective"), [("most", 0.0), ("youden", 0.0), ("quantile", 0.2)])
def test_equal_distributions_raise_an_alarm_in_5_percent_at_most(made, n, rule, defective):
    """20 calibration images; 1,000 trials have a standard error of .7 %."""
    rng = np.random.default_rng(0)
    alarms = [report(card_of(made, rng, 20, rule), *stream(rng, n, defective)).level != "none" for _ in range(TRIALS)]
    assert np.mean(alarms) < 0.055


@pytest.mark.parametrize(("n", "m"), [(200, 200), (2000, 1000)])
def test_many_images_raise_no_more_alarms(made, n, m):
    rng = np.random.default_rng(1)
    alarms = [report(card_of(made, rng, m, "quantile"), *stream(rng, n, 0.1)).level != "none" for _ in range(300)]
    assert np.mean(alarms) < 0.05


@pytest.mark.parametrize("name", ["brightness", "contrast", "sharpness"])
def test_a_shift_of_two_deviations_is_seen_in_30_images(made, name):
    rng = np.random.default_rng(2)
    seen = []
    for _ in range(100):
        scores, statistics = stream(rng, 30)
        statistics[name] = statistics[name] + 2 * np.std(statistics[name])
        seen.append(report(card_of(made, rng), scores, statistics))
    strong = [one for one in seen if one.level == "strong"]
    assert len(strong) > 95
    assert all(next(q for q in one.quantities if q.name == name).level == "strong" for one in strong)


def test_a_tiny_shift_in_many_images_is_no_alarm(made):
    """Significant, and of no importance: the index is .01."""
    rng = np.random.default_rng(3)
    scores, statistics = stream(rng, 9000)
    statistics["brightness"] = statistics["brightness"] + 0.5
    found = report(card_of(made, rng, 9000), scores, statistics)
    light = next(one for one in found.quantities if one.name == "brightness")
    assert light.p < 0.001
    assert found.level == light.level == "none"


def changed(made, level=20, n=60, threshold=2.0, **moves):
    """The report where some quantities are moved by a function."""
    rng = np.random.default_rng(4)
    card = calibrated(made, *stream(rng, level), threshold)
    scores, statistics = stream(rng, n)
    scores = moves.pop("score", lambda values: values)(scores)
    return report(card, scores, statistics | {name: move(statistics[name]) for name, move in moves.items()})


@pytest.mark.parametrize(
    ("name", "by", "words"),
    [
        ("brightness", 40, "the light has changed: the images are brighter than in the calibration"),
        ("brightness", -40, "the light has changed: the images are darker"),
        ("contrast", 60, "the images have more contrast"),
        ("contrast", -20, "the images have less contrast"),
        ("sharpness", 5, "the images are sharper than"),
        ("sharpness", -2, "the images are less sharp than in the calibration"),
        ("score", -6, "scores have moved: those of images called normal are lower"),
    ],
)
def test_a_sentence_says_what_has_changed(made, name, by, words):
    found = changed(made, **{name: lambda values: values + by})
    (sentence,) = found.sentences
    assert sentence.startswith(words)
    assert f"{'above' if by > 0 else 'below'} all of the calibration" in sentence
    assert found.level == "strong"


def test_a_sentence_for_another_spread(made):
    found = changed(made, n=200, brightness=lambda values: 120 + 8 * (values - 120))
    assert [one.name for one in found.quantities if one.level != "none"] == ["brightness"]
    assert "brightness varies otherwise than in the calibration" in found.sentences[0]


def test_another_image_size_is_named(made):
    found = changed(made, width=lambda _: np.full(60, 640.0), height=lambda _: np.full(60, 480.0))
    assert found.sentences == ("another image size: 640 x 480 (60 of 60 images), the calibration had 300 x 300",)
    assert found.level == "strong"


def test_a_single_image_of_another_size_is_named_but_raises_no_alarm(made):
    found = changed(made, width=lambda values: np.r_[values[1:], 640.0])
    assert found.sentences == ("another image size: 640 x 300 (1 of 60 images), the calibration had 300 x 300",)
    assert found.level == "none"


def test_several_other_sizes(made):
    found = changed(made, width=lambda _: np.repeat([640.0, 320.0, 300.0], [30, 20, 10]))
    assert "640 x 300 and 1 other sizes (50 of 60 images)" in found.sentences[0]


def test_sizes_that_vary_in_the_calibration_are_compared_as_any_quantity(made):
    rng = np.random.default_rng(5)
    scores, statistics = stream(rng, 40)
    sizes = {name: rng.integers(200, 400, 40).astype(float) for name in ("width", "height")}
    card = calibrated(made, scores, statistics | sizes, 2.0)
    same = {name: rng.integers(200, 400, 60).astype(float) for name in ("width", "height")}
    again, usual = stream(rng, 60)
    assert report(card, again, usual | same).level == "none"
    found = report(card, again, usual | {"width": same["width"] + 500, "height": same["height"]})
    assert "the width of the images is greater than in the calibration" in found.sentences[0]


def test_all_scores_above_the_threshold(made):
    found = changed(made, score=lambda values: values + 9)
    assert (found.images, found.anomalous, found.level) == (60, 60, "moderate")
    assert found.sentences[0].startswith("60 of 60 images are called anomalous: either most are defective, or")


def test_defective_images_are_no_drift(made):
    """A third of the images are defective, and are called anomalous: the normal ones are as ever."""
    rng = np.random.default_rng(6)
    found = report(card_of(made, rng, 100, "quantile"), *stream(rng, 200, 1 / 3))
    assert found.anomalous > 40
    assert found.level == "none"
    score = found.quantities[0]
    assert (score.name, score.images) == ("score", 200 - found.anomalous)


def test_nothing_has_changed(made):
    assert changed(made).sentences == ("the images look like those of the calibration",)
    assert changed(made, n=5).sentences == (
        "the images look like those of the calibration; 5 images show only large changes",
    )


@pytest.mark.parametrize(
    ("card", "scores", "statistics"),
    [
        ({}, [], {}),
        ({}, [float("nan")], {"brightness": [float("nan")]}),
        ({"normal_scores": (), "statistics": {}}, [1.0] * 30, {"brightness": [1.0] * 30}),
    ],
)
def test_where_nothing_can_be_compared(made, card, scores, statistics):
    found = report(made.model_copy(update=card), scores, statistics)
    assert (found.level, found.quantities) == ("none", ())
    assert found.sentences[0].startswith("nothing can be compared")


def test_scores_that_are_missing_do_not_count(made):
    """An image that could not be read has none."""
    plain = changed(made, score=lambda values: values[3:], brightness=lambda values: values[3:])
    holes = partial(np.where, np.arange(60) < 3, np.nan)
    assert changed(made, score=holes, brightness=holes).quantities == plain.quantities


def test_statistics_that_nobody_knows_are_left_out(made):
    found = report(made, [0.0] * 30, {"weight": [1.0] * 30, "brightness": [120.0] * 30})
    assert [one.name for one in found.quantities] == ["score", "brightness"]


def test_the_report_is_plain_data(made):
    found = changed(made, brightness=lambda values: values + 40)
    assert json.loads(json.dumps(found.as_dict()))["level"] == "strong"


def test_real_images_of_a_real_model(made):
    measured = [image_statistics(picture) for picture in made_models.normal(40, 7, light=200)]
    found = report(made, [], {name: [one[name] for one in measured] for name in STATISTICS})
    assert found.level == "strong"
    assert [one.name for one in found.quantities if one.level != "none"] == ["brightness"]

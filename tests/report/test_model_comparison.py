import math

import made_models
import numpy as np
import pytest

from anomalybench import run
from anomalybench.bench.store import Store
from anomalybench.core.errors import DataError, UsageError
from anomalybench.evaluate.agreement import Agreement
from anomalybench.report import verdicts
from anomalybench.report.model_comparison import Decisions, labelled, sentences, shared_test


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A small real run."""
    place = tmp_path_factory.mktemp("run")
    made_models.draw(place / "bolt")
    run(data=place / "bolt", methods=("pixel_knn", "brightness"), floors=False, results=place / "results")
    return Store(place / "results")


@pytest.fixture
def cards(store):
    return [store.model(record).card for record in store.records()]


def decided(name, scores, threshold=0.5):
    return Decisions(name, np.asarray(scores, float), threshold)


def test_models_are_compared_as_methods_are(store, cards):
    """The same differences, intervals and p-values as those of `compare`, from the stored scores."""
    test = shared_test(*cards, store)
    a, b = (
        decided(card.job.method.name, scores, card.decision.measured)
        for card, scores in zip(cards, (test.a, test.b), strict=True)
    )
    found = labelled(a, b, test.labels, test.keys)
    for metric, pair in found.pairs.items():
        (comparison,) = verdicts.comparisons(store, None, None, [], metric)
        (expected,) = comparison.pairs
        assert (pair.a, pair.b) == tuple(name.partition(" ")[0] for name in (expected.a, expected.b))
        assert pair.whole.value == pytest.approx(expected.whole.value)
        assert pair.whole.interval == pytest.approx(expected.whole.interval, abs=1e-6)
        assert pair.whole.p == pytest.approx(expected.whole.p, rel=1e-4)


def test_the_better_one_is_named_whatever_the_order():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 40)
    good, bad = decided("good", rng.normal(labels * 3.0), 1.5), decided("bad", rng.normal(size=80), 0.0)
    keys = [f"image {i}" for i in range(80)]
    for pair in (labelled(good, bad, labels, keys), labelled(bad, good, labels, keys)):
        for one in pair.pairs.values():
            assert one.sentence().startswith("good is better than bad on images like these")
    assert labelled(good, bad, labels, keys).rights == labelled(bad, good, labels, keys).rights[::-1]


def test_equally_good_models_are_rarely_told_apart():
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], 30)
    keys = [f"image {i}" for i in range(60)]
    told = []
    for _ in range(60):
        noise = rng.normal(size=60)
        a, b = (decided(name, rng.normal(size=60) + noise + labels * 2.0, 1.0) for name in "ab")
        told.append(labelled(a, b, labels, keys).pairs["auroc"].differ)
    assert np.mean(told) < 0.12


def test_few_images_say_nothing():
    labels = [0, 0, 0, 0, 0, 0, 1, 1]
    found = labelled(decided("a", labels), decided("b", np.arange(8.0) % 2), labels, list("12345678"))
    assert "only 2 defective test images: says nothing" in found.pairs["auroc"].sentence()


def test_shots_of_one_object_are_one():
    """Sixteen images of four defective and four normal parts are too few for a verdict."""
    labels = np.repeat([0, 1], 8)
    keys = [f"group {i // 2}" for i in range(16)]
    found = labelled(decided("a", labels), decided("b", np.arange(16) % 2), labels, keys)
    assert "only 4 defective test images" in found.pairs["auroc"].sentence()


@pytest.mark.parametrize(("labels", "word"), [([0, 0, 0], "defective"), ([1, 1, 1], "normal")])
def test_one_class_alone_compares_nothing(labels, word):
    with pytest.raises(DataError, match=f"no {word} image is left"):
        labelled(decided("a", [0, 1, 2]), decided("b", [2, 1, 0]), labels, list("abc"))


def test_other_test_images_are_refused(store, cards):
    a, b = cards
    for changed in (
        {"job": b.job.model_copy(update={"seed": 1})},
        {"job": b.job.model_copy(update={"fold": "2"})},
        {"fingerprint": "e" * 16},
    ):
        with pytest.raises(UsageError, match="may have been fitted on the other's test images"):
            shared_test(a, b.model_copy(update=changed), store)


def test_a_refit_was_fitted_on_its_test_images(store, cards):
    a, b = cards
    with pytest.raises(UsageError, match="fitted again on its test images"):
        shared_test(a, b.model_copy(update={"fitted_on": "train+test"}), store)


def test_a_job_that_the_results_no_longer_hold(store, cards):
    a, b = cards
    with pytest.raises(UsageError, match="does not hold the job gone"):
        shared_test(a, b.model_copy(update={"record": "gone"}), store)


def test_sentences_without_labels():
    a, b = decided("a", []), decided("b", [])
    said = sentences(a, b, Agreement(90, 7, 1, 2))
    assert said[0].startswith("a and b decide alike on 92 of 100 images (92.0%, 95 % interval 85.0% to 95.9%, Cohen's")
    assert said[1] == "a alone calls 7 anomalous, b alone 1."
    assert "Without labels nothing says who is right" in said[2]


def test_sentences_of_models_that_never_differ():
    said = sentences(decided("a", []), decided("b", []), Agreement(10, 0, 0, 0))
    assert "kappa" not in said[0]
    assert math.isnan(Agreement(10, 0, 0, 0).kappa)
    assert said[1] == "They never differ here; that does not show that they are right."

"""The stopwatch of one image by itself."""

import time

from anomalybench.deploy.timing import alone

IMAGES = ["first", "second"]


def test_images_are_taken_in_turns_one_by_one_and_the_first_ones_do_not_count():
    seen = []

    def predict(images):
        seen.append(list(images))

    spent = alone(predict, IMAGES, count=3, limit_s=60, warm_up=2)
    assert seen == [["first"], ["second"], ["first"], ["second"], ["first"]]
    assert spent.shape == (3,)


def test_a_slow_one_is_timed_once():
    spent = alone(lambda images: time.sleep(0.03), IMAGES, count=50, limit_s=0.01)
    assert spent.shape == (1,)
    assert spent[0] >= 30

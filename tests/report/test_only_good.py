"""Only good test images: nothing can be ranked, and the most unusual images are shown."""

import json
import math

import made_records as made
import pytest
from read_page import data_of, written

from anomalybench.bench.store import Store
from anomalybench.report import card, comparison, figures, leaderboard, marks, page, pictures


@pytest.fixture
def good(tmp_path):
    """A store with two methods on good images alone."""
    store = Store(tmp_path / "results")
    images = made.draw_images(tmp_path / "data", "bolt", 24)
    images = images[images["label"] == 0].reset_index(drop=True)
    for i, name in enumerate(("cam", "random")):
        made.put(store, tmp_path / "data", made.job(name), images, seed=i, intervals={})
    return store


def test_the_tables_say_that_nothing_can_be_ranked(good):
    results = made.results(good)
    assert all(result.metrics["auroc"] is None for result in results)
    tables = leaderboard.build(results, good.resample(results))
    for row in tables.leaderboard.to_dict("records"):
        assert row["status"] == "ok"
        assert math.isnan(row["auroc"])
        assert row["not_ranked"] == comparison.NO_DEFECTS
        assert marks.of(row, 1, 0) == [comparison.NO_DEFECTS]
    assert [path.exists() for path in leaderboard.write(tables, good.results, "good")] == [True, True]


def test_the_page_says_it_and_has_large_views_of_the_most_unusual(good):
    results = made.results(good)
    data = data_of(written([result.record for result in results], good, max_images=3))
    assert any("nothing can be ranked" in notice and "highest scores" in notice for notice in data["notices"])
    assert {row["not_ranked"] for row in data["rows"]} == {comparison.NO_DEFECTS}
    (job,) = [job for job in data["jobs"] if job["method"] == "cam"]
    places = [place for _, place in sorted(zip(job["test"]["score"], job["test"]["image"], strict=True), reverse=True)]
    for place in places[:3]:
        assert "large" in data["images"][place]
        assert str(place) in job["maps"]
    assert job["card"]


def test_the_figures_show_the_most_unusual(good):
    for result in made.results(good):
        names = {file.stem for file in figures.draw(result, good)}
        assert names == {"histogram", "confusion", figures.UNUSUAL}
        assert json.dumps(card.sections(result))


def test_the_highest_scores_come_first(good):
    table = good.scores(made.results(good)[0].record)
    test = made.tested(table)
    assert test.loc[pictures.most_telling(test, 0.5), "score"].is_monotonic_decreasing


def test_the_page_opens_on_the_highest_score(good, open_page, tmp_path):
    page.write("good", made.results(good), good, tmp_path / "page.html")
    tab = open_page(tmp_path / "page.html")
    assert "No method is ranked here" in tab.locator("#verdict").inner_text()
    assert tab.locator("[data-name=order] select").input_value() == "high"
    scores = [float(text) for text in tab.locator(".tile b").all_inner_texts()]
    assert scores == sorted(scores, reverse=True)
    tab.locator(".tile").first.click()
    assert tab.locator("#viewer canvas").count() >= 1
    assert not tab.troubles
    tab.context.close()

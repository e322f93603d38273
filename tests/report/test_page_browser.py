"""The page as a reader uses it: in Chromium, from a file, with the network watched."""

import math

import made_records as made
import pytest

from anomalybench.bench.store import Store
from anomalybench.evaluate import catalogue
from anomalybench.report import page

MEASURED = ("tp", "fp", "tn", "fn", "balanced_accuracy", "precision", "recall", "specificity", "f1", "accuracy")


@pytest.fixture(scope="module")
def opened(open_page, file):
    return open_page(file, viewport={"width": 1300, "height": 900})


@pytest.fixture
def tab(opened):
    """The page as it is at first."""
    opened.reload()
    opened.troubles.clear()
    yield opened
    assert not opened.troubles


def choose(tab, name, value):
    tab.locator(f"[data-name={name}] select").select_option(value)


def listed(tab):
    return tab.locator("#leaderboard-table tbody tr").evaluate_all("rows => rows.map(row => row.dataset.method)")


def test_columns_sort_both_ways(tab):
    def column(name):
        cells = tab.locator("#leaderboard-table tbody tr").all()
        at = tab.locator("#leaderboard-table thead th").evaluate_all(
            "(ths, key) => ths.findIndex(th => th.dataset.key === key)", name
        )
        return [cell.locator("th, td").nth(at).inner_text().split("\n")[0] for cell in cells]

    assert len(listed(tab)) == 5
    for key, number in (("method", str), ("metric", float), ("predict_ms_per_image", lambda text: float(text[:-3]))):
        head = tab.locator(f"#leaderboard-table th[data-key={key}]")
        for _ in range(2):
            head.locator("button").click()
            order = head.get_attribute("aria-sort")
            values = [number(text) for text in column(key) if text != "–"]
            assert values == sorted(values, reverse=order == "descending"), (key, order)
        assert tab.locator("#leaderboard-table th[aria-sort=ascending], th[aria-sort=descending]").count() == 1


def test_numbers_are_rounded_as_python_does(tab):
    values = [0.8125, 0.9375, 0.0625, 0.5, 1.0, 0.3335, 2.0005]
    assert tab.evaluate("values => values.map(v => fixed(v))", values) == [f"{value:.3f}" for value in values]


def test_filters_leave_what_is_asked_for(tab, nasty):
    assert {"cam", "patchcore", "random"} < set(listed(tab))
    choose(tab, "supervision", "labels")
    assert listed(tab) == ["cam"]
    choose(tab, "dataset", "other")
    assert listed(tab) == ["cam"]
    choose(tab, "dataset", "toy")
    choose(tab, "supervision", "")
    choose(tab, "category", "bolt")
    assert "broken" in listed(tab)
    choose(tab, "category", nasty)
    assert "broken" not in listed(tab)
    choose(tab, "metric", "f1")
    assert tab.locator("#leaderboard-table th[data-key=metric]").inner_text().startswith("F1")
    assert "highest F1" in tab.locator("#verdict").inner_text()
    choose(tab, "protocol", tab.locator("[data-name=protocol] option").last.get_attribute("value"))
    assert listed(tab) == ["cam"]
    assert "learns from labels" in tab.locator("#leaderboard-table").inner_text()


def test_floors_and_other_tools_are_told_apart(tab):
    rows = {row.get_attribute("data-method"): row for row in tab.locator("#leaderboard-table tbody tr").all()}
    for method, badge, shape in (("random", "floor", "rect"), ("external:theirs", "external", "polygon")):
        assert rows[method].locator("th .badge").inner_text() == badge
        assert rows[method].locator(f"{shape}.mark-{badge}").count() == 1
    assert rows["cam"].locator("th .badge").count() == 0
    assert rows["cam"].locator("circle.mark-ours").count() == 1
    assert "floor:" in tab.locator("#legend").inner_text()


def test_the_slider_s_numbers_are_those_of_evaluate(tab, toy_store):
    choose(tab, "category", "bolt")
    tab.locator("#job-choice").select_option(label="patchcore · bolt")
    jobs = [(one, one.record.job) for one in made.results(toy_store)]
    (result,) = (one for one, job in jobs if (job.method.name, job.category) == ("patchcore", "bolt"))
    test = made.tested(toy_store.scores(result.record))
    seen = set()
    for place in (0, 250, 480, 600, 1000):
        tab.locator("#threshold").evaluate(
            """(slider, at) => {
                slider.value = at;
                for (const name of ["input", "change"]) slider.dispatchEvent(new Event(name));
            }""",
            place,
        )
        threshold = float(tab.locator("#threshold-exact").input_value())
        expected = catalogue.measure_image(test["score"], test["label"], threshold)
        for name in MEASURED:
            found, value = (
                tab.locator(f"#job [data-metric={name}]").get_attribute("data-value"),
                expected[name],
            )
            assert found == "" if math.isnan(value) else float(found) == pytest.approx(value, abs=1e-12), (
                name,
                threshold,
            )
        assert tab.locator("[data-verdict=fp]").inner_text() == f"false positives {expected['fp']}"
        seen.add((expected["tp"], expected["fp"]))
    assert len(seen) == 5
    for name, value in (("calibrated", result.measurement.threshold), ("oracle", result.metrics["oracle_threshold"])):
        tab.locator(f"[data-jump={name}]").click()
        assert float(tab.locator("#threshold-exact").input_value()) == value
    best = float(tab.locator("#live [data-metric=balanced_accuracy]").get_attribute("data-value"))
    assert best == pytest.approx(result.metrics["oracle_balanced_accuracy"])


def test_the_gallery_shows_what_its_filters_say(tab):
    tab.locator("#job-choice").select_option(label="patchcore · bolt")
    total = tab.locator(".tile").count()
    assert total == 24
    counts = {}
    for verdict in ("fp", "fn", "tp", "tn"):
        button = tab.locator(f"[data-verdict={verdict}]")
        button.click()
        counts[verdict] = tab.locator(".tile").count()
        assert button.get_attribute("aria-pressed") == "true"
        assert button.inner_text().endswith(f" {counts[verdict]}")
        assert set(tab.locator(".tile").evaluate_all("tiles => tiles.map(t => t.dataset.verdictIs)")) <= {verdict}
    assert sum(counts.values()) == total
    tab.locator("[data-verdict=all]").click()
    choose(tab, "defect", "crack")
    assert set(tab.locator(".tile").evaluate_all("tiles => tiles.map(t => t.dataset.defect)")) == {"crack"}
    choose(tab, "defect", "")
    choose(tab, "order", "high")
    scores = [float(text) for text in tab.locator(".tile b").all_inner_texts()]
    assert scores == sorted(scores, reverse=True)


def test_the_large_view_by_keyboard(tab):
    tab.locator(".tile").first.focus()
    tab.keyboard.press("Enter")
    viewer = tab.locator("#viewer")
    assert viewer.is_visible()
    first = tab.locator("#viewer-title").inner_text()
    tab.keyboard.press("ArrowRight")
    second = tab.locator("#viewer-title").inner_text()
    assert "2 of 24" in second
    assert first != second
    tab.keyboard.press("ArrowLeft")
    assert tab.locator("#viewer-title").inner_text() == first
    assert viewer.locator(".pane").count() == 4
    assert viewer.locator("canvas").count() == 3
    tab.locator("#blend").focus()
    tab.keyboard.press("Home")
    assert viewer.locator("canvas").first.evaluate("canvas => canvas.style.opacity") == "0"
    assert tab.locator("#viewer-title").inner_text() == first
    viewer.locator("fieldset input[value=random]").uncheck()
    assert viewer.locator(".pane").count() == 3
    viewer.locator("input[value=boxes]").focus()
    tab.keyboard.press("Space")
    assert tab.evaluate("document.activeElement.value") == "boxes"
    tab.keyboard.press("Escape")
    assert not viewer.is_visible()
    assert tab.evaluate("document.activeElement.className").startswith("tile")


def test_heat_map_outline_and_boxes_lie_where_the_defect_is(tab):
    tab.locator("[data-verdict=tp]").click()
    tab.locator(".tile").first.click()
    pane = tab.locator(".pane").first
    assert (
        pane.locator("img[alt='outline of the true defect']").evaluate(
            "image => image.decode().then(() => image.naturalWidth)"
        )
        == made.WIDTH
    )
    box = pane.locator("rect").first
    middle = [
        float(box.get_attribute(at)) + float(box.get_attribute(size)) / 2
        for at, size in (("x", "width"), ("y", "height"))
    ]
    assert all(250 <= place <= 500 for place in middle)
    pixels = pane.locator("canvas").evaluate("c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]")
    bright, dark = (sum(pixels[4 * (20 * y + x) :][:3]) for x, y in ((7, 6), (18, 14)))
    assert bright > dark


def test_everything_is_reached_with_the_tab_key(tab):
    reached = set()
    for _ in range(40):
        tab.keyboard.press("Tab")
        reached.add(tab.evaluate("(document.activeElement.closest('[id]') || document.body).id"))
    assert {"filters", "contents", "more-columns", "leaderboard-table", "cost-tools", "matrix"} <= reached
    assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"


def test_a_cell_of_the_matrix_opens_its_job(tab):
    tab.locator("#matrix tbody tr").first.locator("button").nth(1).click()
    title = tab.locator("#matrix tbody tr").first.locator("button").nth(1).get_attribute("title")
    method, category = title.split(" on ", 1)
    assert tab.locator("#job-choice").input_value().startswith(f"{method} · {category[:20]}")


def test_names_are_shown_as_text(tab, nasty):
    assert tab.locator("h1").inner_text() == " ".join(nasty.split())
    assert tab.locator("#unfinished-list").inner_text().count("<script>alert(1)</script>") >= 1
    assert nasty in tab.locator("[data-name=category] option").evaluate_all("all => all.map(o => o.value)")
    assert tab.locator("img[src=x]").count() == 0
    assert tab.locator("#by-defect").inner_text().count("onerror=alert") == 1


def test_defect_types_have_a_table_whose_columns_stand_as_in_the_leaderboard(open_page, tmp_path):
    store = Store(tmp_path / "results")
    images = made.draw_images(tmp_path / "data", "bolt", 8)
    for i, name in enumerate(("cam", "fcdd")):
        share = {"crack": 0.25 + i / 2, "stain": 0.5, "good": 1.0}
        made.put(store, tmp_path / "data", made.job(name), images, gap=3 - 2 * i, accuracy_by_defect=share)
    page.write("toy", made.results(store), store, tmp_path / "page.html")
    tab = open_page(tmp_path / "page.html")
    table = tab.locator("#defect-tables table")
    assert table.locator("thead th").all_inner_texts() == ["defect type", *listed(tab)]
    cells = table.locator("tbody tr").first.locator("th, td").all_inner_texts()
    assert cells == ["crack", *({"cam": "0.250", "fcdd": "0.750"}[name] for name in listed(tab))]
    assert table.locator("tbody th").all_inner_texts() == ["crack", "stain", "good"]
    assert not tab.troubles
    tab.context.close()


def test_the_words_are_explained_on_the_page(tab):
    assert not tab.locator("#terms").is_visible()
    tab.locator("#glossary summary").click()
    assert "oracle" in tab.locator("#terms").inner_text()


ROWS = [
    {"method": "leader", "value": 0.9, "ms": 50, "tied": True, "below": False},
    {"method": "quick", "value": 0.8, "ms": 20, "tied": True, "below": False},
    {"method": "weak", "value": 0.7, "ms": 1, "tied": True, "below": True},
    {"method": "lucky", "value": 1.0, "ms": 1, "not_ranked": "only 1 defective test image: says nothing"},
]


def test_the_sentence_and_the_table_agree(tab):
    """The fastest is none that is not above a floor; what says nothing stands last and has no mark."""
    tab.evaluate(
        """made => {
            const first = rows("")[0];
            DATA.rows = made.map(({ method, value, ms, ...more }) => ({
                ...first, kind: "ours", tied: false, below: false, errors: [], published: [], intervals: {}, method,
                ...more, values: { ...first.values, auroc: value }, costs: { ...first.costs, predict_ms_per_image: ms },
            }));
            drawAll();
        }""",
        ROWS,
    )
    assert listed(tab) == ["leader", "quick", "weak", "lucky"]
    said = tab.locator("#verdict").inner_text()
    assert said.startswith("leader has the highest ROC AUC")
    assert "Not above a floor: weak." in said
    assert "Of the others quick is the fastest: 20 ms" in said
    assert tab.locator("tr[data-method=lucky] .remarks").inner_text() == "only 1 defective test image: says nothing"
    tab.locator("#leaderboard-table th[data-key=metric] button").click()
    assert listed(tab) == ["weak", "quick", "leader", "lucky"]


def test_methods_with_maps_are_shown_first(tab):
    """Of more methods than fit, those without a map are left to choose."""
    tab.evaluate(
        """() => {
            const job = state.job;
            for (let i = 0; i < 4; i++) {
                const metrics = { ...job.metrics, auroc: 1 };
                DATA.jobs.push({ ...job, method: `blind${i}`, id: `${i}`, maps: {}, metrics });
            }
        }"""
    )
    tab.locator(".tile").first.click()
    panes = tab.locator(".pane").all()
    assert [pane.locator("canvas").count() for pane in panes] == [1, 1, 1, 0]
    assert "colours from" in panes[0].inner_text()
    assert "beyond" in panes[0].inner_text()

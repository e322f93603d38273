"""The page as a reader meets it: in Chromium, from a file, with the network watched."""

import shutil

import made_records as made
import pytest

from anomalybench.bench.store import Store
from anomalybench.core.job import Choice
from anomalybench.evaluate import image_metrics
from anomalybench.report import page

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NASTY = "<script>alert(1)</script><img src=x onerror=alert(1)> '\"& 🐛 " + "y" * 300
CATEGORIES = ("bolt", NASTY)
METHODS = ("cam", "patchcore", "external:theirs", "random")
MEASURED = ("tp", "fp", "tn", "fn", "balanced_accuracy", "precision", "recall", "specificity", "f1", "accuracy")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Four methods on two categories of a dataset, one on another; one job failed, one was skipped."""
    home = tmp_path_factory.mktemp("page")
    store, data = Store(home / "results"), home / "data"
    for category in CATEGORIES:
        images = made.draw_images(data, "bolt" if category == "bolt" else "nut", 24, defects=("crack", NASTY))
        for i, method in enumerate(METHODS):
            supervision = "labels" if method == "cam" else "normals"
            job = made.job(method, category)
            made.put(store, data, job, images, gap=2 - i / 2, seed=i, supervision=supervision, maps=i < 3)
    made.put(store, data, made.job("cam", dataset="other"), images, error=None)
    store.put(made.Outcome(made.lost(made.job("broken"), error=NASTY, traceback=f"Traceback\n{NASTY}")))
    job = made.job("cam").model_copy(update={"protocol": Choice(name="standard")})
    store.put(made.Outcome(made.lost(job, "skipped", "learns from labels")))
    return store


@pytest.fixture(scope="module")
def chromium():
    if BROWSER is None:
        pytest.skip("no Chromium is installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def open_page(chromium):
    """Opens a file; whatever goes wrong in it, and every request it makes, is kept in `troubles`."""

    def call(file, **options):
        context = chromium.new_context(**options)
        context.set_default_timeout(5000)
        tab = context.new_page()
        tab.troubles = []
        tab.on("console", lambda message: tab.troubles.append(f"console: {message.text}"))
        tab.on("pageerror", lambda error: tab.troubles.append(f"error: {error}"))
        tab.on("dialog", lambda dialog: (tab.troubles.append("a script ran"), dialog.dismiss()))
        own = file.resolve().as_uri()
        tab.on("request", lambda r: r.url in (own,) or r.url.startswith("data:") or tab.troubles.append(r.url))
        tab.goto(own)
        return tab

    return call


@pytest.fixture(scope="module")
def file(store):
    file = page.place(store, "toy")
    page.write(NASTY, list(store.records()), store, file, max_images=12)
    return file


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


def test_filters_leave_what_is_asked_for(tab):
    assert {"cam", "patchcore", "random"} < set(listed(tab))
    choose(tab, "supervision", "labels")
    assert listed(tab) == ["cam"]
    choose(tab, "dataset", "other")
    assert listed(tab) == ["cam"]
    choose(tab, "dataset", "toy")
    choose(tab, "supervision", "")
    choose(tab, "category", "bolt")
    assert "broken" in listed(tab)
    choose(tab, "category", NASTY)
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


def test_the_slider_s_numbers_are_those_of_evaluate(tab, store):
    choose(tab, "category", "bolt")
    tab.locator("#job-choice").select_option(label="patchcore · bolt")
    (record,) = (r for r in store.records() if r.job.method.name == "patchcore" and r.job.category == "bolt")
    test = made.tested(store.scores(record.job))
    seen = set()
    for place in (0, 250, 480, 600, 1000):
        tab.locator("#threshold").evaluate(
            "(slider, at) => { slider.value = at; slider.dispatchEvent(new Event('input')); }", place
        )
        threshold = float(tab.locator("#threshold-exact").input_value())
        expected = image_metrics.measure(test["score"], test["label"], threshold)
        for name in MEASURED:
            found, value = (
                tab.locator(f"#job [data-metric={name}]").get_attribute("data-value"),
                getattr(expected, name),
            )
            assert found == "" if value != value else float(found) == pytest.approx(value, abs=1e-12), (name, threshold)
        assert tab.locator("[data-verdict=fp]").inner_text() == f"false positives {expected.fp}"
        seen.add((expected.tp, expected.fp))
    assert len(seen) == 5
    for name, value in (("calibrated", record.threshold), ("oracle", record.metrics["oracle_threshold"])):
        tab.locator(f"[data-jump={name}]").click()
        assert float(tab.locator("#threshold-exact").input_value()) == value
    best = float(tab.locator("#live [data-metric=balanced_accuracy]").get_attribute("data-value"))
    assert best == pytest.approx(record.metrics["oracle_balanced_accuracy"])


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
    tab.keyboard.press("Escape")
    assert not viewer.is_visible()


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
    bright, dark = pane.locator("canvas").evaluate(
        "c => [[7, 6], [18, 14]].map(([x, y]) => c.getContext('2d').getImageData(x, y, 1, 1).data.slice(0, 3).reduce((a, b) => a + b))"
    )
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


def test_names_are_shown_as_text(tab):
    assert tab.locator("h1").inner_text() == " ".join(NASTY.split())
    assert tab.locator("#unfinished-list").inner_text().count("<script>alert(1)</script>") >= 1
    assert NASTY in tab.locator("[data-name=category] option").evaluate_all("all => all.map(o => o.value)")
    assert tab.locator("img[src=x]").count() == 0
    assert tab.locator("#by-defect").inner_text().count("onerror=alert") == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_scrolling_sideways_and_nothing_shifts(open_page, file, scheme):
    tab = open_page(file, viewport={"width": 375, "height": 800}, color_scheme=scheme)
    shift = tab.evaluate(
        """() => new Promise(done => {
            let sum = 0;
            new PerformanceObserver(list => { for (const e of list.getEntries()) sum += e.value; })
                .observe({ type: "layout-shift", buffered: true });
            setTimeout(() => done(sum), 300);
        })"""
    )
    assert shift < 0.1
    assert tab.evaluate("document.documentElement.scrollWidth") == 375
    tab.locator(".tile").first.click()
    assert tab.evaluate("document.documentElement.scrollWidth") == 375
    assert tab.locator("#viewer").bounding_box()["width"] <= 375
    assert not tab.troubles
    tab.context.close()


def test_text_stands_out_from_its_ground(open_page, file):
    """Contrast of 4.5 to 1 at least, of every element that holds text."""
    for scheme in ("light", "dark"):
        tab = open_page(file, viewport={"width": 1300, "height": 900}, color_scheme=scheme)
        tab.locator("#card summary").click()
        faint = tab.evaluate(CONTRAST)
        assert not faint, (scheme, faint[:5])
        tab.context.close()


CONTRAST = """() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgba = colour => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data]; };
    const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
    const ground = node => { for (let n = node; n; n = n.parentElement) { const c = rgba(getComputedStyle(n).backgroundColor); if (c[3] === 255) return c; } return [255, 255, 255]; };
    const faint = [], seen = new Map();
    for (const node of document.querySelectorAll("body *")) {
        if (![...node.childNodes].some(c => c.nodeType === 3 && c.data.trim()) || !node.getClientRects().length || node.closest("script, option, [disabled]")) continue;
        const style = getComputedStyle(node), svg = node instanceof SVGElement;
        const key = [svg ? style.fill : style.color, ...ground(node)].join();
        if (!seen.has(key)) {
            const [a, b] = [light(rgba(svg ? style.fill : style.color)), light(ground(node))].sort((p, q) => q - p);
            seen.set(key, (a + .05) / (b + .05));
        }
        if (seen.get(key) < 4.5) faint.push([node.tagName, node.className?.baseVal ?? node.className, node.textContent.slice(0, 30), seen.get(key)]);
    }
    return faint;
}"""


def test_pages_with_little_on_them_open_and_say_so(open_page, tmp_path):
    store = Store(tmp_path / "results")
    images = made.draw_images(tmp_path / "data", "bolt", 8)
    gone = made.put(store, tmp_path / "moved", made.job("cam"), images)
    old = made.put(store, tmp_path / "data", made.job("old"), images, intervals={}, environment={})
    (store.folder(old.job) / "scores.parquet").unlink()
    cases = {
        "images cannot be shown": [gone], "no raw scores": [old], "No job has finished": [made.lost(made.job("cam"))],
    }  # fmt: skip
    for words, records in cases.items():
        file = tmp_path / "page.html"
        page.write("little", records, store, file)
        tab = open_page(file)
        assert words in tab.locator("#notices").inner_text()
        assert tab.locator("#leaderboard-table tbody tr").count() == 1
        assert not tab.troubles
        tab.context.close()


def test_paper_shows_the_light_page_without_controls(open_page, file):
    tab = open_page(file, viewport={"width": 718, "height": 1000}, color_scheme="dark")
    tab.emulate_media(media="print")
    assert not tab.locator(".bar").is_visible()
    assert not tab.locator("#threshold").is_visible()
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.evaluate("document.documentElement.scrollWidth") <= 718
    tab.context.close()

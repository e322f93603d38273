"""How the page looks to whom: on a phone, in the dark, on paper, and with little on it."""

import made_records as made
import pytest

from anomalybench.bench.store import Store
from anomalybench.report import page

CONTRAST = """() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgba = colour => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const straight = v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
    const light = ([r, g, b]) => .2126 * straight(r / 255) + .7152 * straight(g / 255) + .0722 * straight(b / 255);
    const ground = node => {
        for (let n = node; n; n = n.parentElement) {
            const colour = rgba(getComputedStyle(n).backgroundColor);
            if (colour[3] === 255) return colour;
        }
        return [255, 255, 255];
    };
    const faint = [], seen = new Map();
    for (const node of document.querySelectorAll("body *")) {
        const worded = [...node.childNodes].some(c => c.nodeType === 3 && c.data.trim());
        if (!worded || !node.getClientRects().length || node.closest("script, option, [disabled]")) continue;
        const style = getComputedStyle(node), colour = node instanceof SVGElement ? style.fill : style.color;
        const key = [colour, ...ground(node)].join();
        if (!seen.has(key)) {
            const [a, b] = [light(rgba(colour)), light(ground(node))].sort((p, q) => q - p);
            seen.set(key, (a + .05) / (b + .05));
        }
        if (seen.get(key) < 4.5) faint.push([node.tagName, node.textContent.slice(0, 30), seen.get(key)]);
    }
    return faint;
}"""


def test_the_leaderboard_fits_a_small_laptop_with_its_remarks(open_page, file):
    tab = open_page(file, viewport={"width": 1120, "height": 800})
    table = tab.locator("#leaderboard .scroll")
    assert table.evaluate("box => box.scrollWidth - box.clientWidth") <= 0
    tab.context.close()


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


def test_pages_with_little_on_them_open_and_say_so(open_page, tmp_path):
    store = Store(tmp_path / "results")
    images = made.draw_images(tmp_path / "data", "bolt", 8)
    gone = made.put(store, tmp_path / "moved", made.job("cam"), images)
    old = made.put(store, tmp_path / "data", made.job("old"), images, intervals={}, environment={})
    (made.folder(store, old) / "scores.parquet").unlink()
    cases = {
        "images cannot be shown": [gone], "no raw scores": [old], "No job has finished": [made.lost(made.job("cam"))],
    }  # fmt: skip
    for words, records in cases.items():
        file = tmp_path / "page.html"
        page.write("little", map(made.result, records), store, file)
        tab = open_page(file)
        assert words in tab.locator("#notices").inner_text()
        assert tab.locator("#leaderboard-table tbody tr").count() == 1
        assert not tab.troubles
        tab.context.close()


def test_a_mean_over_fewer_categories_is_not_ranked_with_the_rest(open_page, tmp_path):
    store = Store(tmp_path / "results")
    images = made.draw_images(tmp_path / "data", "bolt", 8)
    for i, (method, category) in enumerate((("whole", "a"), ("whole", "b"), ("easy", "a"))):
        job, learns = made.job(method, category), "normals" if method == "easy" else "labels"
        made.put(store, tmp_path / "data", job, images, gap=6 if method == "easy" else 0.5, seed=i, supervision=learns)
    page.write("partial", made.results(store), store, tmp_path / "page.html", max_images=0)
    tab = open_page(tmp_path / "page.html")
    assert tab.locator("#verdict").inner_text().startswith("whole has the highest")
    assert "only 1 of 2 categories" in tab.locator("tr[data-method=easy]").inner_text()
    assert "left out" in tab.locator("#cost-chart").inner_text()
    tab.locator("[data-name=supervision] select").select_option("normals")
    assert "Of all methods it is whole" in tab.locator("#verdict").inner_text()
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

"""The page in a browser: small records of many kinds, and Chromium to look at them with."""

import shutil

import made_records as made
import pytest

from anomalybench.bench.store import Store
from anomalybench.core.job import Choice
from anomalybench.report import page

NASTY = "<script>alert(1)</script><img src=x onerror=alert(1)> '\"& 🐛 " + "y" * 300
METHODS = ("cam", "patchcore", "external:theirs", "random")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results")


@pytest.fixture
def put(store, tmp_path):
    """Stores a job of 8 + 8 test images."""
    images = made.draw_images(tmp_path / "data", "bolt", 16)
    return lambda job, **changes: made.put(store, tmp_path / "data", job, images, **changes)


@pytest.fixture(scope="session")
def nasty():
    """A name that means harm."""
    return NASTY


@pytest.fixture(scope="session")
def toy_store(tmp_path_factory):
    """Four methods on two categories of a dataset, one on another; one job failed, one was skipped."""
    home = tmp_path_factory.mktemp("page")
    store, data = Store(home / "results"), home / "data"
    for category in ("bolt", NASTY):
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


@pytest.fixture(scope="session")
def chromium():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium is installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def file(toy_store):
    file = page.place(toy_store, "toy")
    page.write(NASTY, made.results(toy_store), toy_store, file, max_images=12)
    return file

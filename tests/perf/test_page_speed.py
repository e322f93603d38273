"""Speed and size of the page: `pytest tests/perf/test_page_speed.py --benchmark-only`."""

import itertools

import made_records as made
import numpy as np
import pytest
from PIL import Image

from anomalybench.bench.store import Store
from anomalybench.report import page


def stored(home, n_methods, n_categories, n_images, side):
    """A store with a job for each method and category, on noisy images, which WebP cannot make small."""
    store = Store(home / "results")
    categories = [f"category {i}" for i in range(n_categories)]
    images = {name: made.draw_images(home / "data", name, n_images, (side, side)) for name in categories}
    rng = np.random.default_rng(0)
    for file in sorted((home / "data").rglob("*[0-9].png")):
        coarse = Image.fromarray(rng.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)).resize((side, side))
        noise = rng.integers(-12, 13, (side, side, 3))
        Image.fromarray(np.clip(np.asarray(coarse) + noise, 0, 255).astype(np.uint8)).save(file, compress_level=1)
    for (i, name), category in itertools.product(enumerate(["random", *"abcdefghijk"][:n_methods]), categories):
        made.put(store, home / "data", made.job(name, category), images[category], seed=i, gap=1.5 - i / 20)
    return store


@pytest.mark.benchmark(group="the page, to be written in 20 s and to weigh 15 MB at most")
@pytest.mark.parametrize("shape", [(10, 20, 40, 256), (7, 2, 200, 512)], ids=["200 jobs", "7 x 2 x 200 images"])
def test_page(benchmark, shape, tmp_path):
    if benchmark.disabled:
        pytest.skip("a benchmark: run with --benchmark-only")
    store, file = stored(tmp_path, *shape), tmp_path / "page.html"
    results = made.results(store)
    benchmark.pedantic(page.write, ("toy", results, store, file), rounds=1)
    assert benchmark.stats["max"] < 20
    assert file.stat().st_size < 15e6

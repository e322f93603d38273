"""No false alarms on faultless images, drawn and real; and the duplicates that real images have."""

import pytest

from anomalybench.core import registry
from anomalybench.datasets.synthetic import Synthetic
from anomalybench.inspection.data_check import check


@pytest.mark.parametrize("category", ["weave", "grain", "disc", "tablet"])
def test_drawn_images_give_no_false_alarm(category):
    plugin = Synthetic(n_normal=30, n_anomalous=12)
    assert check(plugin, plugin.root(None), category).findings == ()


@pytest.mark.parametrize("category", ["hazelnut", "transistor"])
def test_aligned_real_objects_give_no_false_alarm(data, category):
    assert check(registry.dataset("mvtec_ad")(), data / "mvtec_mini", category).findings == ()


def test_cookies_photographed_before_and_after_they_broke_are_found(data):
    """Each of these pairs has been looked at: the same chips and cracks are in both images."""
    report = check(registry.dataset("mvtec_ad")(), data / "cookies", "cookie")
    pairs = {tuple(path.removeprefix("cookie/") for path in f.paths) for f in report.findings if f.severity == "leak"}
    assert pairs == {
        ("train/good/001.jpg", "train/good/002.jpg"),
        ("test/defect/007.jpg", "test/defect_unmasked/003.jpg"),
        ("test/defect/018.jpg", "train/good/025.jpg"),
        ("test/defect/020.jpg", "train/good/027.jpg"),
        ("test/defect/021.jpg", "test/good/012.jpg"),
    }
    assert [finding.kind for finding in report.findings].count("contradiction") == 3

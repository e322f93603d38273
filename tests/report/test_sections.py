"""A section of the page is one pair of templates and a row in a list."""

from importlib.resources import files

import made_records as made
import pytest

from anomalybench.report import page

TEMPLATES = files("anomalybench.report") / "templates"


@pytest.mark.parametrize("name", page.SECTIONS)
def test_a_section_is_a_pair_of_files(name):
    assert f'<section id="{name}"' in (TEMPLATES / f"{name}.html").read_text(encoding="utf-8")
    assert (TEMPLATES / f"{name}.js").is_file()


def test_a_section_is_drawn_once_it_is_in_the_list(store, put, open_page, monkeypatch, tmp_path):
    put(made.job("cam"))
    page.write("all", made.results(store), store, tmp_path / "all.html")
    monkeypatch.setattr(page, "SECTIONS", ("leaderboard", "cost", "job", "gallery"))
    page.write("some", made.results(store), store, tmp_path / "some.html")
    for name, there in (("all", True), ("some", False)):
        tab = open_page(tmp_path / f"{name}.html")
        assert (tab.locator("#matrix").count() == 1) == there
        assert tab.locator("#leaderboard-table tbody tr").count() == 1
        assert not tab.troubles
        tab.context.close()

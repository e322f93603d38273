"""The list of results that a run's tables were made of."""

import made_records as made

from anomalybench.bench.store import Store
from anomalybench.bench.store.selection import Selection


def test_two_runs_under_one_name_lose_nothing_of_each_other(tmp_path):
    store = Store(tmp_path / "results")
    images = made.draw_images(tmp_path / "data", "bolt", 12)
    for name in ("cam", "padim"):
        made.put(store, tmp_path / "data", made.job(name), images)
    ours, theirs = (
        [one for one in made.results(store) if one.record.job.method.name == name] for name in ("cam", "padim")
    )
    Selection(store, "line").write(theirs, add=True)
    Selection(store, "line").write(ours, add=True)
    assert {one.id for one in Selection(store, "line").read()} == {one.id for one in [*ours, *theirs]}
    Selection(store, "line").write(ours)
    assert [one.id for one in Selection(store, "line").read()] == [one.id for one in ours]

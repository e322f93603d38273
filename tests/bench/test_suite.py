import pytest

from anomalybench.bench import suite, suite_file
from anomalybench.bench.item_table import ItemTables, Source
from anomalybench.bench.request import Request
from anomalybench.core import registry
from anomalybench.core.errors import UsageError

SYNTHETIC = "synthetic: {categories: [disc, weave], n_normal: 4, n_anomalous: 4}"
PLAIN = f"methods: [cam]\ndatasets:\n  - {SYNTHETIC}\n"


def load(request):
    return suite.load(request, ItemTables(Source(request.data)))


def plain(**changes):
    """A request without the floors."""
    return Request(**{"floors": False, **changes})


@pytest.fixture(autouse=True)
def _no_data(tmp_path, monkeypatch):
    monkeypatch.setenv("ANOMALYBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ANOMALYBENCH_DATA", raising=False)


@pytest.fixture
def unfold(tmp_path):
    def of(text, **changes):
        file = tmp_path / "mine.yaml"
        file.write_text(text, encoding="utf-8")
        return load(plain(suite=str(file), **changes)).jobs

    return of


@pytest.mark.parametrize("name", suite_file.files())
def test_shipped_suites_unfold_without_data(name):
    """Every method on every category, and the floors whether they are listed or not."""
    found = load(Request(suite=name))
    methods, categories = ({of(job): None for job in found.jobs} for of in (method_of, category_of))
    assert found.name == name
    assert len({job.id for job in found.jobs}) == len(found.jobs)
    assert [(category_of(job), method_of(job)) for job in found.jobs] == [(c, m) for c in categories for m in methods]
    assert set(suite.FLOORS) <= set(methods)


def method_of(job):
    return job.method.name


def category_of(job):
    return job.dataset.name, job.category, job.seed, job.fold


def test_the_published_settings_of_the_shipped_suites():
    pill = load(plain(suite="mathworks_pill")).jobs[0]
    assert pill.protocol.params == {"k": 2, "c": 15, "train": 70, "calibration": 30}
    assert (pill.method.params["anomalies"], pill.method.params["learning_rate"]) == ("labelled", 1e-4)
    article = load(plain(suite="chernytska")).jobs[0]
    assert (article.method.params["backbone"], article.method.params["normalise"]) == ("torchvision:vgg16", False)


def test_jobs_carry_all_parameters_and_the_suites_seeds_and_folds(unfold):
    jobs = unfold(PLAIN + "protocol: {kfold: {k: 3}}\nseeds: [0, 7]\n")
    seen = [(job.category, job.seed, job.fold) for job in jobs]
    assert sorted(seen) == [(c, seed, fold) for c in ("disc", "weave") for seed in (0, 7) for fold in "012"]
    assert jobs[0].protocol.params == {"k": 3, "calibration": 0.25}
    assert jobs[0].method.params["epochs"] == registry.method("cam")().epochs
    assert jobs[0].dataset.params["n_normal"] == 4
    assert "categories" not in jobs[0].dataset.params


def test_unseen_defect_has_a_fold_per_defect_type(unfold):
    jobs = unfold(PLAIN, protocol="unseen_defect", categories=["disc"])
    assert [job.fold for job in jobs] == ["hole", "scratch", "spot", "stain"]


def test_equal_jobs_are_listed_once(unfold):
    default = registry.method("cam")().epochs
    jobs = unfold(PLAIN.replace("[cam]", f"[cam, cam, cam: {{epochs: {default}}}, cam: {{epochs: {default + 1}}}]"))
    assert [job.method.params["epochs"] for job in jobs] == [default, default + 1] * 2


def test_a_whole_number_and_a_float_make_the_same_job(unfold):
    one, other = (unfold(PLAIN, params={"cam.learning_rate": q}) for q in (1, 1.0))
    assert [job.id for job in one] == [job.id for job in other]


def test_what_is_measured_is_no_part_of_a_job(unfold):
    jobs = unfold(PLAIN)
    assert unfold(PLAIN + "threshold: {fpr: {q: 0.1}}\nexplain: 3\n") == jobs
    options = load(plain(suite="smoke", threshold="fpr", explain=3, params={"fpr.q": 0.1})).options
    assert (options.threshold.name, options.threshold.params, options.explain) == ("fpr", {"q": 0.1}, 3)
    assert load(plain(suite="smoke")).options.threshold is None


def test_floors_are_added_once(unfold):
    assert [job.method.name for job in unfold(PLAIN, categories=["disc"], floors=True)] == [*suite.FLOORS, "cam"]
    listed = unfold(PLAIN.replace("[cam]", "[cam, random: {}]"), categories=["disc"], floors=True)
    assert sorted(job.method.name for job in listed) == sorted([*suite.FLOORS, "cam"])


def test_categories_are_found_where_none_are_listed(unfold):
    jobs = unfold("methods: [cam]\ndatasets: [synthetic]\n")
    assert [job.category for job in jobs] == ["disc", "grain", "tablet", "weave"]


@pytest.mark.parametrize(
    "tag",
    ["!!python/object/apply:os.system ['true']", "!!python/name:os.system", "!!python/object:object {}", "!mine x"],
)
def test_yaml_with_tags_is_refused(unfold, tag):
    with pytest.raises(UsageError, match=r"mine\.yaml, line 4: tags"):
        unfold(PLAIN + f"threshold: {tag}\n")


@pytest.mark.parametrize(
    ("wrong", "near"), [("protocl: pooled", "protocol"), ("seed: [0]", "seeds"), ("treshold: f1", "threshold")]
)
def test_an_unknown_key_gets_the_nearest(unfold, wrong, near):
    with pytest.raises(UsageError, match=rf"mine\.yaml.*Did you mean '{near}'"):
        unfold(PLAIN + wrong + "\n")


@pytest.mark.parametrize(("right", "wrong"), [("methods", "metods"), ("datasets", "dataset")])
def test_a_misspelt_key_that_is_needed_gets_the_nearest(unfold, right, wrong):
    with pytest.raises(UsageError, match=rf"'{wrong}'.*Did you mean '{right}'"):
        unfold(PLAIN.replace(right, wrong))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- cam\n",
        "just text\n",
        "methods: [cam\n",
        "methods: [cam]\n",
        "methods: []\ndatasets: [synthetic]\n",
        "methods: cam\ndatasets: [synthetic]\n",
        "methods: [3]\ndatasets: [synthetic]\n",
        "methods: [{cam: {}, fcdd: {}}]\ndatasets: [synthetic]\n",
        "methods: [{cam: 3}]\ndatasets: [synthetic]\n",
        "methods: [cam]\ndatasets: [{synthetic: {categories: disc}}]\n",
        "methods: [cam]\ndatasets: [{synthetic: {categories: [1]}}]\n",
        PLAIN + "seeds: 0\n",
        PLAIN + "seeds: ['0']\n",
        PLAIN + "seeds: [-1]\n",
        PLAIN + "seeds: [0.5]\n",
        PLAIN + "seeds: [true]\n",
        PLAIN + "seeds: []\n",
        PLAIN + "protocol: [pooled]\n",
        PLAIN + "description: 3\n",
        PLAIN + "description: 2024-12-01\n",
    ],
)
def test_files_of_another_layout_are_refused(unfold, text):
    with pytest.raises(UsageError):
        unfold(text)


def test_a_date_that_does_not_exist_is_refused_like_any_other_slip(unfold):
    with pytest.raises(UsageError, match=r"mine\.yaml"):
        unfold(PLAIN + "description: 2024-13-01\n")


def test_files_that_cannot_be_read_are_refused(tmp_path):
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "folder.yaml").mkdir()
    for name in ("binary.yaml", "folder.yaml", "absent.yaml"):
        with pytest.raises(UsageError, match=name):
            load(plain(suite=str(tmp_path / name)))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"suite": "smoek"}, "'smoke'"),
        ({"methods": ["fcd"]}, "'fcdd'"),
        ({"dataset": "syntetic"}, "'synthetic'"),
        ({"suite": None, "dataset": "syntetic"}, "'synthetic'"),
        ({"protocol": "kfolds"}, "'kfold'"),
        ({"threshold": "youdn"}, "'youden'"),
        ({"categories": ["disk"]}, "'disc'"),
        ({"params": {"cam.epohs": 3}}, "'epochs'"),
        ({"params": {"pooled.trian": 0.5}}, "'train'"),
        ({"params": {"synthetic.n_norml": 5}}, "'n_normal'"),
        ({"params": {"fcd.epochs": 3}}, "'fcdd'"),
        ({"params": {"kfold.k": 3}}, "nothing in this run is called 'kfold'"),
        ({"params": {"cam": 3}}, "NAME.PARAMETER"),
        ({"params": {".epochs": 3}}, "NAME.PARAMETER"),
        ({"params": {"cam.": 3}}, "NAME.PARAMETER"),
        ({"params": {"cam.epochs": "3"}}, "cam.epochs = '3'"),
        ({"params": {"cam.epochs": 0}}, "cam.epochs = 0"),
        ({"params": {"pooled.train": 0.9}}, "pooled"),
        ({"seeds": [-1]}, "seed"),
    ],
)
def test_requests_that_do_not_fit_are_refused_with_what_would(changes, reason):
    with pytest.raises(UsageError) as caught:
        load(plain(**{"suite": "smoke", **changes}))
    assert reason in str(caught.value)


def test_values_by_name_change_what_they_name_and_nothing_else():
    first = load(plain(suite="smoke")).jobs
    params = {"cam.epochs": 3, "synthetic.n_normal": 30, "pooled.train": 0.5, "fpr.q": 0.2}
    changed = load(plain(suite="smoke", params=params, threshold="fpr")).jobs
    for before, after in zip(first, changed, strict=True):
        epochs = {"epochs": 3} if before.method.name == "cam" else {}
        assert after.method.params == {**before.method.params, **epochs}
        assert after.dataset.params == {**before.dataset.params, "n_normal": 30}
        assert after.protocol.params == {**before.protocol.params, "train": 0.5}
        assert (after.category, after.seed) == (before.category, before.seed)


def test_wanted_methods_keep_the_suites_parameters_and_may_be_others(unfold):
    text = PLAIN.replace("[cam]", "[cam: {epochs: 3}, cam: {epochs: 5}]")
    jobs = unfold(text, methods=["fcdd", "cam"], categories=["disc"])
    epochs = [(job.method.name, job.method.params["epochs"]) for job in jobs]
    assert epochs == [("fcdd", registry.method("fcdd")().epochs), ("cam", 3), ("cam", 5)]


def test_a_request_replaces_protocol_seeds_and_categories():
    jobs = load(plain(suite="smoke", protocol="kfold", seeds=[4], categories=["disc"], params={"kfold.k": 2})).jobs
    assert {(job.protocol.name, job.seed, job.category) for job in jobs} == {("kfold", 4, "disc")}
    assert [job.fold for job in jobs if job.method.name == "cam"] == ["0", "1"]


def test_a_dataset_without_a_suite_is_named_after_itself():
    found = load(plain(dataset="synthetic", methods=["cam"], categories=["disc"]))
    assert (found.name, found.own) == ("synthetic", True)
    assert [(job.method.name, job.category, job.protocol.name) for job in found.jobs] == [("cam", "disc", "pooled")]
    assert {job.method.name for job in load(plain(dataset="synthetic")).jobs} == set(suite.METHODS)
    assert load(plain(dataset="synthetic", name="mine")).name == "mine"


def test_a_table_holds_the_items_of_its_category_and_is_read_once(unfold):
    job = unfold(PLAIN)[0]
    tables = ItemTables(Source())
    table = tables.get(job.dataset, job.category)
    assert len(table.items) == 8
    assert all((table.root / item.path).is_file() for item in table.items)
    assert tables.get(job.dataset, job.category) is table

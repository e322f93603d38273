"""Items that were never files, for tests of protocols."""

from hypothesis import assume, settings
from hypothesis import strategies as st

from anomalybench.core.dataset import ANOMALOUS, GOOD, NORMAL, Item

SEEDS = st.integers(0, 10**6)
quick = settings(max_examples=60, deadline=None)


def make(counts, group=None, split=None):
    return [
        Item(f"{defect}/{i:03d}", "c", NORMAL if defect == GOOD else ANOMALOUS, defect, group=group, split=split)
        for defect, n in counts.items()
        for i in range(n)
    ]


@st.composite
def tables(draw):
    """Enough ungrouped items for every protocol, and others in groups that may mix defect types."""
    kinds = ["crack", GOOD, "spot"]
    items = make({GOOD: draw(st.integers(8, 30)), "crack": draw(st.integers(5, 9)), "spot": draw(st.integers(5, 9))})
    for i, (kind, group) in enumerate(
        draw(st.lists(st.tuples(st.sampled_from(kinds), st.integers(0, 5)), max_size=20))
    ):
        items.append(
            Item(f"{kind}/g{i:02d}", "c", NORMAL if kind == GOOD else ANOMALOUS, kind, group=f"object {group}")
        )
    own = draw(st.lists(st.sampled_from(["train", "test"]), min_size=len(items), max_size=len(items)))
    by_group = dict(zip((i.group for i in items), own, strict=True))
    parts = [part if item.group is None else by_group[item.group] for item, part in zip(items, own, strict=True)]
    assume({"train", "test"} <= {part for item, part in zip(items, parts, strict=True) if item.label == NORMAL})
    return [Item(**{**vars(item), "split": part}) for item, part in zip(items, parts, strict=True)]


def parts_of(split):
    return split.train, split.calibration, split.test

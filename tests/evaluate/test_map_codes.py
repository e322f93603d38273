import numpy as np
import pytest

from anomalybench.evaluate.map_codes import CODES, counting_edges, decode, distinct, encode


@pytest.mark.parametrize("n", [1, 3, CODES])
def test_up_to_65536_distinct_values_are_kept_exactly(n):
    values = np.random.default_rng(0).permutation(n).astype(np.float32) / 7 - 100
    maps = np.resize(values, (3, 1, max(n, 4)))
    coded = encode(maps)
    assert coded.codes.dtype == np.uint16
    assert np.array_equal(decode(coded), maps)
    assert np.array_equal(distinct(maps), np.unique(maps))


@pytest.mark.parametrize("scale", [lambda z: z, lambda z: 1 - 1e-6 * np.exp(-z), lambda z: np.maximum(z, 0)])
def test_more_values_are_merged_and_never_exchanged(scale):
    maps = scale(np.random.default_rng(1).normal(size=(10, 100, 200))).astype(np.float32)
    coded = encode(maps)
    decoded = decode(coded)
    assert coded.values.size <= CODES
    assert (np.diff(coded.values) > 0).all()
    order = np.argsort(maps, axis=None)
    assert (np.diff(decoded.ravel()[order]) >= 0).all()
    limit = np.sort(maps, axis=None)[-8000]
    assert np.array_equal(decoded[maps > limit], maps[maps > limit])
    again = encode(decoded)
    assert np.array_equal(decode(again), decoded)


def test_counting_edges_hold_the_values_and_steps_between_them():
    values = np.array([0.0, 1.0, 10.0], np.float32)
    edges = counting_edges(values)
    assert np.isin(values, edges).all()
    assert 60_000 < edges.size <= CODES + 1
    assert (np.diff(edges) > 0).all()
    assert counting_edges(values[:1]).tolist() == [0.0]

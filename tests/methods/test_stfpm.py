import copy

import numpy as np
import pytest
import torch
from procedural import pictures

from anomalybench.core import parameters, registry
from anomalybench.core.errors import DataError, UsageError
from anomalybench.core.method import Context, Train
from anomalybench.methods._distillation import hold_out, targets
from anomalybench.methods.stfpm import Stfpm, distances, product_map
from anomalybench.vision import backbones


def build(**params):
    return parameters.build(registry.method("stfpm"), "stfpm", {"size": 64, "epochs": 3, "batch_size": 5, **params})


def same(one, other):
    """Whether two networks have the same weights."""
    one, other = one.state_dict(), other.state_dict()
    return all(torch.equal(one[name], other[name]) for name in one)


def fitted(n=10, context=None, **params):
    method = build(**params)
    method.fit(Train(pictures(n)), context or Context())
    return method


def test_distance_is_half_the_squared_difference_of_the_directions():
    rng = np.random.default_rng(1)
    t, s = rng.normal(size=(2, 2, 5, 3, 4)).astype(np.float32) * [[[[[1]]]], [[[[7]]]]]
    found = distances(torch.from_numpy(t), torch.from_numpy(s)).numpy()
    for n, i, j in np.ndindex(2, 3, 4):
        a, b = t[n, :, i, j], s[n, :, i, j]
        away = a / np.sqrt((a**2).sum()) - b / np.sqrt((b**2).sum())
        assert found[n, i, j] == pytest.approx((away**2).sum() / 2, rel=1e-4)


def test_map_is_the_product_on_the_finest_grid():
    fine, coarse = torch.rand(2, 8, 8), torch.rand(2, 4, 4)
    assert torch.allclose(product_map([fine, torch.full((2, 4, 4), 0.25)], 8), fine * 1024)
    # Rows 3 and 4 of the fine grid lie a quarter of a coarse cell to either side of the border of cells 1 and 2.
    found = product_map([torch.ones(2, 8, 8), coarse], 8) / 4096
    assert torch.allclose(found[:, 0, 0], coarse[:, 0, 0])
    assert torch.allclose(found[:, 3, 0], 0.75 * coarse[:, 1, 0] + 0.25 * coarse[:, 2, 0])
    assert product_map([fine, coarse], 32).shape == (2, 32, 32)


def test_the_paper_s_student_has_its_parameter_count_and_other_weights_than_the_teacher():
    method = Stfpm(backbone="random@timm:resnet18", size=64)
    method._build(Context(), pretrained=True)
    # ResNet-18 has 11,689,512 parameters, 8,393,728 of them in its last stage and 513,000 in its classifier.
    assert sum(p.numel() for p in method.student_.parameters()) == 2_782_784
    assert all(p.requires_grad for p in method.student_.parameters())
    first, other = method.student_.layers[0].weight, method.backbone_.layers[0].weight
    assert first.shape == other.shape
    assert not torch.equal(first, other)


def test_training_loss_is_the_sum_over_layers_of_means_over_positions():
    method = fitted()
    shown = pictures(3)
    wanted = targets(method.frozen_, shown)
    batch = torch.from_numpy(np.stack(shown)).permute(0, 3, 1, 2)
    with torch.no_grad():
        found = method.student_(method.backbone_.normalise(batch))
    expected = sum(
        float(distances(t.float(), s)[i].mean()) / 3 for t, s in zip(wanted, found, strict=True) for i in range(3)
    )
    assert method._loss(batch, wanted, torch.arange(3)) == pytest.approx(expected, rel=1e-4)


def test_the_best_epoch_on_the_held_out_images_is_kept():
    method, states = build(epochs=4, learning_rate=1.0), []
    shown = pictures(10)
    context = Context(progress=lambda *_: states.append(copy.deepcopy(method.student_)))
    method.fit(Train(shown), context)
    _, held = hold_out(10, method.validation, Context(), "stfpm")
    seen = [shown[i] for i in held]
    wanted, batch = targets(method.frozen_, seen), torch.from_numpy(np.stack(seen)).permute(0, 3, 1, 2)
    losses = []
    for student in states:
        with torch.no_grad():
            own = student.eval()(method.backbone_.normalise(batch))
        losses.append(sum(float(distances(t.float(), s).mean()) for t, s in zip(wanted, own, strict=True)))
    best = int(np.argmin(losses))
    assert best != len(losses) - 1, "the last epoch would be kept anyway"
    assert same(method.student_, states[best])


def test_the_held_out_images_pick_the_epoch_and_nothing_else():
    """Other pictures in their place leave the student of the only epoch as it is; in place of others they do not."""
    trained, held = hold_out(10, build().validation, Context(), "stfpm")
    students = []
    for changed in ([], held, trained[:1]):
        shown = pictures(10)
        for i in changed:
            shown[i] = 255 - shown[i]
        method = build(epochs=1)
        method.fit(Train(shown), Context())
        students.append(method.student_)
    assert len(held) == 2
    assert same(students[0], students[1])
    assert not same(students[0], students[2])


def test_training_leaves_the_teacher_alone_and_changes_the_student():
    method = fitted()
    fresh, kept = backbones.load("timm:tf_efficientnet_lite0").layers.state_dict(), method.backbone_.layers.state_dict()
    assert all(torch.equal(fresh[name], kept[name]) for name in fresh)
    longer = fitted(epochs=6)
    assert longer.predict(pictures(4)).scores.mean() < 0.9 * method.predict(pictures(4)).scores.mean()


def test_maps_point_at_a_painted_square():
    method = fitted(n=16, epochs=10)
    normal, found = method.predict(pictures(2)), method.predict(pictures(2, square=(36, 16)))
    assert found.scores.min() > normal.scores.max()
    assert np.array_equal(found.scores, found.maps.max((1, 2)))
    for anomaly_map in found.maps:
        row, column = np.unravel_index(anomaly_map.argmax(), anomaly_map.shape)
        assert abs(row - 42) <= 12
        assert abs(column - 22) <= 12


@pytest.mark.parametrize(("n", "share", "held"), [(10, 0.2, 2), (2, 0.2, 1), (2, 0.9, 1), (100, 0.1, 10), (5, 0.0, 0)])
def test_held_out_images_are_not_trained_on(n, share, held):
    context = Context(seed=1)
    trained, out = hold_out(n, share, context, "stfpm")
    assert (len(trained), len(out)) == (n - held, held)
    assert sorted([*trained.tolist(), *out.tolist()]) == list(range(n))
    assert not context.notes
    again, _ = hold_out(n, share, Context(seed=1), "stfpm")
    assert torch.equal(trained, again)


def test_a_single_image_is_trained_on_with_a_note():
    context = Context()
    assert np.isfinite(fitted(n=1, context=context, epochs=1).predict(pictures(1)).scores).all()
    assert "one train image" in context.notes[0]
    assert np.isfinite(fitted(n=2, epochs=1, validation=0.0).predict(pictures(1)).scores).all()


def test_bad_input_is_refused():
    with pytest.raises(DataError, match="at least one"):
        fitted(n=0)
    with pytest.raises(UsageError, match="training diverged"):
        fitted(learning_rate=1e30)
    with pytest.raises(UsageError, match="greater than or equal to 32"):
        fitted(size=16)
    with pytest.raises(UsageError, match="no stride 5"):
        fitted(strides="4,5")

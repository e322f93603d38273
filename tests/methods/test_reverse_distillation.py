import numpy as np
import pytest
import torch
from procedural import pictures
from scipy import ndimage

from anomalybench.core import parameters, registry
from anomalybench.core.errors import DataError, UsageError
from anomalybench.core.method import Context, Train
from anomalybench.methods.reverse_distillation import Student, cosine_map, flat_loss
from anomalybench.vision import backbones


def fitted(n=8, context=None, **params):
    values = {"size": 64, "epochs": 3, "batch_size": 4, "blocks": "1,1,1", **params}
    method = parameters.build(registry.method("reverse_distillation"), "reverse_distillation", values)
    method.fit(Train(pictures(n)), context or Context())
    return method


def cosine(a, b):
    return (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum())


def layers(seed):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype(np.float32) for shape in ((2, 4, 8, 8), (2, 6, 4, 4))]


def tensors(arrays):
    return [torch.from_numpy(a) for a in arrays]


def test_loss_compares_each_image_s_flattened_layers():
    t, s = layers(0), layers(1)
    expected = sum(np.mean([1 - cosine(t[k][n].ravel(), s[k][n].ravel()) for n in range(2)]) for k in range(2))
    assert flat_loss(tensors(t), tensors(s)).item() == pytest.approx(expected, rel=1e-5)
    assert flat_loss(tensors(t), tensors([3 * layer for layer in t])).item() == pytest.approx(0, abs=1e-6)


def test_map_adds_the_layers_with_corners_aligned_and_is_blurred():
    t, s = layers(0), layers(1)
    total = np.zeros((2, 32, 32))
    for a, b in zip(t, s, strict=True):
        side = a.shape[-1]
        places = np.linspace(0, side - 1, 32)
        for n in range(2):
            coarse = np.array([[1 - cosine(a[n, :, i, j], b[n, :, i, j]) for j in range(side)] for i in range(side)])
            tall = np.array([np.interp(places, np.arange(side), column) for column in coarse.T]).T
            total[n] += np.array([np.interp(places, np.arange(side), row) for row in tall])
    expected = np.stack([ndimage.gaussian_filter(m, 4, mode="mirror", truncate=4) for m in total])
    assert np.allclose(cosine_map(tensors(t), tensors(s), 32).numpy(), expected, atol=1e-5)


def test_the_paper_s_student_has_its_parameter_count():
    """Counted from the layers of WideResNet-50-2's mirror: 3 x 3 fusions, three bottleneck blocks, 3 + 4 + 6 blocks."""

    def norm(*channels):
        return sum(2 * c for c in channels)

    def block(before, after, kernel=3, shortcut=0):
        inner = after // 2
        extra = shortcut * before * after + norm(after) if shortcut else 0
        return before * inner + inner * inner * kernel**2 + inner * after + norm(inner, inner, after) + extra

    fusion = 9 * (256 * 512 + 512 * 1024 + 512 * 1024) + norm(512, 1024, 1024)
    code = block(3072, 2048, shortcut=1) + 2 * block(2048, 2048)
    stages = ((2048, 1024, 3), (1024, 512, 4), (512, 256, 6))
    # The first block of a stage has a 2 x 2 transposed convolution in place of the 3 x 3 one, and another as shortcut.
    up = sum(block(b, a, kernel=2, shortcut=4) + (count - 1) * block(a, a) for b, a, count in stages)
    with torch.device("meta"):
        student = Student((256, 512, 1024), (4, 8, 16), (3, 4, 6))
    assert sum(p.numel() for p in student.parameters()) == fusion + code + up
    assert fusion + code + up == 83_802_624


@pytest.mark.parametrize(
    ("channels", "strides", "blocks"),
    [((4, 6, 9), (4, 8, 16), (1, 2, 1)), ((4, 9), (4, 16), (1, 1)), ((5,), (8,), (2,))],
)
def test_student_mirrors_the_teacher_s_layers(channels, strides, blocks):
    teacher = [torch.randn(2, c, 64 // s, 64 // s) for c, s in zip(channels, strides, strict=True)]
    student = Student(channels, strides, blocks)
    found = student(teacher)
    assert [layer.shape for layer in found] == [layer.shape for layer in teacher]
    assert all(layer.min() < 0 < layer.max() for layer in found)
    code = torch.cat([down(layer) for down, layer in zip(student.down, teacher, strict=True)], 1)
    assert student.bottleneck(code).shape[1:] == (2 * channels[-1], 32 // strides[-1], 32 // strides[-1])


def test_training_leaves_the_teacher_alone_and_brings_the_student_closer():
    short, long = fitted(epochs=2), fitted(epochs=30)  # the running statistics of batch norm need some steps
    fresh, kept = backbones.load("timm:tf_efficientnet_lite0").layers.state_dict(), long.backbone_.layers.state_dict()
    assert all(torch.equal(fresh[name], kept[name]) for name in fresh)
    assert long.predict(pictures(4)).maps.mean() < 0.7 * short.predict(pictures(4)).maps.mean()


def test_maps_point_at_a_painted_square():
    method = fitted(n=12, epochs=20)
    normal, found = method.predict(pictures(2)), method.predict(pictures(2, square=(36, 16)))
    assert found.scores.min() > normal.scores.max()
    assert np.array_equal(found.scores, found.maps.max((1, 2)))
    for anomaly_map in found.maps:
        row, column = np.unravel_index(anomaly_map.argmax(), anomaly_map.shape)
        assert abs(row - 42) <= 12
        assert abs(column - 22) <= 12


def test_a_single_image_is_trained_on_with_a_note():
    context = Context()
    assert np.isfinite(fitted(n=1, context=context, epochs=1).predict(pictures(1)).scores).all()
    assert "single image" in context.notes[0]
    context = Context()
    assert np.isfinite(fitted(n=2, context=context, epochs=1).predict(pictures(3)).scores).all()
    assert not context.notes


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"size": 72}, "multiple of 32"),
        ({"size": 16}, "greater than or equal to 32"),
        ({"blocks": "3,4"}, "one number per stride"),
        ({"blocks": "3,many,6"}, "positive numbers"),
        ({"blocks": "3,0,6"}, "positive numbers"),
        ({"strides": "4,5,16"}, "no stride 5"),
    ],
)
def test_settings_that_do_not_fit_are_refused(params, words):
    with pytest.raises(UsageError, match=words):
        fitted(**params)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"size": 80}, "multiple of 32"),
        ({"blocks": "3,4"}, "one number per stride"),
        ({"strides": "4;8"}, "separated by commas"),
        ({"backbone": "timm:resnet188"}, "Did you mean 'resnet18'"),
    ],
)
def test_settings_that_do_not_fit_are_found_before_the_run(params, words):
    with pytest.raises(UsageError, match=words):
        parameters.build(registry.method("reverse_distillation"), "reverse_distillation", params).check()


def test_no_images_are_refused():
    with pytest.raises(DataError, match="at least one"):
        fitted(n=0)

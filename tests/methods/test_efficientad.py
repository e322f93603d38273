import numpy as np
import pytest
import torch
from PIL import Image
from procedural import pictures
from torch.nn import functional as F

from anomalybench.core import parameters, registry
from anomalybench.core.errors import DataError, UsageError, WeightsError
from anomalybench.core.method import Context, Train
from anomalybench.methods import efficientad
from anomalybench.methods._distillation import hold_out
from anomalybench.methods._pdn import Pdn, autoencoder, hard_loss, scaled
from anomalybench.methods.efficientad import _endless, _moments, _spread, augmented
from anomalybench.vision import images
from anomalybench.vision.training import state_hash

FAST = {"size": 64, "teacher": "random", "steps": 2, "distillation_batch": 1, "learning_rate": 1e-3}


def build(**params):
    return parameters.build(registry.method("efficientad"), "efficientad", {**FAST, **params})


def fitted(n=4, context=None, **params):
    method = build(**params)
    method.fit(Train(pictures(n, method.size)), context or Context())
    return method


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_golden_parameter_counts():
    assert count(Pdn("small", 384)) == 2_694_144
    assert count(Pdn("small", 768)) == 4_267_392
    assert count(Pdn("medium", 384)) == 8_026_624
    encoder = (3 * 32 + 32 * 32 + 32 * 64 + 2 * 64 * 64) * 16 + 32 + 32 + 3 * 64 + 64 * 64 * 64 + 64
    decoder = 6 * (64 * 64 * 16 + 64) + 64 * 64 * 9 + 64 + 64 * 384 * 9 + 384
    assert count(autoencoder(256)) == encoder + decoder == 1_096_320


@pytest.mark.parametrize("kind", ["small", "medium"])
def test_the_margin_of_a_padded_network_is_four_cells(kind):
    """So a map without margins goes back to its place with four cells around it."""
    network, x = Pdn(kind, 384).eval(), torch.rand(1, 3, 96, 96)
    with torch.no_grad():
        whole, inner = network.padded(x), network(x)
    assert whole.shape == (1, 384, 24, 24)
    assert inner.shape == (1, 384, 16, 16)
    assert torch.allclose(whole[..., 4:-4, 4:-4], inner, atol=1e-5)


def test_each_output_sees_33_pixels():
    network, x = Pdn("small", 384).eval(), torch.rand(1, 3, 64, 64, requires_grad=True)
    network(x)[0, :, 2, 3].sum().backward()
    rows, columns = (x.grad.abs().sum((0, 1)) > 0).nonzero().T
    assert (rows.min(), rows.max() + 1) == (8, 41)
    assert (columns.min(), columns.max() + 1) == (12, 45)


@pytest.mark.parametrize("size", [64, 96, 160])
def test_autoencoder_ends_on_the_grid_of_the_network(size):
    with torch.no_grad():
        assert autoencoder(size)(torch.rand(1, 3, size, size)).shape == (1, 384, size // 4 - 8, size // 4 - 8)


@pytest.mark.parametrize("quantile", [0.0, 0.5, 0.9, 0.999])
def test_hard_loss_is_the_mean_beyond_the_quantile(quantile):
    errors = torch.rand(1, 7, 13, 11, generator=torch.Generator().manual_seed(0))
    bound = torch.quantile(errors, quantile)
    assert hard_loss(errors, quantile).item() == pytest.approx(errors[errors >= bound].mean().item(), rel=1e-6)


def test_scaling_puts_the_quantiles_to_0_and_a_tenth():
    maps = torch.rand(3, 9, 9).double()
    low, high = np.quantile(maps.numpy(), (0.9, 0.995))
    assert np.allclose(np.quantile(scaled(maps, low, high).numpy(), (0.9, 0.995)), (0, 0.1))
    assert torch.isfinite(scaled(maps, 0.5, 0.5)).all()


def test_loss_is_that_of_each_network_alone():
    method = fitted()
    networks, g = method.network_.eval(), torch.Generator().manual_seed(0)
    x, changed, other = torch.randn(3, 1, 3, 64, 64, generator=g)
    with torch.no_grad():
        teacher = lambda y: (networks.teacher(y) - method.mean_) / method.std_  # noqa: E731
        hard = ((teacher(x) - networks.student(x)[:, :384]) ** 2).flatten().sort().values
        drawn = networks.autoencoder(changed)
        expected = hard[int(np.ceil(0.999 * (len(hard) - 1))) :].mean()
        expected += ((teacher(changed) - drawn) ** 2).mean()
        expected += ((drawn - networks.student(changed)[:, 384:]) ** 2).mean()
        penalty = (networks.student(other)[:, :384] ** 2).mean()
        assert torch.allclose(method._loss(x, changed, None), expected, rtol=1e-4)
        assert torch.allclose(method._loss(x, changed, other), expected + penalty, rtol=1e-4)


def test_teacher_outputs_are_normalised_over_the_train_images():
    method = fitted(n=1)
    y = method._teacher(method._tensor(images.stack(pictures(1), 64)))
    assert torch.allclose(y.mean((0, 2, 3)), torch.zeros(384), atol=1e-3)
    assert torch.allclose(y.std((0, 2, 3), correction=0), torch.ones(384), atol=1e-2)


def test_maps_are_the_scaled_errors_with_a_margin_of_zeros():
    method, shown = fitted(n=1), pictures(2)
    with torch.no_grad():
        both = [m.numpy() for m in method._errors(images.stack(shown, 64))]
    train = [np.quantile(m[:1].astype(np.float64), (0.9, 0.995)) for m in both]  # the one train image is held out too
    assert np.allclose(method.scales_, train, rtol=1e-4)
    coarse = sum(0.05 * (m - low) / (high - low) for m, (low, high) in zip(both, train, strict=True))
    wide = np.pad(coarse, ((0, 0), (4, 4), (4, 4)))
    expected = F.interpolate(torch.from_numpy(wide)[:, None], (64, 64), mode="bilinear")[:, 0].numpy()
    found = method.predict(shown)
    assert np.allclose(found.maps, expected, atol=1e-4)
    assert np.allclose(found.scores, coarse.max((1, 2)), atol=1e-4)


def test_training_brings_student_and_autoencoder_closer_and_leaves_the_teacher_alone():
    shown = pictures(1, square=(24, 16))
    short, long = build(steps=1, hard_quantile=0.5), build(steps=20, hard_quantile=0.5)
    for method in (short, long):
        method.fit(Train(shown), Context())
    x = long._tensor(images.stack(shown, 64))
    with torch.no_grad():
        students = [F.mse_loss(m.network_.student(x)[:, :384], m._teacher(x)) for m in (short, long)]
        coders = [F.mse_loss(m.network_.autoencoder(x), m._teacher(x)) for m in (short, long)]
    assert students[1] < 0.3 * students[0]
    assert coders[1] < 0.85 * coders[0]
    kept = long.network_.teacher.state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in short.network_.teacher.state_dict().items())


def test_distilling_brings_the_teacher_closer_to_the_backbone():
    short, long = (fitted(teacher="distilled", distillation_steps=steps, steps=1) for steps in (1, 25))
    wanted = long._wanted(pictures(4), Context()).float()
    assert wanted.shape == (4, 152, 16, 16)
    target = _spread((wanted - wanted.mean((0, 2, 3), keepdim=True)) / wanted.std((0, 2, 3), keepdim=True))
    x = long._tensor(images.stack(pictures(4), 64))
    with torch.no_grad():
        before, after = (F.mse_loss(m.network_.teacher.padded(x), target).item() for m in (short, long))
    assert after < 0.9 * before


def test_maps_point_at_a_painted_square():
    method = fitted(n=6, size=96, steps=15, hard_quantile=0.5)
    normal, found = method.predict(pictures(2, 96)), method.predict(pictures(2, 96, square=(52, 28)))
    assert found.scores.min() > normal.scores.max()
    for anomaly_map in found.maps:
        row, column = np.unravel_index(anomaly_map.argmax(), anomaly_map.shape)
        assert abs(row - 58) <= 14
        assert abs(column - 34) <= 14


def test_moments_do_not_depend_on_the_parts():
    x = torch.rand(7, 5, 3, 4) * 3 + 10
    mean, std = _moments(x.split(3))
    assert torch.allclose(mean, x.mean((0, 2, 3), keepdim=True))
    assert torch.allclose(std, x.std((0, 2, 3), correction=0, keepdim=True), rtol=1e-4)


def test_channels_are_averaged_or_repeated():
    wide = torch.rand(2, 1536, 3, 3)
    assert torch.allclose(_spread(wide), wide.unflatten(1, (384, 4)).mean(2))
    narrow = torch.rand(2, 96, 3, 3)
    assert torch.allclose(_spread(narrow), narrow.repeat_interleave(4, 1))


def test_augmentation_changes_one_property_by_up_to_a_fifth():
    torch.manual_seed(0)
    grey = torch.full((1, 3, 4, 4), 0.5)  # which only brightness changes
    means = np.array([augmented(grey).mean().item() for _ in range(200)])
    assert 0.4 <= means.min() < 0.42
    assert 0.58 < means.max() <= 0.6
    assert 40 < (np.abs(means - 0.5) > 1e-4).sum() < 95


def test_every_picture_is_seen_once_per_round():
    order = _endless(5, 1)
    assert sorted(int(next(order)) for _ in range(5)) == list(range(5))
    assert [len(next(part)) for part in [_endless(5, 2)] for _ in range(4)] == [2] * 4


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_published_weights_are_taken_over_by_their_order(tmp_path, ending):
    import safetensors.torch

    source = Pdn("small", 384)
    state = {f"conv{i}": value for i, value in enumerate(source.state_dict().values())}
    file = tmp_path / f"teacher.{ending}"
    (torch.save if ending == "pth" else safetensors.torch.save_file)(state, file)
    method = fitted(teacher=f"file:{file}", steps=1)
    found = method.network_.teacher.state_dict()
    assert all(torch.equal(found[name], value) for name, value in source.state_dict().items())


def test_weights_that_are_missing_or_another_network_s_are_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"none\.pth"):
        fitted(teacher=f"file:{tmp_path / 'none.pth'}")
    torch.save(Pdn("small", 384).state_dict(), tmp_path / "small.pth")
    with pytest.raises(WeightsError, match=r"efficientad\.pdn"):
        fitted(teacher=f"file:{tmp_path / 'small.pth'}", pdn="medium")
    (tmp_path / "broken.pth").write_text("no weights")
    with pytest.raises(WeightsError, match="cannot be read"):
        fitted(teacher=f"file:{tmp_path / 'broken.pth'}")
    with pytest.raises(UsageError, match="distilled, random or file:WEIGHTS"):
        fitted(teacher="imagenet")


def test_penalty_images_change_the_training(tmp_path):
    with pytest.raises(DataError, match="no pictures there"):
        fitted(penalty_images=str(tmp_path))
    with pytest.raises(DataError, match="no pictures there"):
        fitted(penalty_images=str(tmp_path / "none"))
    (tmp_path / "deeper").mkdir()
    Image.fromarray(pictures(1)[0][:40]).save(tmp_path / "deeper" / "other.png")
    weights = [fitted(penalty_images=p).network_.student[0].weight for p in ("", str(tmp_path))]
    assert not torch.equal(*weights)


def test_notes_say_what_the_teacher_is():
    for teacher, words in (("random", "for measuring time only"), ("distilled", "the paper distils on ImageNet")):
        context = Context()
        fitted(teacher=teacher, context=context, distillation_steps=1)
        assert len(context.notes) == 1
        assert words in context.notes[0]


def test_few_images():
    context = Context()
    assert np.isfinite(fitted(n=1, context=context).predict(pictures(1)).scores).all()
    assert any("one train image" in note for note in context.notes)
    assert np.isfinite(fitted(n=2, teacher="distilled", distillation_steps=1).predict(pictures(1)).scores).all()
    with pytest.raises(DataError, match="at least one"):
        fitted(n=0)


@pytest.mark.parametrize("size", [32, 100, 2048])
def test_sizes_that_are_not_allowed(size):
    with pytest.raises(UsageError, match=r"efficientad\.size"):
        build(size=size)


def test_the_images_that_set_the_scales_are_held_out_of_all_training():
    """Another picture in the place of the one held out moves the scales alone; in the place of another it moves all."""
    trained, held = hold_out(10, build().validation, Context(), "efficientad")
    methods = []
    for changed in ([], held, trained[:1]):
        shown = pictures(10)
        for i in changed:
            shown[i] = 255 - shown[i]
        methods.append(build())
        methods[-1].fit(Train(shown), Context())
    as_it_is, other_held, other_trained = methods
    assert len(held) == 1
    assert learned(as_it_is) == learned(other_held)
    assert not np.array_equal(as_it_is.scales_, other_held.scales_)
    assert learned(as_it_is)[0] != learned(other_trained)[0]
    assert learned(as_it_is)[1] != learned(other_trained)[1]


def learned(method):
    """What is trained, and the measured range of the teacher's channels."""
    return state_hash(method.network_), (method.mean_.tolist(), method.std_.tolist())


def test_steps_shrink_at_the_end(monkeypatch):
    rates, step = [], torch.optim.Adam.step

    def recorded(self, *rest):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *rest)

    monkeypatch.setattr(torch.optim.Adam, "step", recorded)
    fitted(steps=10)
    assert rates == pytest.approx([1e-3] * 9 + [1e-4])


def test_the_autoencoder_sees_changed_pictures(monkeypatch):
    """Had it seen them as they are, with the same random numbers drawn, it would be another one."""
    changed, apart = efficientad.augmented, []

    def unchanged(shown):
        apart.append(float((changed(shown) - shown).abs().mean()))
        return shown

    as_it_is = fitted(steps=5)
    monkeypatch.setattr(efficientad, "augmented", unchanged)
    without = fitted(steps=5)
    assert len(apart) == 5
    assert all(0 < distance < 0.5 for distance in apart)
    assert state_hash(as_it_is.network_.autoencoder) != state_hash(without.network_.autoencoder)


def test_progress_counts_both_trainings():
    seen = []
    context = Context(progress=lambda done, total: seen.append((done, total)))
    fitted(context=context, teacher="distilled", distillation_steps=2, steps=3)
    assert seen == [(i, 5) for i in range(1, 6)]

import functools

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from anomalybench.core.method import ImageArrays
from anomalybench.deploy.exported import LONGEST
from anomalybench.deploy.onnx_resize import PICTURE, SMALLEST, resize_model
from anomalybench.vision.images import stack

SIDES = (1, 32, 224, 256)


@functools.cache
def onnx(side):
    return onnxruntime.InferenceSession(resize_model(side).SerializeToString(), providers=["CPUExecutionProvider"])


@functools.cache
def openvino(side):
    core = pytest.importorskip("openvino").Core()
    return core.compile_model(core.read_model(resize_model(side).SerializeToString()), "CPU")


def in_onnx(side, images):
    return onnx(side).run([PICTURE], {"image": images})[0]


def in_openvino(side, images):
    return openvino(side)(images)[0]


ENGINES = pytest.mark.parametrize("resize", [in_onnx, in_openvino])


def noise(height, width, seed=0, values=256):
    return np.random.default_rng(seed).integers(0, values, (height, width, 3), np.uint8)


def assert_as_pillow(resize, side, image):
    expected = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(resize(side, image[None])[0].transpose(1, 2, 0), expected)


@ENGINES
@settings(max_examples=150, deadline=None)
@given(
    side=st.sampled_from(SIDES), height=st.integers(1, 700), width=st.integers(1, 700), seed=st.integers(0, 99),
    values=st.sampled_from([2, 5, 256]),
)  # fmt: skip
def test_any_image_is_resized_as_pillow_does_it(resize, side, height, width, seed, values):
    assert_as_pillow(resize, side, noise(height, width, seed, values))


@ENGINES
@pytest.mark.parametrize(
    ("height", "width"),
    [(1, 1), (1, 50), (50, 1), (256, 256), (256, 300), (300, 256), (512, 384), (3000, 4000), (4000, 1000), (7, 9000)],
)
def test_edges_upscaling_and_large_images(resize, height, width):
    assert_as_pillow(resize, 256, noise(height, width))


@ENGINES
@pytest.mark.parametrize(("height", "width"), [(20, 30001), (30001, 20)])
def test_the_longest_line_scans(resize, height, width):
    assert_as_pillow(resize, 256, noise(height, width))


@ENGINES
@pytest.mark.parametrize("side", [SMALLEST, 5, 6, 8, 16, 31, 32, 33, 34, 64, 256])
@pytest.mark.parametrize("values", [2, 256])
def test_the_longest_images_for_every_side(resize, side, values):
    for length in (LONGEST, LONGEST - 1, 20_011):
        image = noise(2, length, side, values) * (255 // (values - 1))
        assert_as_pillow(resize, side, image)
        image[:] = 255
        assert_as_pillow(resize, side, image)


@ENGINES
@settings(max_examples=60, deadline=None)
@given(side=st.sampled_from([4, 5, 7, 8, 16, 33, 34]), length=st.integers(700, LONGEST), seed=st.integers(0, 99))
def test_long_images_and_small_sides(resize, side, length, seed):
    assert_as_pillow(resize, side, noise(1, length, seed))


@ENGINES
@pytest.mark.parametrize("value", [0, 1, 127, 254, 255])
def test_even_images_stay_as_bright_as_they_are(resize, value):
    assert set(np.unique(resize(224, np.full((1, 301, 199, 3), value, np.uint8)))) == {float(value)}


@ENGINES
def test_a_batch_is_what_the_torch_engine_sees(resize):
    images = [noise(300, 260, seed) for seed in range(3)]
    pictures = stack(ImageArrays(images), 224).numpy().astype(np.float32)
    np.testing.assert_array_equal(resize(224, np.stack(images)), pictures)

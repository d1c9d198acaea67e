import numpy as np
import pytest

from onnxshallow.model.network import Network
from onnxshallow.training.operators.table import lacking
from tests.networks import build
from tests.training.operators.gradients import check

TEXT = "(float[2,3,5,6] x) => (float[2,3,H,W] y) {{ h = Mul(x, w) y = {} }}"
UP, DOWN = np.array([1, 1, 2, 1.5], np.float32), np.array([1, 1, 0.6, 0.5], np.float32)


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
def test_pad(mode):
    check(build(TEXT.format(f'Pad<mode="{mode}">(h, pads)'), w=(3, 5, 6), pads=np.array([0, 0, 1, 2, 0, 0, 2, 1])))


def test_pad_cuts_off_and_fills():
    pads, value = np.array([0, 0, -1, 2, 0, 0, 1, -1]), np.float32(3)
    check(build(TEXT.format("Pad(h, pads, value)"), w=(3, 5, 6), pads=pads, value=value))
    check(build(TEXT.format("Pad<pads=[0,0,1,1,0,0,1,1], value=2.0>(h)"), opset=9, w=(3, 5, 6)))


@pytest.mark.parametrize("coordinates", ["half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"])
@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("scales", [UP, DOWN], ids=["up", "down"])
def test_resize(coordinates, mode, scales):
    form = f'Resize<mode="{mode}", coordinate_transformation_mode="{coordinates}">(h, , scales)'
    check(build(TEXT.format(form), w=(3, 5, 6), scales=scales))


@pytest.mark.parametrize("rounding", ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])
@pytest.mark.parametrize("coordinates", ["half_pixel", "asymmetric"])
def test_resize_to_the_nearest(rounding, coordinates):
    form = f'Resize<nearest_mode="{rounding}", coordinate_transformation_mode="{coordinates}">(h, , scales)'
    check(build(TEXT.format(form), w=(3, 5, 6), scales=UP))


def test_resize_to_sizes():
    form = 'Resize<mode="linear">(h, , , sizes)'
    check(build(TEXT.format(form), w=(3, 5, 6), sizes=np.array([2, 3, 8, 3])))


def test_upsample():
    check(build(TEXT.format("Upsample(h, scales)"), opset=9, w=(3, 5, 6), scales=np.array([1, 1, 2, 2], np.float32)))
    check(build(TEXT.format("Upsample<scales=[1.0,1.0,2.0,2.0]>(h)"), opset=7, w=(3, 5, 6)))


def test_forms_that_are_not_known():
    text = TEXT.format('Resize<coordinate_transformation_mode="tf_crop_and_resize">(h, roi, scales)')
    network = Network(build(text, w=(3, 5, 6), roi=np.zeros(8, np.float32), scales=UP))
    assert lacking(network.nodes[1], 17) == "Resize by tf_crop_and_resize"
    text = TEXT.format('Resize<mode="cubic", exclude_outside=1>(h, , scales)')
    assert lacking(Network(build(text, w=(3, 5, 6), scales=UP)).nodes[1], 17) == "Resize with exclude_outside"

"""The constant part is what the network makes of zeros, its sites scaled and shifted."""

import numpy as np
import onnx
import pytest

from onnxshallow.analysis import NotLinearError, analyze, trace_region
from onnxshallow.analysis.border import constant_part
from tests.analysis.test_regions import BLOCKS, CHAINS, NORM, PAD, TAKEN, affine, net, without_sites
from tests.graphs import assert_close, run_plain


def assert_constant_part(model: onnx.ModelProto, source: str = "x", output: str = "y") -> None:
    analysis = analyze(model)
    region = trace_region(analysis, source, output)
    zeros = np.zeros(tuple(analysis.network.shape(source)), np.float32)
    (expected,) = run_plain(without_sites(analysis, region.sites), {"x": zeros})
    assert_close(constant_part(analysis, region, affine)[np.newaxis].astype(np.float32), expected)


@pytest.mark.parametrize("body", [body for body, _ in CHAINS.values()], ids=CHAINS)
def test_chains(body):
    assert_constant_part(net(body, **TAKEN, **NORM))


@pytest.mark.parametrize("body", [body for body, _ in BLOCKS.values()], ids=BLOCKS)
def test_blocks(body):
    assert_constant_part(net(body.format(PAD), **NORM))


def test_layers_of_several_nodes():
    body = f"""k = Pad(x, pads) a = Conv(k, w, b) n = BatchNormalization(a, s, o, m, v) t = Mul(n, c) r = Relu(t)
        i = Identity(r) y = Conv<{PAD}>(i, u, b)"""
    assert_constant_part(net(body, pads=np.array([0, 0, 1, 0, 0, 0, 0, 2]), c=(1, 4, 1, 1), **NORM))


def test_it_needs_the_size():
    model = net("a = Conv(x, w, b) r = Relu(a) y = Conv(r, u, b)", "4,H,W")
    analysis = analyze(model)
    sized = analyze(model, {"x": (1, 4, 9, 8)})
    region = trace_region(sized, "x", "y")
    assert constant_part(sized, region, affine).shape == (4, 5, 4)
    with pytest.raises(NotLinearError, match="the size of 'x' is not known"):
        constant_part(analysis, region, affine)

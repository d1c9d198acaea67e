import numpy as np
import onnx
import pytest

from onnxshallow.analysis import Analysis
from onnxshallow.errors import ModelError, UsageError
from onnxshallow.workflows.analyze import analyze
from tests.graphs import parse
from tests.networks import build
from tests.runs import NET, NET_WEIGHTS, net

OPEN = NET.replace("[N,3,6,6]", "[N,3,H,W]")


def test_analyze_counts():
    analysis = analyze(net())
    assert isinstance(analysis, Analysis)
    assert analysis.cost.relus == 432


def test_a_file_is_a_model_too(tmp_path):
    onnx.save(net(), tmp_path / "net.onnx")
    assert analyze(str(tmp_path / "net.onnx")).cost == analyze(net()).cost
    with pytest.raises(ModelError):
        analyze(tmp_path / "none.onnx")


def test_open_sizes_may_be_given():
    model = build(OPEN, **NET_WEIGHTS)
    assert analyze(model).cost.unknown
    assert analyze(model, input_shape={"x": (1, 3, 6, 6)}).cost.relus == 432
    with pytest.raises(UsageError):
        analyze(model, input_shape={"x": (1, 3, 0, 6)})


def test_the_largest_tensor_may_be_limited():
    with pytest.raises(ModelError, match="--max-tensor"):
        analyze(net(), max_tensor="100")


def test_a_first_axis_that_is_no_batch_is_not_divided_by():
    body = "u = Unsqueeze(x, first) h = Conv(u, w) r = Relu(h) k = Conv(r, v) y = Squeeze(k, first)"
    text = f"(float[3,6,6] x) => (float[2,4,4] y) {{ {body} }}"
    model = parse(text, w=(4, 3, 3, 3), v=(2, 4, 1, 1), first=np.array([0]))
    cost = analyze(model).cost
    assert (cost.relus, cost.macs) == (4 * 16, 4 * 27 * 16 + 2 * 4 * 16)

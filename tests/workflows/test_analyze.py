import onnx
import pytest

from onnxshallow.analysis import Analysis
from onnxshallow.errors import ModelError, UsageError
from onnxshallow.workflows.analyze import analyze
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

"""Networks of many kinds, optimized from end to end."""

import numpy as np
import onnx
import pytest

from onnxshallow.analysis import analyze
from onnxshallow.errors import AccuracyError, TargetError
from onnxshallow.workflows.optimize import optimize
from tests.networks import build, chain, signed, smooth
from tests.runs import NET, NET_WEIGHTS, assert_usable, made, net, save_case

TWO_INPUTS = NET.replace("x)", "x, float[N,5] z)").replace(
    "f = Flatten(p)\n    y = Gemm<transB=1>(f,",
    "g = Flatten(p)\n    f = Concat<axis=1>(g, z)\n    y = Gemm<transB=1>(f,",
)


SIGNAL = """(float[N,3,16] x) => (float[N,6] y) {
    h0 = Conv<pads=[1,1]>(x, w0, b0)
    r0 = Relu(h0)
    h1 = Conv<pads=[1,1]>(r0, w1, b1)
    r1 = Relu(h1)
    h2 = Conv<pads=[1,1]>(r1, w2, b2)
    r2 = Relu(h2)
    p = GlobalAveragePool(r2)
    f = Flatten(p)
    y = Gemm<transB=1>(f, w3, b3)
}"""


DENSE = """(float[N,8] x) => (float[N,6] y) {
    h0 = Gemm<transB=1>(x, w0, b0)
    r0 = Relu(h0)
    h1 = Gemm<transB=1>(r0, w1, b1)
    r1 = Relu(h1)
    y = Gemm<transB=1>(r1, w2, b2)
}"""


DENSE_WEIGHTS = {"w0": (7, 8), "b0": (7,), "w1": (7, 7), "b1": (7,), "w2": (6, 7), "b2": (6,)}


def halved(model):
    """The same model in half precision."""
    half = onnx.ModelProto()
    half.CopyFrom(model)
    for tensor in half.graph.initializer:
        tensor.CopyFrom(
            onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor).astype(np.float16), tensor.name)
        )
    for value in (*half.graph.input, *half.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    return half


IMAGES, VECTORS, SIGNALS = smooth(40, 3, 6), signed((64, 8)), signed((40, 3, 16))


NETWORKS = {
    "two inputs": (
        build(TWO_INPUTS, **{**NET_WEIGHTS, "w3": (6, 9)}),
        {"x": IMAGES, "z": signed((40, 5))},
    ),
    "two outputs": (
        build(NET.replace("(float[N,6] y)", "(float[N,6] y, float[N,4] f)"), **NET_WEIGHTS),
        {"x": IMAGES},
    ),
    "an output inside": (
        build(NET.replace("(float[N,6] y)", "(float[N,6] y, float[N,4,6,6] r1)"), **NET_WEIGHTS),
        {"x": IMAGES},
    ),
    "a fixed batch": (build(NET.replace("[N,", "[2,"), **NET_WEIGHTS), {"x": IMAGES}),
    "signals": (
        build(SIGNAL, **{**NET_WEIGHTS, "w0": (4, 3, 3), "w1": (4, 4, 3), "w2": (4, 4, 3)}),
        {"x": SIGNALS},
    ),
    "a regression": (
        build(NET.replace("[N,6] y", "[N,1] y"), **{**NET_WEIGHTS, "w3": (1, 4), "b3": (1,)}),
        {"x": IMAGES},
    ),
    "dense layers": (build(DENSE, **DENSE_WEIGHTS), {"x": VECTORS}),
    "half precision": (halved(net()), {"x": IMAGES.astype(np.float16)}),
    "an older opset": (build(NET, opset=11, ir_version=6, **NET_WEIGHTS), {"x": IMAGES}),
}


def first(feeds, count=2):
    return {name: array[:count] for name, array in feeds.items()}


@pytest.mark.parametrize("kernel", ["auto", "exact"])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_many_kinds_come_out_smaller_and_whole(tmp_path, name, kernel):
    model, arrays = NETWORKS[name]
    path, data = save_case(tmp_path, model, **arrays)
    result = optimize(path, target_relus=0.7, calib=str(data), kernel=kernel, sensitivity="magnitude", max_error=1)
    assert result.error is None, str(result.error)
    report = result.report
    assert report.verdict.validated
    assert report.optimized.relus <= 0.7 * report.original.relus
    assert report.optimized.relus == analyze(result.model).cost.relus
    assert set(report.fidelity.relative_error) == {value.name for value in model.graph.output}
    assert all(value < 1 for value in report.fidelity.relative_error.values())
    assert (report.fidelity.agreement is None) == (name == "a regression")
    result.save(tmp_path / "small.onnx")
    assert_usable(onnx.load(tmp_path / "small.onnx"), model, first(arrays))


@pytest.mark.parametrize("name", ["two inputs", "signals", "dense layers", "a fixed batch"])
def test_networks_of_many_kinds_can_be_swept_and_searched(tmp_path, name):
    model, arrays = NETWORKS[name]
    path, data = save_case(tmp_path, model, **arrays)
    result = optimize(path, target_relus=0.7, calib=str(data), max_error=1)
    assert result.error is None
    assert_usable(result.model, model, first(arrays))
    assert result.plan.damage is not None


@pytest.mark.parametrize("name", ["two inputs", "signals", "dense layers", "a fixed batch", "half precision"])
def test_networks_of_many_kinds_get_synthetic_data(tmp_path, name):
    model, arrays = NETWORKS[name]
    path, _ = save_case(tmp_path, model, **arrays)
    result = optimize(path, target_relus=0.7, calib_samples=40, sensitivity="magnitude")
    result = made(result)
    assert not result.report.verdict.validated
    assert_usable(result.model, model, first(arrays))


def test_a_network_without_activations_stays_as_it_is(tmp_path):
    model = build("(float[N,3,6,6] x) => (float[N,4,4,4] y) { y = Conv(x, w0, b0) }", w0=(4, 3, 3, 3), b0=(4,))
    path, data = save_case(tmp_path, model)
    result = optimize(path, target_relus=0.5, calib=str(data))
    assert result.error is None
    assert result.model == model
    assert result.report.decisions == []


def test_the_only_activation_stays(tmp_path):
    path, data = save_case(tmp_path, chain(), x=smooth(40, 3, 8))
    result = optimize(path, target_relus=0.5, granularity="layer", calib=str(data))
    assert isinstance(result.error, TargetError)
    assert result.report.verdict.exit_code == 5
    assert "one activation always stays" in result.report.verdict.reasons[0]
    assert result.report.optimized is result.report.fidelity is None


def test_a_network_without_classes_is_rejected_for_its_output_error(tmp_path):
    model, arrays = NETWORKS["a regression"]
    path, data = save_case(tmp_path, model, **arrays)
    result = optimize(path, target_relus=0.4, max_drop=0.0, calib=str(data), sensitivity="magnitude")
    assert isinstance(result.error, AccuracyError)
    assert "output precision" in str(result.error)
    assert result.report.verdict.status == "accuracy"
    assert optimize(path, target_relus=0.4, max_drop=1, calib=str(data), sensitivity="magnitude").error is None


def test_the_deepest_plan_within_the_budget_is_found(tmp_path):
    path, data = save_case(tmp_path)
    shallow = optimize(path, max_drop=1, calib=str(data), sensitivity="magnitude")
    assert shallow.report.optimized.relus == 144
    model, arrays = NETWORKS["a regression"]
    path, data = save_case(tmp_path, model, **arrays)
    nothing = optimize(path, max_drop=0, calib=str(data), sensitivity="magnitude")
    assert nothing.error is None
    assert nothing.model == model

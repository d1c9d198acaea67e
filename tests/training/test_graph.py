import numpy as np
import pytest

from onnxshallow.errors import ModelError
from onnxshallow.model.document import load_document
from onnxshallow.model.network import Network
from onnxshallow.model.session import Session
from onnxshallow.training.graph import TorchGraph
from onnxshallow.training.library import in_arithmetic
from tests.conftest import MODELS
from tests.graphs import parse
from tests.networks import assert_near, build, feeds_of, residual

torch = pytest.importorskip("torch", reason="torch is not installed; `pip install '.[finetune]'` brings it")


@pytest.mark.parametrize("name", ["digits-resnet", "vgg-cifar10", "mobilenetv2-cifar10"])
def test_whole_networks(name):
    if not (MODELS / f"{name}.onnx").is_file():  # a source distribution is without the larger ones
        pytest.skip(f"{name}.onnx is not there; models/README.md says how it is made")
    model = load_document(MODELS / f"{name}.onnx").model
    network, feeds = Network(model), feeds_of(model)
    graph = TorchGraph(network, network.output_names)
    made = graph(feeds)
    for output, expected in zip(
        network.output_names, Session(model, threads=1, optimize=False).run(feeds), strict=True
    ):
        assert_near(made[output].numpy(), expected, 1e-4)
    assert graph.parameters == {}


def test_single_tensors_and_no_more_than_they_need():
    model = residual()
    graph = TorchGraph(Network(model), ["r1"], trained=True)
    assert list(graph.parameters) == ["w0", "b0", "w1", "b1"]
    made = graph(feeds_of(model))
    assert list(made) == ["r1"]
    made["r1"].sum().backward()
    assert all(parameter.grad is not None for parameter in graph.parameters.values())


def test_what_passes_may_be_replaced():
    model = residual()
    graph, seen = TorchGraph(Network(model), ["r0", "r1"]), []

    def passing(name, values):
        seen.append(name)
        return 2 * values if name == "r0" else values

    plain, changed = graph(feeds_of(model)), graph(feeds_of(model), passing)
    assert seen == ["r0", "r1"]
    assert torch.equal(changed["r0"], 2 * plain["r0"])
    assert not torch.equal(changed["r1"], plain["r1"])


def test_what_is_not_known_is_run_by_onnxruntime_and_frozen():
    text = """(float[2,3,4,4] x) => (float[2,3,4,4] y) {
        a = Conv(x, w0)
        b = Hardmax(a)
        y = Conv(b, w1)
    }"""
    model = build(text, w0=(3, 3, 1, 1), w1=(3, 3, 1, 1))
    graph, feeds = TorchGraph(Network(model), ["y"], trained=True), feeds_of(model)
    assert graph.lacks == ("Hardmax",)
    assert list(graph.parameters) == ["w1"]
    assert graph.frozen == ("w0",)
    assert_near(graph(feeds)["y"].detach().numpy(), Session(model, optimize=False).run(feeds)[0], 1e-4)


def test_an_output_that_onnxruntime_makes():
    model = build("(float[2,3] x) => (float[2,3] y) { a = Add(x, w) y = Hardmax(a) }", w=(3,))
    graph, feeds = TorchGraph(Network(model), ["y"], trained=True), feeds_of(model)
    assert graph.parameters == {}
    assert_near(graph(feeds)["y"].numpy(), Session(model).run(feeds)[0])


def test_half_precision_is_computed_in_float32():
    text = "(float16[2,3] x) => (float16[2,3] y) { y = Add(x, w) }"
    model = parse(text, w=np.ones(3, np.float16))
    made = TorchGraph(Network(model), ["y"], trained=True)({"x": np.ones((2, 3), np.float16)})["y"]
    assert made.dtype == torch.float32
    assert made.tolist() == [[2.0] * 3] * 2


def test_maps_stay_in_short_floats_and_gradients_in_the_layout_of_their_maps():
    text = """(float[2,4,6,6] x) => (float[2,4,1,1] y) {
        a = Conv(x, w0)
        b = Mul(a, w1)
        c = Add(b, w2)
        y = ReduceMean<axes=[2, 3]>(c)
    }"""
    model = build(text, w0=(4, 4, 3, 3), w1=(1, 4, 1, 1), w2=(1, 4, 1, 1))
    graph = TorchGraph(Network(model), ["c", "y"], trained=True)
    with in_arithmetic("bfloat16"):
        made = graph(feeds_of(model))
    assert made["c"].dtype == torch.bfloat16
    gradients = []
    made["c"].register_hook(gradients.append)
    made["y"].float().sum().backward()
    assert gradients[0].is_contiguous(memory_format=torch.channels_last)
    assert not gradients[0].is_contiguous()
    assert all(weight.grad.dtype == torch.float32 for weight in graph.parameters.values())


def test_a_failing_node_is_named():
    model = parse("(float[N,M] x) => (float[N,M] y) { y = MatMul(x, w) }", w=(3, 3))
    with pytest.raises(ModelError, match=r"Node 'y' \(MatMul\) fails in torch"):
        TorchGraph(Network(model), ["y"])({"x": np.ones((2, 4), np.float32)})

"""Average poolings in the place of max poolings."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxshallow.actions.apply import apply_candidates
from onnxshallow.actions.base import FindOptions
from onnxshallow.actions.pool import Pool
from onnxshallow.analysis import NotLinearError, analyze
from onnxshallow.rewriting.realize import realize
from tests.networks import calibration_of, operators, run_exactly

PAID = FindOptions(poolings=True)


def network(op="MaxPool", indices=False, after=(), **attributes):
    """Conv, Relu, a pooling, what comes after it, Conv."""
    random = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(random.normal(0, 0.4, shape).astype(np.float32), name)
        for name, shape in (("w0", (6, 3, 3, 3)), ("w1", (4, 6, 1, 1)))
    ]
    outputs = ["p", "where"] if indices else ["p"]
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["c"], pads=[1, 1, 1, 1], name="first"),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node(op, ["r"], outputs, name="pool", **attributes),
    ]
    tensor = "p"
    for node in after:
        nodes.append(helper.make_node(node, [tensor], [f"{tensor}_{node}"], name=node))
        tensor = f"{tensor}_{node}"
    nodes.append(helper.make_node("Conv", [tensor, "w1"], ["y"], name="last"))
    value = helper.make_tensor_value_info
    made = [value("y", TensorProto.FLOAT, ["n", 4, None, None])]
    if indices:
        made.append(value("where", TensorProto.INT64, None))
    graph = helper.make_graph(nodes, "g", [value("x", TensorProto.FLOAT, ["n", 3, 8, 8])], made, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


POOLING = {"kernel_shape": [2, 2], "strides": [2, 2]}


def only(analysis):
    (candidate,) = Pool().find(analysis, PAID).candidates
    return candidate


def test_poolings_are_left_alone_where_comparisons_are_not_paid_for():
    assert Pool().find(analyze(network(**POOLING)), FindOptions()).candidates == ()


def test_plans_that_people_write_may_name_them():
    assert len(Pool().find(analyze(network(**POOLING)), FindOptions(every_size=True)).candidates) == 1


@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("MaxPool", POOLING),
        ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
        ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
        ("MaxPool", {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER", "storage_order": 0, "dilations": [1, 1]}),
        ("GlobalMaxPool", {}),
    ],
)
def test_an_average_over_the_same_values_takes_its_place(op, attributes):
    analysis = analyze(network(op, **attributes))
    rewritten = apply_candidates(analysis, [only(analysis)], {})
    average = {"MaxPool": "AveragePool", "GlobalMaxPool": "GlobalAveragePool"}[op]
    assert operators(rewritten.model) == ["Conv", "Relu", average, "Conv"]
    assert rewritten.analysis.cost.comparisons == analysis.cost.relus
    assert rewritten.fit == {"y"}
    x = np.abs(np.random.default_rng(1).normal(size=(2, 3, 8, 8))).astype(np.float32)
    before, after = (run_exactly(model, {"x": x})[0] for model in (network(op, **attributes), rewritten.model))
    assert before.shape == after.shape


def test_what_an_average_makes_of_equal_values_is_their_maximum():
    analysis = analyze(network(kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1))
    model = apply_candidates(analysis, [only(analysis)], {}).model
    for one in (analysis.network.model, model):  # the border of a convolution is no constant, so it is taken out
        one.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.zeros((6, 3, 3, 3), np.float32), "w0"))
    x = np.ones((1, 3, 8, 8), np.float32)
    assert np.allclose(run_exactly(analysis.network.model, {"x": x})[0], run_exactly(model, {"x": x})[0])


@pytest.mark.parametrize(
    ("indices", "attributes"), [(True, POOLING), (False, {"kernel_shape": [2, 2], "dilations": [2, 2]})]
)
def test_poolings_that_no_average_can_stand_for_are_not_found(indices, attributes):
    assert Pool().find(analyze(network(indices=indices, **attributes)), PAID).candidates == ()


def test_the_layers_after_what_lies_between_are_fitted():
    analysis = analyze(network(**POOLING, after=("Abs", "Sqrt")))
    assert apply_candidates(analysis, [only(analysis)], {}).fit == {"y"}


def test_the_fit_makes_up_for_most_of_it():
    analysis = analyze(network(**POOLING))
    random = np.random.default_rng(2)
    coarse = random.normal(size=(96, 3, 4, 4)).repeat(2, 2).repeat(2, 3)
    x = (coarse + 0.3 * random.normal(size=(96, 3, 8, 8))).astype(np.float32)
    candidate = only(analysis)
    fitted = realize(analysis, [candidate], {}, calibration_of({"x": x}, fit_batches=4)).model
    plain = apply_candidates(analysis, [candidate], {}).model
    original, *others = (run_exactly(model, {"x": x[64:]})[0] for model in (analysis.network.model, plain, fitted))
    without, with_fit = (np.mean((other - original) ** 2) for other in others)
    assert with_fit < 0.5 * without


def test_a_pooling_that_is_gone_is_not_replaced():
    analysis = analyze(network(**POOLING))
    candidate = only(analysis)
    changed = apply_candidates(analysis, [candidate], {}).analysis
    with pytest.raises(NotLinearError, match="no max pooling makes tensor 'p'"):
        apply_candidates(changed, [candidate], {})

import weakref
from collections import Counter

import numpy as np
import onnx
import pytest

from onnxshallow.analysis import analyze
from onnxshallow.convolution import scale_output
from onnxshallow.model.network import Network
from onnxshallow.model.session import Session
from onnxshallow.runtime import cursor as cursor_module
from onnxshallow.runtime.cursor import Cursor
from onnxshallow.runtime.store import ActivationStore
from tests.networks import assert_near, build, chain, residual, signed, smooth


@pytest.fixture
def executed(monkeypatch):
    """How often each node was put into a segment, by its first output."""
    counts: Counter[str] = Counter()
    build_segment = cursor_module.build_segment

    def counting(*args):
        model, reads = build_segment(*args)
        counts.update(node.output[0] for node in model.graph.node)
        return model, reads

    monkeypatch.setattr(cursor_module, "build_segment", counting)
    return counts


def batches_of(shape, count=3, name="x"):
    return [{name: signed(shape, seed)} for seed in range(count)]


def at_inputs(model, batches, goals=None):
    return Cursor.at_inputs(Network(model), batches, ActivationStore(1 << 30), goals=goals, threads=1)


def whole(model, batches, tensors):
    """The values of inner tensors by one run of the whole model."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    probe.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in tensors)
    session = Session(probe, threads=1)
    return [session.run(batch) for batch in batches]


def known(cursor):
    return set(cursor._stored)


TENSORS = ["s", "r0", "h1", "r1", "h2", "s1", "r2", "h3", "s2", "p", "y"]


def test_every_value_equals_a_run_of_the_whole_model():
    batches = batches_of((2, 3, 8, 8))
    expected = whole(residual(), batches, TENSORS)
    cursor = at_inputs(residual(), batches)
    for position, name in enumerate(TENSORS):
        cursor.advance([name])
        for batch in range(3):
            assert_near(cursor[name][batch], expected[batch][position], 1e-5)


def test_every_node_is_executed_once(executed):
    cursor = at_inputs(residual(), batches_of((2, 3, 8, 8)))
    for name in TENSORS:
        cursor.advance([name])
    assert len(executed) == 15
    assert set(executed.values()) == {1}


def test_large_steps_execute_every_node_once_too(executed):
    cursor = at_inputs(residual(), batches_of((2, 3, 8, 8)))
    cursor.advance(["h1", "r0"])
    cursor.advance(["s2"])
    cursor.outputs()
    assert len(executed) == 15
    assert set(executed.values()) == {1}


def test_what_is_known_is_not_computed_again(executed):
    cursor = at_inputs(chain(), batches_of((2, 3, 8, 8)))
    cursor.advance(["h"])
    cursor.advance(["h"])
    assert executed == {"h": 1}


def test_what_no_goal_needs_is_not_computed(executed):
    cursor = at_inputs(residual(), batches_of((2, 3, 8, 8)), goals=["s1"])
    cursor.advance(["s1"])
    assert "r2" not in executed


def test_a_tensor_is_forgotten_when_nothing_reads_it_any_more():
    cursor = at_inputs(residual(), batches_of((2, 3, 8, 8)))
    cursor.advance(["h1"])
    assert known(cursor) == {"h1", "r0"}
    cursor.advance(["s1"])
    assert known(cursor) == {"s1"}
    cursor.advance(["p"])
    assert known(cursor) == {"p"}


def test_a_shortcut_is_kept_until_its_sum():
    cursor = at_inputs(residual(), batches_of((2, 3, 8, 8)))
    cursor.advance(["h2"])
    assert known(cursor) == {"h2", "r0"}


def test_what_was_asked_for_is_kept_though_nothing_reads_it():
    cursor = at_inputs(residual(), batches_of((2, 3, 8, 8)), goals=[])
    cursor.advance(["h1", "r1"])
    assert known(cursor) == {"h1", "r1"}


def test_goals_are_kept():
    cursor = at_inputs(residual(), batches_of((2, 3, 8, 8)), goals=["h1", "y"])
    cursor.advance(["p"])
    assert known(cursor) == {"h1", "p"}


def test_a_forgotten_tensor_cannot_be_asked_for():
    cursor = at_inputs(residual(), batches_of((2, 3, 8, 8)))
    cursor.advance(["p"])
    with pytest.raises(KeyError):
        cursor.advance(["h1"])


def test_a_spilling_store_gives_the_same_values():
    batches = batches_of((2, 3, 8, 8))
    network = Network(residual())
    outputs = [Cursor.at_inputs(network, batches, ActivationStore(b), threads=1) for b in (0, 1 << 30)]
    for cursor in outputs:
        cursor.advance(["s1"])
    np.testing.assert_array_equal(outputs[0].outputs()[0], outputs[1].outputs()[0])


def test_batches_may_differ_in_size():
    batches = [{"x": smooth(count, 3, 8)} for count in (4, 1, 3)]
    cursor = at_inputs(residual(), batches)
    cursor.advance(["s1"])
    assert [len(array) for array in cursor.outputs()[0]] == [4, 1, 3]


def test_a_restricted_cursor_goes_on_with_some_batches():
    batches = batches_of((2, 3, 8, 8))
    cursor = at_inputs(chain(), batches)
    cursor.advance(["h"])
    cursor.restrict(slice(2, None))
    (output,) = cursor.outputs()[0]
    assert_near(output, whole(chain(), batches, ["y"])[2][0], 1e-5)


def test_a_tensor_has_the_same_bytes_wherever_its_cursor_stopped_before():
    batches = batches_of((2, 3, 8, 8))
    straight, slow = (at_inputs(residual(), batches, goals=["s2"]) for _ in range(2))
    straight.advance(["s2"])
    for tensor in ("s", "h1", "r1", "h2", "r2", "h3"):
        slow.advance([tensor])
    slow.advance(["s2"])
    for one, other in zip(straight["s2"], slow["s2"], strict=True):
        np.testing.assert_array_equal(one, other)


# Replaced layers.


def test_a_replaced_layer_computes_the_new_convolution_from_then_on():
    batches = batches_of((2, 3, 8, 8))
    analysis = analyze(chain())
    layer = analysis.layers.by_output["y"]
    cursor = Cursor.at_inputs(analysis.network, batches, ActivationStore(1 << 30), threads=1)
    cursor.advance(["r"])
    cursor.replace(layer, scale_output(analysis.layers.convolution(layer), 2.0, 1.0))
    expected = whole(chain(), batches, ["y"])[0][0]
    assert_near(cursor.outputs()[0][0], 2 * expected + 1, 1e-5)


def test_the_inner_tensors_of_a_replaced_layer_do_not_exist():
    model = build(
        """(float[N,3,6,6] x) => (float[N,4,6,6] y) {
            p = Pad(x, pads)
            c = Conv(p, w)
            n = BatchNormalization(c, v1, v2, v3, v4)
            y = Relu(n)
        }""",
        w=(4, 3, 3, 3),
        pads=np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        **{f"v{i}": [1.0, 2.0, 3.0, 4.0] for i in range(1, 5)},
    )
    batches = batches_of((2, 3, 6, 6))
    analysis = analyze(model)
    layer = analysis.layers.by_output["n"]
    cursor = Cursor.at_inputs(analysis.network, batches, ActivationStore(1 << 30), threads=1)
    cursor.replace(layer, analysis.layers.convolution(layer))
    assert_near(cursor.outputs()[0][0], whole(model, batches, ["y"])[0][0], 1e-5)


# Graphs that are no plain chain of float tensors.


def test_tensors_that_a_subgraph_captures_live_until_it_runs():
    model = build(
        """(float[N,3] x) => (float[N,3] y) {
            r = Relu(x)
            q = Sigmoid(x)
            t = Tanh(q)
            m = ReduceMax<keepdims=0>(t)
            c = Greater(m, half)
            y = If (c) <
                then_branch = then () => (float[N,3] a) { a = Mul(r, t) },
                else_branch = other () => (float[N,3] b) { b = Identity(q) }
            >
        }""",
        half=np.array(0.5, dtype=np.float32),
    )
    batches = batches_of((2, 3), count=4)
    cursor = at_inputs(model, batches)
    cursor.advance(["r", "t"])
    assert known(cursor) == {"r", "q", "t"}
    cursor.advance(["c"])
    for made, expected in zip(cursor.outputs()[0], whole(model, batches, ["y"]), strict=True):
        assert_near(made, expected[0], 1e-6)


def test_tensors_derived_from_a_shape_are_passed_on():
    model = build(
        """(float[N,3,4,4] x) => (float[N,48] y) {
            r = Relu(x)
            s = Shape(r)
            n = Gather(s, zero)
            u = Unsqueeze(n, first)
            t = Concat<axis=0>(u, rest)
            q = Sigmoid(r)
            y = Reshape(q, t)
        }""",
        zero=np.array(0),
        first=np.array([0]),
        rest=np.array([-1]),
    )
    batches = [{"x": signed((count, 3, 4, 4))} for count in (2, 5)]
    cursor = at_inputs(model, batches)
    cursor.advance(["u"])
    cursor.advance(["q"])
    outputs = cursor.outputs()[0]
    assert [output.shape for output in outputs] == [(2, 48), (5, 48)]


def test_constant_nodes_are_computed_where_they_are_read(executed):
    model = build(
        """(float[N,3] x) => (float[N,3] y) {
            one = Constant<value = float[3] {1, 2, 3}>()
            two = Mul(one, one)
            a = Add(x, two)
            y = Mul(a, two)
        }"""
    )
    batches = batches_of((2, 3))
    cursor = at_inputs(model, batches)
    cursor.advance(["a"])
    assert known(cursor) == {"a"}
    assert_near(cursor.outputs()[0][0], whole(model, batches, ["y"])[0][0], 1e-6)
    assert executed["a"] == executed["y"] == 1


def test_several_inputs_and_outputs():
    model = build(
        """(float[N,3] a, float[N,3] b) => (float[N,3] y, float[N,3] z) {
            c = Relu(a)
            d = Add(c, b)
            y = Tanh(d)
            z = Mul(d, b)
        }"""
    )
    batches = [{"a": signed((2, 3), seed), "b": signed((2, 3), seed + 10)} for seed in range(3)]
    cursor = at_inputs(model, batches)
    cursor.advance(["c"])
    assert known(cursor) == {"c", "b"}
    outputs = cursor.outputs()
    expected = whole(model, batches, ["y", "z"])
    for output in range(2):
        for batch in range(3):
            assert_near(outputs[output][batch], expected[batch][output], 1e-6)


def test_an_input_with_a_default_value_need_not_be_given():
    model = build("(float[N,3] x, float[3] w) => (float[N,3] y) { a = Relu(x) y = Mul(a, w) }", w=[1.0, 2.0, 3.0])
    batches = batches_of((2, 3))
    cursor = at_inputs(model, batches)
    cursor.advance(["a"])
    assert_near(cursor.outputs()[0][0], whole(model, batches, ["y"])[0][0], 1e-6)


def test_a_node_with_several_outputs_of_which_some_are_read_later(executed):
    model = build(
        """(float[N,4] x) => (float[N,2] y) {
            a, b = Split<axis=1>(x)
            c = Relu(a)
            y = Add(c, b)
        }"""
    )
    batches = batches_of((2, 4))
    cursor = at_inputs(model, batches)
    cursor.advance(["a"])
    assert known(cursor) == {"a", "b"}
    assert_near(cursor.outputs()[0][0], whole(model, batches, ["y"])[0][0], 1e-6)
    assert executed["a"] == 1


def test_an_output_that_is_an_input():
    model = build("(float[N,3] x) => (float[N,3] x, float[N,3] y) { y = Relu(x) }")
    batches = batches_of((2, 3))
    outputs = at_inputs(model, batches).outputs()
    np.testing.assert_array_equal(outputs[0][1], batches[1]["x"])


def test_other_values_may_be_put_in_the_place_of_a_tensors_own(executed):
    model, batches = chain(), batches_of((2, 3, 8, 8))
    cursor = at_inputs(model, batches)
    cursor.advance(["r"])
    others = [signed((2, 5, 8, 8), 50 + position) for position in range(len(batches))]
    cursor.put("r", others)
    for stored, other in zip(cursor["r"], others, strict=True):
        np.testing.assert_array_equal(stored, other)
    cursor.advance(["y"])
    tail = build(
        "(float[N,5,8,8] r) => (float[N,4,8,8] y) { y = Conv<pads=[1,1,1,1]>(r, w2, b2) }",
        **{t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer if t.name in ("w2", "b2")},
    )
    for made, other in zip(cursor["y"], others, strict=True):
        assert_near(made, Session(tail, threads=1).run({"r": other})[0], 1e-5)
    assert executed["r"] == 1


def test_values_that_are_put_are_made_and_spilled_one_by_one():
    model, batches, alive = chain(), batches_of((2, 3, 8, 8)), []

    def made():
        for position in range(len(batches)):
            assert sum(reference() is not None for reference in alive) <= 1
            array = signed((2, 5, 8, 8), 50 + position)
            alive.append(weakref.ref(array))
            yield array
            del array

    cursor = Cursor.at_inputs(Network(model), batches, ActivationStore(0), threads=1)
    cursor.put("r", made())
    assert [float(array.sum()) for array in cursor["r"]] == [
        float(signed((2, 5, 8, 8), 50 + position).sum()) for position in range(len(batches))
    ]

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxshallow.errors import ModelError
from onnxshallow.model.document import load_document
from onnxshallow.model.guard.limits import MAX_TRIPS, require_types, require_within_limits
from tests.graphs import parse

MIB = 1 << 20


def check(model, **limits):
    require_within_limits(model, "a.onnx", **limits)


def text(body, opset=17, **weights):
    """A model from the text of a graph whose initializers are given as arrays."""
    return parse(body, opset=opset, **weights)


def test_a_computed_tensor_up_to_the_limit_passes():
    model = text("(float[N,1] x) => (float y) { e = ConstantOfShape(s)\n y = ReduceSum<keepdims=0>(e) }", s=ints(MIB))
    check(model, max_tensor=4 * MIB)
    with pytest.raises(
        ModelError, match=r"Tensor 'e' of a.onnx has shape 1048576 and takes 4 MiB a sample; the limit"
    ):
        check(model, max_tensor=4 * MIB - 1)


def ints(*values):
    return np.array(values, dtype=np.int64)


def test_the_flag_is_named():
    model = text("(float[N,1] x) => (float[n] y) { y = ConstantOfShape(s) }", s=ints(2**40))
    with pytest.raises(ModelError, match=r"takes 4 TiB a sample; the limit is 512 MiB. .* raise --max-tensor\.$"):
        check(model)


def test_a_weight_that_large_models_make_passes():
    """As the light VGG-19 of onnx's own tests makes it."""
    check(text("(float[N,1] x) => (float[n] y) { y = ConstantOfShape(s) }", s=ints(4096, 25088)))


@pytest.mark.parametrize(
    ("body", "weights"),
    [
        ("(float[N,1] x) => (float[n] y) { p = Mul(s, s)\n y = ConstantOfShape(p) }", {"s": ints(2**20)}),
        ("(float[N,3,8,8] x) => (float[n] y) { y = Expand(x, s) }", {"s": ints(2**22, 1, 1, 1, 1)}),
        ("(float[N,3,8,8] x) => (float[N,3,n,m] y) { y = Pad(x, s) }", {"s": ints(0, 0, 0, 0, 0, 0, 2**30, 0)}),
        ("(float[N,3,8,8] x) => (float[n] y) { z = Shape(x)\n p = ReduceProd(z)\n q = Mul(p, s)\n r = Mul(q, s)\n"
         " k = Reshape(r, o)\n y = ConstantOfShape(k) }", {"s": ints(2**16), "o": ints(1)}),
        ("(float[N,3,8,8] x) => (float[N,4,h,w] y) { y = Conv<pads=[65536,65536,65536,65536]>(x, k) }",
         {"k": np.ones((4, 3, 3, 3), np.float32)}),
    ],
    ids=["arithmetic", "expand", "pad", "shape of the input", "convolution"],
)  # fmt: skip
def test_huge_results_are_refused(body, weights):
    with pytest.raises(ModelError, match="raise --max-tensor"):
        check(text(body, **weights))


def test_what_inference_itself_would_blow_up_on_is_refused():
    """onnx's shape inference lists the elements of a Range that is cast."""
    body = """(float[N,1] x) => (float[n] y) { r = Range(a, b, c)
        y = Cast<to=1>(r) }"""
    with pytest.raises(ModelError, match=r"Tensor 'r' of a.onnx .* takes 8 GiB"):
        check(text(body, a=np.array(0), b=np.array(2**30), c=np.array(1)))


def test_inputs_are_limited_too():
    model = text("(float[N,3,30000,30000] x) => (float[N,3,30000,30000] y) { y = Relu(x) }")
    with pytest.raises(ModelError, match=r"Input 'x' of a.onnx has shape 1x3x30000x30000 and takes 10.06 GiB"):
        check(model)


def test_constants_are_added_up():
    lines = "\n".join(f"c{i} = ConstantOfShape(s)" for i in range(5))
    model = text(f"(float[N,1] x) => (float[n] y) {{ {lines}\n y = Sum(c0, c1, c2, c3, c4) }}", s=ints(MIB))
    with pytest.raises(
        ModelError, match=r"computes 24 MiB from constants alone; the limit for all of them is 16 MiB"
    ):
        check(model, max_tensor=4 * MIB)
    check(model, max_tensor=6 * MIB)


def loop(trips, condition, start=True):
    """A Loop that counts, whose trips and condition are as given."""
    scalar = helper.make_tensor_value_info
    one = helper.make_tensor("one", TensorProto.FLOAT, [], [1.0])
    body = helper.make_graph(
        [
            helper.make_node("Constant", [], ["step"], value=one),
            helper.make_node("Add", ["v", "step"], ["w"]),
            condition,
        ],
        "body",
        [scalar("i", TensorProto.INT64, []), scalar("c", TensorProto.BOOL, []), scalar("v", TensorProto.FLOAT, [])],
        [scalar("d", TensorProto.BOOL, []), scalar("w", TensorProto.FLOAT, [])],
    )
    model = text("(float[N,1] x) => (float y) { s = ReduceMax<keepdims=0>(x)\n y = Neg(s) }")
    names = []
    for name, value, kind in (("m", trips, TensorProto.INT64), ("go", start, TensorProto.BOOL)):
        names.append("" if value is None else name)
        if value is not None:
            model.graph.initializer.append(helper.make_tensor(name, kind, [], [value]))
    model.graph.node[1].CopyFrom(helper.make_node("Loop", [*names, "s"], ["y"], body=body))
    return model


ALWAYS = helper.make_node("Identity", ["c"], ["d"])
UNTIL_TEN = helper.make_node("Less", ["w", "ten"], ["d"])


def test_loops_that_end_pass():
    check(loop(1000, ALWAYS))
    check(loop(MAX_TRIPS, ALWAYS))
    check(loop(2**62, ALWAYS, start=False))


@pytest.mark.parametrize("trips", [MAX_TRIPS + 1, 2**62, None])
@pytest.mark.parametrize("start", [True, None])
def test_endless_loops_are_refused(trips, start):
    with pytest.raises(ModelError, match=rf"loop at node 'y' of a.onnx runs .*; the limit is {MAX_TRIPS}"):
        check(loop(trips, ALWAYS, start))


@pytest.mark.parametrize("trips", [2**62, None])
def test_loops_whose_condition_is_computed_pass_when_they_end(trips):
    model = loop(trips, UNTIL_TEN)
    model.graph.initializer.append(helper.make_tensor("ten", TensorProto.FLOAT, [], [10.0]))
    check(model)


def functions(*calls):
    """A model that calls f0; function number i makes the calls that `calls[i]` lists."""
    own, default = helper.make_opsetid("own", 1), helper.make_opsetid("", 17)
    model = text("(float[N,1] x) => (float[N,1] y) { y = Relu(x) }")
    model.graph.node[0].CopyFrom(helper.make_node("f0", ["x"], ["y"], domain="own"))
    model.opset_import.append(own)
    for number, called in enumerate(calls):
        names = ["a", *(f"t{i}" for i in range(1, len(called))), "b"]
        nodes = [helper.make_node(f, [names[i]], [names[i + 1]], domain="own") for i, f in enumerate(called)]
        nodes = nodes or [helper.make_node("Relu", ["a"], ["b"])]
        model.functions.append(helper.make_function("own", f"f{number}", ["a"], ["b"], nodes, [default, own]))
    return model


def test_functions_pass():
    check(functions(["f1", "f1"], ["f2"], []))


def test_functions_in_circles_are_refused():
    with pytest.raises(ModelError, match="calls itself"):
        check(functions(["f1"], ["f0"]))


def test_functions_that_multiply_are_refused():
    with pytest.raises(ModelError, match="come to more than 1048576 nodes"):
        check(functions(*([f"f{i}", f"f{i}"] for i in range(1, 31)), []))


def test_text_that_doubles_is_refused():
    lines = "\n".join(f"s{i + 1} = StringConcat(s{i}, s{i})" for i in range(40))
    model = text(f'(float[N,1] x) => (string[1] s40) {{ s0 = Constant<value_strings=["a"]>()\n{lines} }}', opset=20)
    with pytest.raises(ModelError, match="joins text 40 times; the limit is 16"):
        check(model)


def test_reach_beyond_what_is_counted_is_refused():
    model = text("(float[N,3,8,8] x) => (float[N,4,h,w] y) { y = Conv(x, k) }", k=np.ones((4, 3, 3, 3), np.float32))
    model.graph.node[0].attribute.append(helper.make_attribute("pads", [2**62] * 4))
    with pytest.raises(ModelError, match=r"Node .*'y'.* has pads .* cannot count beyond"):
        check(model)


def test_a_graph_without_outputs_is_refused():
    model = text("(float[N,1] x) => (float[N,1] y) { y = Relu(x) }")
    del model.graph.output[:]
    with pytest.raises(ModelError, match="has no outputs"):
        check(model)


def test_names_in_messages_cannot_act():
    model = text("(float[N,1] x) => (float[N,1] y) { y = Relu(x) }")
    model.graph.node[0].input[0] = "\x1b[2J"
    with pytest.raises(ModelError) as caught:
        check(model)
    assert str(caught.value).isprintable()


def test_types_that_do_not_go_together():
    model = text("(float[N,1] x) => (float[N,1] y) { y = Relu(x) }")
    require_types(model, "a.onnx")
    model.graph.node[0].CopyFrom(helper.make_node("And", ["x", "x"], ["y"]))
    with pytest.raises(ModelError, match=r"a.onnx is not a valid ONNX model: .*And"):
        require_types(model, "a.onnx")


def test_stale_shapes_pass_where_onnxruntime_runs_the_model():
    model = text("(float[N,3] x) => (float[N,3] y) { t = Relu(x)\n y = Neg(t) }")
    model.graph.value_info.append(helper.make_tensor_value_info("t", TensorProto.FLOAT, ["N", 4]))
    require_types(model, "a.onnx")


def test_the_limit_is_an_argument_of_loading(tmp_path):
    onnx.save(text("(float[N,1] x) => (float[n] y) { y = ConstantOfShape(s) }", s=ints(MIB)), tmp_path / "a.onnx")
    load_document(tmp_path / "a.onnx")
    with pytest.raises(ModelError, match="raise --max-tensor"):
        load_document(tmp_path / "a.onnx", max_tensor=MIB)

import numpy as np
import onnx
import pytest

from onnxshallow.errors import ModelError
from onnxshallow.model.network import Network, is_default_domain, outer_references
from onnxshallow.model.tensors import TensorInfo
from tests.graphs import frozen, parse, signed

IF = """(float[N,3] x, bool q) => (float[N,3] y) {
    z = Relu(x) k = Neg(z)
    y = If(q) <
        then_branch = a () => (float[N,3] u) { t = Relu(z) u = Add(t, w) },
        else_branch = b () => (float[N,3] v) {
            v = If(q) <then_branch = c () => (float[N,3] m) { m = Neg(k) },
                       else_branch = d () => (float[N,3] n) { n = Identity(z) }> }> }"""


def branching() -> Network:
    return Network(parse(IF, w=(3,)))


def test_who_makes_and_reads_what():
    network = Network(
        parse("(float[N,3] x) => (float[N,3] y, float[N,3] z) { z = Relu(x) n = Neg(z) y = Mul(z, n) }")
    )
    relu, neg, mul = network.nodes
    assert network.producer("z") is relu
    assert network.producer("x") is None
    assert network.consumers("z") == (neg, mul)
    assert network.consumers("y") == ()
    assert network.is_output("z")
    assert not network.is_output("n")
    assert mul.is_op("Add", "Mul")
    assert network.output_names == ("y", "z")


def test_captures_count_as_reads():
    network = branching()
    branch = network.nodes[2]
    assert branch.captures == {"z", "k", "w", "q"}
    assert branch in network.consumers("z")
    assert branch in network.consumers("w")
    assert branch.reads == ("q", "k", "q", "w", "z")


@pytest.mark.parametrize("names", [set(), {"u"}], ids=["made inside", "returned"])
def test_outer_references(names):
    graph = onnx.parser.parse_graph("g (float[3] a) => (float[3] u) { t = Relu(a) u = Add(t, b) }")
    if names:
        del graph.node[1]
        assert outer_references(graph) == {"u"}
    else:
        assert outer_references(graph) == {"b"}


def test_initializers_of_a_body_are_its_own():
    graph = onnx.parser.parse_graph("g () => (float[1] u) <float[1] w = {1.0}> { u = Add(w, w) }")
    assert outer_references(graph) == set()


@pytest.mark.parametrize(
    ("text", "private"),
    [
        ("(float[N,3] x) => (float[N,3] y) { z = Relu(x) y = Neg(z) }", True),
        ("(float[N,3] x) => (float[N,3] y, float[N,3] z) { z = Relu(x) y = Neg(z) }", False),
        ("(float[N,3] x) => (float[N,3] y, float[N,3] u) { z = Relu(x) y = Neg(z) u = Abs(z) }", False),
        ("(float[N,3] x) => (float[N,3] y) { z = Relu(x) y = Mul(z, z) }", False),
        ("(float[N,3] x) => (float[N,3] y) { z = Relu(x) y = Neg(z) u = Abs(z) }", False),
    ],
    ids=["one reader", "graph output", "two readers", "read twice", "dead reader"],
)
def test_is_private(text, private):
    assert Network(parse(text)).is_private("z") is private


def test_what_a_subgraph_captures_is_not_private():
    text = """(float[N,3] x, bool q) => (float[N,3] y) { z = Relu(x)
        y = If(q) <then_branch = a () => (float[N,3] u) { u = Neg(z) },
                   else_branch = b () => (float[N,3] v) { v = Abs(z) }> }"""
    assert not Network(parse(text)).is_private("z")


def test_damaged_graphs_are_refused():
    model = parse("(float[N,3] x) => (float[N,3] y) { z = Relu(x) y = Neg(z) }")
    model.graph.node[0].input[0] = "nowhere"
    with pytest.raises(ModelError, match="reads tensor 'nowhere'"):
        Network(model)
    model.graph.node[0].input[0] = "x"
    model.graph.node[1].output[0] = "z"
    with pytest.raises(ModelError, match="'z' is made twice"):
        Network(model)


def test_unsorted_graphs_are_refused():
    with pytest.raises(ModelError, match="not sorted"):
        Network(parse("(float[N,3] x) => (float[N,3] y) { y = Neg(z) z = Relu(x) }"))


def test_names_are_made_unique():
    model = parse("(float[N,3] x) => (float[N,3] y) { a = Relu(x) b = Relu(a) c = Relu(b) y = Relu(c) }")
    for index, name in ((0, "act"), (1, "act"), (3, "act#2")):
        model.graph.node[index].name = name
    names = [node.name for node in Network(model).nodes]
    assert names == ["act", "act#2", "c", "act#2#2"]


def test_empty_optional_inputs_are_not_read():
    model = parse("(float[N,3] x) => (float[N,3] y) { y = Clip(x, , high) }", high=np.ones((), np.float32))
    (clip,) = Network(model).nodes
    assert clip.inputs == ("x", "", "high")
    assert clip.reads == ("x", "high")


def test_empty_optional_outputs_are_not_made():
    model = parse("(float[N,3] x) => (bool[N,3] m) { d, m = Dropout(x) e, k = Dropout(x) }")
    model.graph.node[0].output[0] = ""
    model.graph.node[1].output[0] = ""
    network = Network(model)
    assert network.producer("") is None
    assert network.nodes[1].name == "k"


def test_domains():
    assert is_default_domain("")
    assert is_default_domain("ai.onnx")
    assert not is_default_domain("mine")
    network = Network(parse("(float[N,3] x) => (float[N,3] y) { y = mine.Relu(x) }", domains=["mine"]))
    assert not network.nodes[0].is_op("Relu")
    assert network.opset == 17


def test_attributes_are_decoded():
    text = """(float[N,3,8,8] x) => (float[N,4,h,w] y) {
        y = Conv<auto_pad="SAME_UPPER", strides=[2,1], group=1>(x, w) }"""
    (conv,) = Network(parse(text, w=(4, 3, 3, 3))).nodes
    assert conv.attributes["auto_pad"] == "SAME_UPPER"
    assert list(conv.attributes["strides"]) == [2, 1]
    assert conv.attributes["group"] == 1


CONSTANTS = {
    "initializer": "k = Identity(x) y = Add(x, w)",
    "Constant": "w2 = Constant<value = float[3] {1.0, -2.0, 3.0}>() y = Add(x, w2)",
    "Constant of floats": "w2 = Constant<value_floats = [1.0, -2.0, 3.0]>() y = Add(x, w2)",
    "Identity": "w2 = Identity(w) y = Add(x, w2)",
    "arithmetic": "w2 = Neg(w) w3 = Mul(w2, w) y = Add(x, w3)",
    "dequantized": "w2 = DequantizeLinear(q, scale) y = Add(x, w2)",
}


@pytest.mark.parametrize("body", CONSTANTS.values(), ids=CONSTANTS)
def test_constants(body):
    weights = dict(w=(3,), q=np.array([[1, -2, 3]], np.int8), scale=np.full((), 0.5, np.float32))
    network = Network(parse(f"(float[N,3] x) => (float[N,3] y) {{ {body} }}", opset=19, ir=9, **weights))
    name = network.nodes[-1].inputs[1]
    w = signed("w", (3,))
    expected = {"w2": [1, -2, 3], "w": w, "w3": -w * w}[name]
    if "Identity(w)" in body:
        expected = w
    if "Dequantize" in body:
        expected = [[0.5, -1, 1.5]]
    assert network.is_constant(name)
    value = network.constant(name)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    assert network.constant(name) is value, "computed twice"
    assert not network.is_constant("y")
    assert network.constant("y") is network.constant("x") is network.constant("") is None


@pytest.mark.parametrize(
    "body",
    [
        "r = RandomNormal<shape=[1,3,4,4]>()",
        "r = RandomUniform<shape=[1,3,4,4]>()",
        "r = RandomNormalLike(w)",
        "r = RandomUniformLike(w)",
        "r = Bernoulli(w)",
        "r = Multinomial(v)",
        "r = BatchNormalization(w, s, s, s, s)",
        "r = MaxPool<kernel_shape=[2,2]>(w)",
        "r = AveragePool<kernel_shape=[2,2]>(w)",
        "r = GlobalMaxPool(w)",
        "r = LRN<size=3>(w)",
        "r = Softmax<axis=1>(w)",
    ],
)
def test_what_differs_from_run_to_run_or_is_computed_wrongly_is_no_constant(body):
    weights = dict(w=(1, 3, 4, 4), v=(1, 3), s=(3,))
    network = Network(
        parse(f"(float[1,3,4,4] x) => (float[1,3,4,4] y) {{ {body} n = Neg(r) y = Relu(x) }}", **weights)
    )
    assert network.is_constant("w")
    assert not network.is_constant("r")
    assert not network.is_constant("n")
    assert network.constant("r") is None


def test_custom_operators_on_constants_are_no_constants():
    text = "(float[3] x) => (float[3] y) { r = mine.Neg(w) y = Add(x, r) }"
    assert not Network(parse(text, domains=["mine"], w=(3,))).is_constant("r")


def test_results_of_branches_are_no_constants():
    text = """(float[3] x) => (float[3] y) { q = Constant<value = bool {1}>()
        r = If(q) <then_branch = a () => (float[3] u) { u = Neg(w) },
                   else_branch = b () => (float[3] v) { v = Abs(w) }>
        y = Add(x, r) }"""
    assert not Network(parse(text, w=(3,))).is_constant("r")


def test_overridable_initializers_are_no_constants_since_ir_4():
    text = "(float[3] x) => (float[3] y) { k = Neg(w) y = Add(x, k) }"
    old = Network(parse(text, opset=8, ir=3, as_inputs=True, w=(3,)))
    new = Network(parse(text, opset=8, ir=4, as_inputs=True, w=(3,)))
    assert old.is_constant("k")
    assert not new.is_constant("w")
    assert not new.is_constant("k")
    for network in (old, new):
        assert [info.name for info in network.inputs] == ["x"]


def test_constants_are_read_only():
    network = Network(parse("(float[3] x) => (float[3] y) { y = Add(x, w) }", w=(3,)))
    with pytest.raises(ValueError, match="read-only"):
        network.constant("w")[0] = 1


def test_a_constant_that_the_reference_cannot_compute():
    text = "(float[3] x) => (float[3] y) { k = Reshape(w, s) y = Add(x, k) }"
    network = Network(parse(text, w=(3,), s=np.array([7])))
    assert network.is_constant("k")
    assert network.constant("k") is None


def test_sparse_initializers_are_known_but_no_constants():
    model = parse("(float[N,4] x) => (float[N,4] y) { y = Add(x, w) }")
    values = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [1], [2.0])
    indices = onnx.helper.make_tensor("i", onnx.TensorProto.INT64, [1], [3])
    model.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(values, indices, [4]))
    network = Network(model)
    assert network.sparse_initializer("w") is not None
    assert network.initializer("w") is None
    assert network.constant("w") is None
    assert [info.name for info in network.inputs] == ["x"]


def test_ancestors():
    network = Network(parse("(float[3] x) => (float[3] y) { a = Relu(x) b = Neg(a) c = Abs(x) y = Add(b, c) }"))
    assert network.ancestors(["y"]) == {0, 1, 2, 3}
    assert network.ancestors(["y"], frozenset({"b"})) == {2, 3}
    assert network.ancestors(["y"], frozenset({"y"})) == set()
    assert branching().ancestors(["y"]) == {0, 1, 2}


def test_very_deep_networks():
    """Chains longer than Python's recursion limit."""
    depth = 1500
    body = " ".join(f"t{i + 1} = Neg(t{i})" for i in range(depth))
    network = Network(parse(f"(float[N,3] t0) => (float[N,3] t{depth}) {{ {body} }}"))
    assert not network.is_constant(f"t{depth}")
    assert network.shape(f"t{depth}") == (1, 3)


def test_constants_that_share_operands_are_computed_once():
    """A sum of a tensor with itself, forty times over, has 2 ** 40 paths."""
    body = " ".join(f"w{i + 1} = Add(w{i}, w{i})" for i in range(40))
    network = Network(parse(f"(float[1] x) => (float[1] y) {{ {body} y = Add(x, w40) }}", w0=np.ones(1, np.float32)))
    np.testing.assert_array_equal(network.constant("w40"), [2.0**40])


def test_the_model_is_not_changed():
    model = parse(IF, w=(3,))
    before = frozen(model)
    network = Network(model)
    assert network.infos
    assert frozen(model) == before


def test_dtypes():
    network = Network(parse("(float16[N,3] x) => (bool[N,3] y) { z = Relu(x) y = Less(z, x) }"))
    assert network.dtype("z") == np.float16
    assert network.dtype("y") == np.bool_
    assert network.dtype("nothing") is None
    assert network.shape("nothing") is None


def test_weights_of_types_that_numpy_lacks_are_constants_too():
    values = signed("w", (2, 3, 1, 1)).astype(onnx.helper.tensor_dtype_to_np_dtype(onnx.TensorProto.BFLOAT16))
    model = parse("(float[N,3,4,4] x) => (float[N,2,4,4] y) { k = Cast<to=1>(w) y = Conv(x, k) }", w=values)
    value = Network(model).constant("k")
    assert value is not None
    np.testing.assert_array_equal(value, values.astype(np.float32))


def test_text_is_no_constant_to_compute_with():
    model = parse("(float[N,3] x) => (float[N,3] y, string[1] z) { z = StringConcat(t, t) y = Relu(x) }", opset=20)
    model.graph.initializer.append(onnx.helper.make_tensor("t", onnx.TensorProto.STRING, [1], [b"a"]))
    assert Network(model).constant("z") is None


@pytest.mark.parametrize(
    ("inputs", "fixed"),
    [
        ("float[N,3,8,8] x", True),
        ("float[2,3,8,8] x", True),
        ("float[N,3,H,W] x", False),
        ("float[N,3,8,8] x, float[N,K] k", False),
        ("float[N,3,8,8] x, float[N,5] k", True),
    ],
)
def test_sizes_are_fixed_where_all_axes_but_the_first_are(inputs, fixed):
    model = parse(f"({inputs}) => (float[N,3,H,W] y) {{ y = Relu(x) }}")
    assert Network(model).has_fixed_sizes is fixed


def test_sizes_of_an_input_without_a_shape_are_not_fixed():
    model = parse("(float[N,3,8,8] x) => (float[N,3,8,8] y) { y = Relu(x) }")
    model.graph.input[0].type.tensor_type.ClearField("shape")
    assert not Network(model).has_fixed_sizes


def test_sizes_that_the_user_gives_are_those_of_one_run_only():
    model = parse("(float[N,3,H,W] x) => (float[N,3,H,W] y) { y = Relu(x) }")
    assert not Network(model, {"x": [1, 3, 8, 8]}).has_fixed_sizes


# Shapes that are known from the network that this one was made from.

OPEN = "(float[1,4,6] x, int64[3] s) => (float[1,4,6] y) { z = Reshape(x, s) r = Relu(z) y = Reshape(r, s) }"


def known(**shapes):
    return {name: TensorInfo(name, np.dtype(np.float32), shape) for name, shape in shapes.items()}


def test_what_inference_leaves_open_is_taken_from_what_is_known():
    found = Network(parse(OPEN), known=known(z=(4, 6), r=(4, 6), y=(1, 4, 6)))
    assert [found.full_shape(name) for name in "zry"] == [(4, 6), (4, 6), (1, 4, 6)]


def test_what_contradicts_inference_is_not_taken():
    found = Network(parse(OPEN), known=known(z=(4, 6), r=(4, 6), y=(1, 9, 9)))
    assert found.full_shape("z") != (4, 6)
    assert found.full_shape("y") == (1, 4, 6)


def test_what_is_known_in_part_is_not_taken():
    assert Network(parse(OPEN), known=known(z=(4, 6))).full_shape("z") != (4, 6)


def test_a_node_without_a_name_is_not_given_that_of_a_later_one():
    model = parse("(float[N,3] x) => (float[N,3] y) { z = Relu(x) y = Neg(z) }")
    model.graph.node[1].name = "z"
    assert [node.name for node in Network(model).nodes] == ["z#2", "z"]

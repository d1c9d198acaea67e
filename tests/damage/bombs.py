"""Small files that ask for huge tensors or endless work."""

import itertools

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.damage.table import add_constant, attach, damage

node = helper.make_node


def _size(random):
    return random.choice((2**30, 2**33, 2**40, 2**62))


@damage(certain=True)
def constant_of_shape(model, random):
    shape = add_constant(model, "sizes", random.choice(([2**30], [2**20, 2**20], [2**40], [2**62], [2**32, 2**32])))
    return attach(model, "bomb", node("ConstantOfShape", [shape], ["bomb"]))


@damage(certain=True)
def constant_of_computed_shape(model, random):
    """The shape is the result of arithmetic on constants."""
    base = add_constant(model, "sizes", [2**15, 2**15])
    nodes = [node("Mul", [base, base], ["product"]), node("ConstantOfShape", ["product"], ["bomb"])]
    return attach(model, "bomb", *nodes)


@damage(certain=True)
def many_constants(model, random):
    """Each is within the limit."""
    shape = add_constant(model, "sizes", [2**26])
    names = [f"part{index}" for index in range(100)]
    nodes = [node("ConstantOfShape", [shape], [name]) for name in names]
    return attach(model, "bomb", *nodes, node("Sum", names, ["bomb"]))


@damage(certain=True)
def expand(model, random):
    value = add_constant(model, "one", [1.0], np.float32)
    shape = add_constant(model, "sizes", [_size(random)])
    return attach(model, "bomb", node("Expand", [value, shape], ["bomb"]))


@damage(certain=True)
def expand_of_the_input(model, random):
    shape = add_constant(model, "sizes", [_size(random), 1, 1, 1, 1])
    return attach(model, "bomb", node("Expand", [model.graph.input[0].name, shape], ["bomb"]))


@damage(certain=True)
def tile(model, random):
    value = add_constant(model, "one", [1.0], np.float32)
    repeats = add_constant(model, "sizes", [_size(random)])
    return attach(model, "bomb", node("Tile", [value, repeats], ["bomb"]))


@damage(certain=True)
def pad(model, random):
    value = add_constant(model, "one", [1.0], np.float32)
    pads = add_constant(model, "sizes", [0, _size(random)])
    return attach(model, "bomb", node("Pad", [value, pads], ["bomb"]))


@damage(certain=True)
def pad_of_the_input(model, random):
    pads = add_constant(model, "sizes", [0, 0, 0, 0, 0, 0, _size(random), 0])
    return attach(model, "bomb", node("Pad", [model.graph.input[0].name, pads], ["bomb"]))


@damage(certain=True)
def resize(model, random):
    value = add_constant(model, "one", [[[[1.0]]]], np.float32)
    if random.random() < 0.5:
        sizes = add_constant(model, "sizes", [1, 1, _size(random), 8])
        return attach(model, "bomb", node("Resize", [value, "", "", sizes], ["bomb"]))
    scales = add_constant(model, "sizes", [1, 1, 1e6, 1e6], np.float32)
    return attach(model, "bomb", node("Resize", [value, "", scales], ["bomb"]))


@damage(certain=True)
def range_of_numbers(model, random):
    parts = [add_constant(model, name, v) for name, v in (("a", 0), ("b", _size(random)), ("c", 1))]
    cast = node("Cast", ["numbers"], ["bomb"], to=TensorProto.FLOAT)
    return attach(model, "bomb", node("Range", parts, ["numbers"]), cast)


@damage(certain=True)
def one_hot(model, random):
    indices = add_constant(model, "indices", [0, 1])
    depth = add_constant(model, "depth", _size(random))
    values = add_constant(model, "values", [0, 1], np.float32)
    return attach(model, "bomb", node("OneHot", [indices, depth, values], ["bomb"]))


@damage(certain=True)
def eye(model, random):
    """A square of 2**40 elements, by way of a vector."""
    shape = add_constant(model, "sizes", [2**20, 2**20])
    nodes = [node("ConstantOfShape", [shape], ["square"]), node("EyeLike", ["square"], ["bomb"])]
    return attach(model, "bomb", *nodes)


@damage(certain=True)
def random_numbers(model, random):
    sizes = random.choice(([2**33], [2**20, 2**20], [2**32, 2**32]))
    return attach(model, "bomb", node("RandomNormal", [], ["bomb"], shape=sizes))


@damage(certain=True)
def outer_product(model, random):
    """Two small vectors that are broadcast against each other."""
    vector = add_constant(model, "vector", np.ones((2**16, 1)), np.float32)
    nodes = [node("Transpose", [vector], ["row"]), node("Mul", [vector, "row"], ["bomb"])]
    if random.random() < 0.5:
        nodes[1] = node("MatMul", [vector, "row"], ["bomb"])
    return attach(model, "bomb", *nodes)


@damage(certain=True)
def doubling(model, random):
    """A tensor joined to itself, again and again."""
    first = random.choice((add_constant(model, "one", [1.0], np.float32), model.graph.input[0].name))
    names = [first, *(f"double{index}" for index in range(random.choice((34, 40, 70))))]
    nodes = [node("Concat", [a, a], [b], axis=0) for a, b in itertools.pairwise(names)]
    return attach(model, names[-1], *nodes)


@damage(certain=True)
def huge_pads_of_a_convolution(model, random):
    conv = next(n for n in model.graph.node if n.op_type == "Conv")
    kept = [a for a in conv.attribute if a.name != "pads"]
    del conv.attribute[:]
    conv.attribute.extend([*kept, helper.make_attribute("pads", [random.choice((2**20, 2**31, 2**40))] * 4)])
    return model


@damage(certain=True)
def transposed_convolution(model, random):
    kernel = add_constant(model, "kernel", np.ones((1, 1, 1, 1)), np.float32)
    value = add_constant(model, "one", np.ones((1, 1, 2, 2)), np.float32)
    made = node("ConvTranspose", [value, kernel], ["bomb"], strides=[random.choice((2**20, 2**31)), 2**20])
    return attach(model, "bomb", made)


def _loop(trips, condition_out, *, value="v", nested=None):
    """The body of a Loop that adds one to a number."""
    body = [node("Constant", [], ["step"], value=helper.make_tensor("s", TensorProto.FLOAT, [], [1.0]))]
    body += [nested] if nested is not None else []
    body += [node("Add", [value, "step"], ["w"]), condition_out]
    scalar = helper.make_tensor_value_info
    return helper.make_graph(
        body,
        "body",
        [scalar("i", TensorProto.INT64, []), scalar("c", TensorProto.BOOL, []), scalar(value, TensorProto.FLOAT, [])],
        [scalar("d", TensorProto.BOOL, []), scalar("w", TensorProto.FLOAT, [])],
    )


@damage(certain=True)
def endless_loop(model, random):
    start = add_constant(model, "start", 0.0, np.float32)
    yes = add_constant(model, "yes", True, np.bool_)
    trips = random.choice(("", add_constant(model, "trips", random.choice((2**62, 2**40, 2**33)))))
    always = random.choice(
        (
            node("Identity", ["c"], ["d"]),
            node("Identity", ["yes"], ["d"]),
            node("Constant", [], ["d"], value=helper.make_tensor("t", TensorProto.BOOL, [], [True])),
        )
    )
    return attach(model, "bomb", node("Loop", [trips, yes, start], ["bomb"], body=_loop(trips, always)))


@damage(certain=True)
def loops_in_loops(model, random):
    """A thousand times a thousand times a thousand ..."""
    start = add_constant(model, "start", 0.0, np.float32)
    yes = add_constant(model, "yes", True, np.bool_)
    trips = add_constant(model, "trips", 1000)
    body = _loop(trips, node("Identity", ["c"], ["d"]))
    for level in range(3):
        inner = node("Loop", [trips, yes, start], [f"unused{level}"], body=body)
        body = _loop(trips, node("Identity", ["c"], ["d"]), nested=inner)
        body.output.append(helper.make_tensor_value_info(f"unused{level}", TensorProto.FLOAT, []))
        del body.output[-1]
        body.node[-2].input[1] = f"unused{level}"
    return attach(model, "bomb", node("Loop", [trips, yes, start], ["bomb"], body=body))


@damage(certain=True, seen=False)
def endless_loop_on_the_input(model, random):
    """The loop goes on for as long as a number that is computed from the input stays small."""
    yes = add_constant(model, "yes", True, np.bool_)
    add_constant(model, "bound", 1e30, np.float32)
    body = _loop("", node("Less", ["w", "bound"], ["d"]))
    first = node("ReduceMin", [model.graph.input[0].name], ["start"], keepdims=0)
    return attach(model, "bomb", first, node("Loop", ["", yes, "start"], ["bomb"], body=body))


@damage(certain=True, seen=False)
def size_from_the_input(model, random):
    """As many elements as the input's values say: 2**35, whatever they are."""
    add_constant(model, "many", [2.0**35], np.float32)
    add_constant(model, "zero", [0.0], np.float32)
    nodes = [
        node("ReduceMax", [model.graph.input[0].name], ["top"], keepdims=0),
        node("Mul", ["top", "zero"], ["none"]),
        node("Add", ["none", "many"], ["count"]),
        node("Cast", ["count"], ["sizes"], to=TensorProto.INT64),
        node("ConstantOfShape", ["sizes"], ["bomb"]),
    ]
    return attach(model, "bomb", *nodes)


@damage(certain=True)
def scan_over_a_huge_axis(model, random):
    shape = add_constant(model, "sizes", [2**33])
    number = helper.make_tensor_value_info("n", TensorProto.FLOAT, [])
    body = helper.make_graph(
        [node("Identity", ["n"], ["m"])],
        "body",
        [number],
        [helper.make_tensor_value_info("m", TensorProto.FLOAT, [])],
    )
    nodes = [
        node("ConstantOfShape", [shape], ["numbers"]),
        node("Scan", ["numbers"], ["bomb"], body=body, num_scan_inputs=1),
    ]
    return attach(model, "bomb", *nodes)


@damage(certain=True)
def bomb_in_a_branch(model, random):
    """The huge tensor is made inside an If."""
    add_constant(model, "sizes", [2**35])
    yes = add_constant(model, "yes", True, np.bool_)
    output = [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)]
    branch = helper.make_graph([node("ConstantOfShape", ["sizes"], ["inner"])], "branch", [], output)
    return attach(model, "bomb", node("If", [yes], ["bomb"], then_branch=branch, else_branch=branch))


@damage(certain=True)
def bomb_in_a_function(model, random):
    """The huge tensor is made inside a function of the model's own."""
    own, opset = helper.make_opsetid("own", 1), helper.make_opsetid("", 17)
    sizes = helper.make_tensor("s", TensorProto.INT64, [1], [2**35])
    body = [node("Constant", [], ["sizes"], value=sizes), node("ConstantOfShape", ["sizes"], ["b"])]
    model.functions.append(helper.make_function("own", "f", ["a"], ["b"], body, [opset, own], []))
    model.opset_import.append(own)
    call = onnx.NodeProto(op_type="f", domain="own", input=[model.graph.input[0].name], output=["bomb"])
    return attach(model, "bomb", call)


@damage(certain=True)
def doubling_text(model, random):
    """Sixty-four strings of 2**40 letters; no shape tells."""
    model.graph.initializer.append(helper.make_tensor("letters", TensorProto.STRING, [64], [b"abcdefgh"] * 64))
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", 20))
    model.ir_version = 9
    names = ["letters", *(f"text{index}" for index in range(40))]
    nodes = [node("StringConcat", [a, a], [b]) for a, b in itertools.pairwise(names)]
    nodes += [node("Equal", [names[-1], "letters"], ["same"]), node("Cast", ["same"], ["bomb"], to=TensorProto.FLOAT)]
    return attach(model, "bomb", *nodes)

"""Damages to a model's graph and to the attributes of its nodes."""

import onnx
from onnx import TensorProto, helper

from tests.damage.table import any_node, damage, set_attribute

INTS = (-1, 0, -(2**31), 2**31, 2**40, 2**63 - 1, -(2**63))


@damage(certain=True)
def cyclic(model, random):
    nodes = list(model.graph.node)
    first = random.randrange(len(nodes) - 1)
    later = random.randrange(first, len(nodes))
    nodes[first].input[0] = nodes[later].output[0]
    return model


@damage(certain=True)
def reads_itself(model, random):
    node = any_node(model, random)
    node.input[0] = node.output[0]
    return model


@damage(certain=True)
def unsorted(model, random):
    """onnxruntime sorts such graphs, but the format forbids them."""
    nodes = list(model.graph.node)
    place = random.randrange(1, len(nodes))
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in [*nodes[place:], *nodes[:place]]]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    return model


@damage()
def missing_node(model, random):
    del model.graph.node[random.randrange(len(model.graph.node))]
    return model


@damage()
def repeated_node(model, random):
    model.graph.node.append(any_node(model, random))
    return model


@damage()
def duplicate_output(model, random):
    one, other = random.sample(list(model.graph.node), 2)
    one.output[0] = other.output[0]
    return model


@damage(certain=True)
def missing_output(model, random):
    model.graph.output[0].name = random.choice(("nothing", "", "x\n\x1b[2J"))
    return model


@damage(certain=True)
def no_outputs(model, random):
    del model.graph.output[:]
    return model


@damage(certain=True)
def no_inputs(model, random):
    del model.graph.input[:]
    return model


@damage()
def input_given_twice(model, random):
    model.graph.input.append(model.graph.input[0])
    return model


@damage(certain=True, seen=False)
def unknown_operator(model, random):
    any_node(model, random).op_type = random.choice(
        ("Convv", "", "Relu\0", "[red]Relu[/red]", "Conv\x1b[2J", "R" * 9999)
    )
    return model


@damage()
def other_operator(model, random):
    names = (
        "Conv",
        "Gemm",
        "Relu",
        "Add",
        "Flatten",
        "GlobalAveragePool",
        "BatchNormalization",
        "If",
        "Loop",
        "Scan",
    )
    more = ("PRelu", "Clip", "Constant", "Pad", "Concat", "Split", "LSTM", "Identity", "Dropout", "MatMul", "Einsum")
    any_node(model, random).op_type = random.choice(names + more)
    return model


@damage()
def other_inputs(model, random):
    node = any_node(model, random)
    how = random.randrange(4)
    if how == 0:
        node.input[random.randrange(len(node.input))] = ""
    elif how == 1:
        del node.input[random.randrange(len(node.input)) :]
    elif how == 2:
        node.input.extend([node.input[0]] * random.choice((1, 3, 50)))
    else:
        node.input[:] = list(node.input)[::-1] if len(node.input) > 1 else ["nothing"]
    return model


@damage()
def other_outputs(model, random):
    node = any_node(model, random)
    how = random.randrange(3)
    if how == 0:
        del node.output[:]
    elif how == 1:
        node.output[0] = ""
    else:
        node.output.extend(f"more{index}" for index in range(random.choice((1, 40))))
    return model


@damage()
def reads_another_tensor(model, random):
    node = any_node(model, random)
    names = [name for other in model.graph.node for name in (*other.input, *other.output) if name]
    node.input[random.randrange(len(node.input))] = random.choice(names)
    return model


@damage()
def output_named_like_a_weight(model, random):
    any_node(model, random).output[0] = random.choice(model.graph.initializer).name
    return model


@damage()
def bad_group(model, random):
    set_attribute(any_node(model, random, "Conv"), "group", random.choice((*INTS, 2, 7)))
    return model


@damage()
def bad_strides(model, random):
    set_attribute(any_node(model, random, "Conv"), "strides", [random.choice(INTS), random.choice((1, *INTS))])
    return model


@damage()
def bad_dilations(model, random):
    set_attribute(any_node(model, random, "Conv"), "dilations", [random.choice(INTS), random.choice((1, *INTS))])
    return model


@damage()
def bad_kernel(model, random):
    sizes = random.choice(([], [3], [5, 5], [1, 1], [3, 3, 3], [0, 0], [-3, 3], [2**40, 3]))
    set_attribute(any_node(model, random, "Conv"), "kernel_shape", sizes or [0])
    return model


@damage()
def bad_pads(model, random):
    pads = [random.choice((1, *INTS)) for _ in range(random.choice((1, 3, 4, 4, 4, 8)))]
    set_attribute(any_node(model, random, "Conv"), "pads", pads)
    return model


@damage()
def pads_and_auto_pad(model, random):
    value = random.choice(("SAME_UPPER", "same", "", "VALID ", "\x1b[2J", "SAME_LOWER"))
    set_attribute(any_node(model, random, "Conv"), "auto_pad", value)
    return model


@damage()
def attribute_of_another_type(model, random):
    node = any_node(model, random, "Conv", "Gemm")
    name = random.choice([a.name for a in node.attribute] or ["group"])
    tensor = helper.make_tensor("t", TensorProto.FLOAT, [1], [1.0])
    set_attribute(node, name, random.choice((1.5, "text", [1.5], ["a"], 1, [1, 1, 1, 1], tensor, model.graph)))
    return model


@damage()
def attribute_without_type(model, random):
    node = any_node(model, random, "Conv", "Gemm")
    attribute = node.attribute.add(name="group") if not node.attribute else random.choice(node.attribute)
    attribute.type = random.choice((0, 6, 5, 14))
    return model


@damage(certain=True)
def unknown_attribute(model, random):
    set_attribute(any_node(model, random), random.choice(("nonsense", "", "[red]")), 1)
    return model


@damage(certain=True)
def attribute_given_twice(model, random):
    node = any_node(model, random, "Conv")
    node.attribute.extend([helper.make_attribute("group", 1), helper.make_attribute("group", 3)])
    return model


@damage(certain=True, seen=False)
def reference_outside_a_function(model, random):
    attribute = any_node(model, random, "Conv").attribute.add(name="group", type=onnx.AttributeProto.INT)
    attribute.ref_attr_name = "groups"
    return model


@damage()
def nan_attribute(model, random):
    node = any_node(model, random, "Relu")
    node.op_type = "LeakyRelu"
    set_attribute(node, "alpha", random.choice((float("nan"), float("inf"))))
    return model


@damage()
def deep_conditions(model, random):
    """Thirty levels of If, as deep as the format's parser allows; the innermost reads what nothing makes."""
    output = helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)
    leaf = helper.make_graph([helper.make_node("Identity", ["nothing"], ["inner"])], "leaf", [], [output])
    graph = leaf
    for _ in range(random.randint(5, 30)):
        node = helper.make_node("If", ["yes"], ["inner"], then_branch=graph, else_branch=leaf)
        graph = helper.make_graph([node], "level", [], [output])
    model.graph.initializer.append(helper.make_tensor("yes", TensorProto.BOOL, [], [True]))
    model.graph.node.append(helper.make_node("If", ["yes"], ["deep"], then_branch=graph, else_branch=leaf))
    return model


def _function(name: str, *nodes: onnx.NodeProto) -> onnx.FunctionProto:
    return helper.make_function("own", name, ["a"], ["b"], list(nodes), [helper.make_opsetid("", 17), OWN], [])


OWN = helper.make_opsetid("own", 1)


def _call(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """Let an output of the model pass through a function."""
    output = model.graph.output[0].name
    last = next(node for node in model.graph.node if output in node.output)
    last.output[0] = "before"
    model.graph.node.append(helper.make_node(name, ["before"], [output], domain="own"))
    model.opset_import.append(OWN)
    return model


@damage(certain=True)
def recursive_function(model, random):
    if random.random() < 0.5:
        model.functions.append(_function("f", helper.make_node("f", ["a"], ["b"], domain="own")))
        return _call(model, "f")
    model.functions.append(_function("f", helper.make_node("g", ["a"], ["b"], domain="own")))
    model.functions.append(_function("g", helper.make_node("f", ["a"], ["b"], domain="own")))
    return _call(model, "f")


@damage(certain=True)
def exponential_functions(model, random):
    """Each calls the one before twice: 2**40 nodes once they are written out."""
    model.functions.append(_function("f0", helper.make_node("Relu", ["a"], ["b"])))
    for level in range(1, 41):
        calls = [
            helper.make_node(f"f{level - 1}", ["a"], ["c"], domain="own"),
            helper.make_node(f"f{level - 1}", ["c"], ["b"], domain="own"),
        ]
        model.functions.append(_function(f"f{level}", *calls))
    return _call(model, "f40")

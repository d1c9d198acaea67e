import numpy as np
import onnx

from onnxshallow.analysis import analyze
from onnxshallow.model.editor import GraphEditor
from onnxshallow.model.spelling import plainly_spelled
from tests.graphs import assert_same_function, parse

TEXT = """(float[N,3,4,4] x) => (float[N,3,4,4] y) { h = Conv(x, w)
    g = Greater(h, zero) r = Where(g, h, zero) k = Conv(r, w) s = Max(k, zero) y = Conv(s, w) }"""


def model_and_plain():
    model = parse(TEXT, w=(3, 3, 1, 1), zero=np.zeros((), np.float32))
    return model, plainly_spelled(model)


def without(plain, output: str) -> onnx.ModelProto:
    """The plain model with the activation that makes `output` taken out."""
    analysis = analyze(plain.model)
    site = next(site for site in analysis.sites if site.output == output)
    editor = GraphEditor(plain.model)
    editor.rename_output(site.source, site.output)
    return editor.finish()


def test_a_plain_model_is_left_alone():
    model = parse("(float[N,3] x) => (float[N,3] y) { y = Relu(x) }")
    plain = plainly_spelled(model)
    assert plain.model is model
    assert plain.restored(model) is model


def test_what_is_left_is_spelled_as_before():
    model, plain = model_and_plain()
    made = plain.restored(without(plain, "s"))
    assert [node.op_type for node in made.graph.node] == ["Conv", "Greater", "Where", "Conv", "Conv"]
    assert list(made.graph.node[:3]) == list(model.graph.node[:3])
    assert {tensor.name for tensor in made.graph.initializer} == {"w", "zero"}
    onnx.checker.check_model(made, full_check=True)


def test_what_only_removed_activations_read_goes():
    _, plain = model_and_plain()
    first = without(plain, "s")
    analysis = analyze(first)
    editor = GraphEditor(first)
    (site,) = analysis.sites
    editor.rename_output(site.source, site.output)
    made = plain.restored(editor.finish())
    assert [node.op_type for node in made.graph.node] == ["Conv", "Conv", "Conv"]
    assert {tensor.name for tensor in made.graph.initializer} == {"w"}


def test_functions_and_their_operator_sets_come_back():
    function = """<domain: "pkg", opset_import: ["" : 17]> act (a) => (b) { b = Relu(a) }"""
    text = "(float[N,3,4,4] x) => (float[N,3,4,4] y) { h = Conv(x, w) r = pkg.act(h) y = Conv(r, w) }"
    model = parse(text, domains=["pkg"], functions=function, w=(3, 3, 1, 1))
    plain = plainly_spelled(model)
    made = plain.restored(without(plain, "r"))
    assert [node.op_type for node in made.graph.node] == ["Conv", "Conv"]
    assert list(made.functions) == list(model.functions)
    assert list(made.opset_import) == list(model.opset_import)


def test_sites_are_found_in_other_spellings():
    model, plain = model_and_plain()
    assert [(site.name, site.kind) for site in analyze(plain.model).sites] == [("r", "relu"), ("s", "relu")]
    assert [(site.name, site.kind) for site in analyze(model).sites] == [("s", "max")]


def test_constants_that_a_later_round_leaves_unread_are_left_out():
    body = "s = Shape(h) b = Gather<axis=0>(s, first) t = Concat<axis=0>(b, rest) k = Reshape(h, t) y = Abs(k)"
    constants = dict(first=np.array([0]), rest=np.array([3]))
    model = parse(
        f"(float[N,3] x) => (float[N,3] y) {{ h = Sin(x) {body} }}", ir=3, opset=9, as_inputs=True, **constants
    )
    plain = plainly_spelled(model)
    assert [node.op_type for node in plain.model.graph.node] == ["Sin", "Identity", "Abs"]
    assert {tensor.name for tensor in plain.model.graph.initializer} == set(constants)
    assert_same_function(plain.model, model)
    assert plain.restored(plain.model) == model


def test_weights_that_come_back_are_listed_as_inputs_where_that_is_asked_for():
    text = """(float[N,3,4,4] x) => (float[N,3,4,4] y) { h = Conv(x, w, b) r = Relu(h) y = Conv(r, w)
        d = Conv(x, w, b) }"""
    model = parse(text, opset=8, ir=3, as_inputs=True, w=(3, 3, 1, 1), b=(3,))
    plain = plainly_spelled(model)
    editor = GraphEditor(plain.model)
    (layer,) = (node for node in editor.graph.nodes if node.outputs[0].name == "h")
    layer.inputs.pop()
    restored = plain.restored(editor.finish())
    assert [node.output[0] for node in restored.graph.node] == ["h", "r", "y", "d"]  # d, read by nothing, reads b
    onnx.checker.check_model(restored, full_check=True)


def test_sizes_are_stored_where_what_they_were_computed_of_is_gone():
    model = parse(
        "(float[N,3,8,8] x) => (float[N,3,8,8] y) { h = Conv(x, w) a = Relu(h) b = Conv(a, v) s = Shape(a) "
        "r = Reshape(b, s) y = Relu(r) }",
        w=(3, 3, 1, 1), v=(3, 3, 1, 1),
    )  # fmt: skip
    plain = plainly_spelled(model)
    assert [node.op_type for node in plain.model.graph.node] == ["Conv", "Relu", "Conv", "Identity", "Relu"]
    edited = onnx.ModelProto()
    edited.CopyFrom(plain.model)
    del edited.graph.node[:2]
    edited.graph.node[0].input[0] = "x"
    made = plain.restored(edited)
    assert [node.op_type for node in made.graph.node] == ["Conv", "Reshape", "Relu"]
    onnx.checker.check_model(made, full_check=True)
    assert_same_function(made, edited)

"""Edits at one place; everything elsewhere must come out as it went in."""

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest

from onnxshallow.actions.emission import write_layers
from onnxshallow.analysis import Layers
from onnxshallow.model.editor import GraphEditor
from onnxshallow.model.network import Network
from tests.graphs import assert_close, assert_same_function, feeds, frozen, ops, parse, run_plain, signed

CHAIN = """(float[N,4,6,6] x) => (float[N,4,6,6] y) {
    z = Conv(x, w, b) r = Relu(z) t = Conv(r, u) s = Mul(t, c) y = Tanh(s) }"""
WEIGHTS = dict(w=(4, 4, 1, 1), b=(4,), u=(4, 4, 1, 1), c=(1, 4, 1, 1))


def chain(**options: object) -> onnx.ModelProto:
    return parse(CHAIN, **WEIGHTS, **options)


def rewrite(model: onnx.ModelProto, output: str) -> onnx.ModelProto:
    """Write the layer that makes `output` anew, as one node."""
    network = Network(model)
    layers = Layers(network)
    layer = layers.by_output[output]
    return write_layers(network, layers, {layer: layers.convolution(layer)})


def decorate(model: onnx.ModelProto) -> onnx.ModelProto:
    """Everything that graphsurgeon's export is known to drop."""
    model.doc_string, model.producer_name, model.producer_version = "model doc", "maker", "1.2"
    model.model_version, model.domain = 7, "org.example"
    model.metadata_props.add(key="source", value="model")
    model.opset_import.add(domain="ai.onnx.ml", version=3)
    graph = model.graph
    graph.doc_string = "graph doc"
    graph.metadata_props.add(key="source", value="graph")
    for node in graph.node:
        node.doc_string = f"doc of {node.output[0]}"
        node.metadata_props.add(key="source", value=node.output[0])
    for tensor in graph.initializer:
        tensor.doc_string = f"doc of {tensor.name}"
    for name in ("z", "r", "t", "s"):
        value = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", 4, 6, 6], f"doc of {name}")
        graph.value_info.append(value)
        annotation = graph.quantization_annotation.add(tensor_name=name)
        annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value=f"{name}_scale")
        graph.initializer.append(onnx.numpy_helper.from_array(np.ones(1, np.float32), f"{name}_scale"))
    return model


def test_without_edits_nothing_changes():
    model = decorate(chain())
    before = frozen(model)
    assert frozen(GraphEditor(model).finish()) == before
    assert frozen(model) == before


def test_an_edit_leaves_everything_else_as_it_was():
    model = decorate(chain())
    before = frozen(model)
    rewritten = rewrite(model, "s")
    assert frozen(model) == before, "the argument was changed"
    assert_same_function(rewritten, model)
    for field in ("doc_string", "producer_name", "producer_version", "model_version", "domain", "metadata_props"):
        assert getattr(rewritten, field) == getattr(model, field)
    assert list(rewritten.opset_import) == list(model.opset_import)
    old, new = model.graph, rewritten.graph
    assert (new.name, new.doc_string, new.metadata_props) == (old.name, old.doc_string, old.metadata_props)
    assert ops(rewritten) == ["Conv", "Relu", "Conv", "Tanh"]
    assert [frozen(new.node[index]) for index in (0, 1, 3)] == [frozen(old.node[index]) for index in (0, 1, 4)]
    kept = {tensor.name: frozen(tensor) for tensor in old.initializer if tensor.name not in ("u", "c")}
    assert {name: frozen(tensor) for tensor in new.initializer if (name := tensor.name) in kept} == kept
    assert not {"u", "c"} & {tensor.name for tensor in new.initializer}
    assert list(new.value_info) == [value for value in old.value_info if value.name != "t"]
    assert [entry.tensor_name for entry in new.quantization_annotation] == ["z", "r", "s"]


def test_opset_and_ir_are_kept():
    for opset, ir in ((9, 4), (13, 7), (17, 8), (21, 10)):
        rewritten = rewrite(chain(opset=opset, ir=ir), "s")
        assert rewritten.ir_version == ir
        assert rewritten.opset_import[0].version == opset
        assert_same_function(rewritten, chain(opset=opset, ir=ir))


def test_functions_are_kept():
    text = "(float[N,4,6,6] x) => (float[N,4,6,6] y) { z = Conv(x, w) t = Mul(z, c) y = mine.twice(t) }"
    functions = '<domain: "mine", opset_import: ["": 17]> twice (a) => (b) { b = Add(a, a) }'
    model = parse(text, domains=["mine"], functions=functions, w=(4, 4, 1, 1), c=(1, 4, 1, 1))
    model.functions[0].doc_string = "function doc"
    rewritten = rewrite(model, "t")
    assert [frozen(function) for function in rewritten.functions] == [
        frozen(function) for function in model.functions
    ]
    assert_same_function(rewritten, model)


IF = """(float[N,4,6,6] x, bool q) => (float[N,4,6,6] y, float[N,4,6,6] o) {{
    z = Conv(x, w) t = Mul(z, c) {more}
    o = If(q) <then_branch = a () => (float[N,4,6,6] k) {{ k = Relu({captured}) }},
               else_branch = b () => (float[N,4,6,6] l) {{ l = Neg({captured}) }}>
    y = Relu(t) }}"""


def test_subgraphs_are_kept():
    model = parse(IF.format(more="", captured="x"), w=(4, 4, 1, 1), c=(1, 4, 1, 1))
    rewritten = rewrite(model, "t")
    assert frozen(rewritten.graph.node[-2]) == frozen(model.graph.node[-2])
    assert_same_function(rewritten, model)


def test_what_only_a_subgraph_reads_is_kept():
    more = "e = Exp(x) f = Add(e, only)"
    model = parse(IF.format(more=more, captured="f"), w=(4, 4, 1, 1), c=(1, 4, 1, 1), only=(1,))
    rewritten = rewrite(model, "t")
    assert ops(rewritten) == ["Conv", "Exp", "Add", "If", "Relu"]
    assert_same_function(rewritten, model)


def test_an_initializer_that_a_subgraph_reads_is_kept():
    model = parse(IF.format(more="", captured="c"), w=(4, 4, 1, 1), c=(2, 4, 6, 6))
    model.graph.node[1].input[1] = "c1"
    model.graph.initializer.append(onnx.numpy_helper.from_array(signed("c1", (1, 4, 1, 1)), "c1"))
    rewritten = rewrite(model, "t")
    assert "c" in {tensor.name for tensor in rewritten.graph.initializer}
    assert_same_function(rewritten, model)


def test_new_names_avoid_those_in_subgraphs_and_those_that_nothing_reads():
    text = IF.format(more="", captured="captured")
    model = parse(text, w=(4, 4, 1, 1), c=(1, 4, 1, 1), captured=(2, 4, 6, 6))
    model.graph.initializer[-1].name = "z.weight"
    for attribute in model.graph.node[2].attribute:
        attribute.g.node[0].input[0] = "z.weight"
    model.graph.value_info.append(onnx.helper.make_empty_tensor_value_info("z.bias"))
    rewritten = rewrite(model, "t")
    assert rewritten.graph.node[0].input[1:] == ["z.weight_2", "z.bias_2"]
    assert_same_function(rewritten, model)


def test_fresh_names_are_all_different():
    editor = GraphEditor(chain())
    assert [editor.fresh("z"), editor.fresh("z"), editor.fresh("new"), editor.fresh("new")] == [
        "z_2",
        "z_3",
        "new",
        "new_2",
    ]


def test_nodes_that_were_dead_before_stay():
    text = CHAIN.replace("y = Tanh(s)", "y = Tanh(s) d = Abs(x) e = Exp(d)")
    model = parse(text, **WEIGHTS)
    rewritten = rewrite(model, "s")
    assert ops(rewritten) == ["Conv", "Relu", "Conv", "Tanh", "Abs", "Exp"]
    assert_same_function(rewritten, model)


def test_nodes_made_dead_by_an_edit_are_removed_with_what_they_read():
    text = """(float[N,4,6,6] x) => (float[N,4,6,6] y) {
        i = Identity(w) k = Neg(i) z = Conv(x, k) y = Relu(z) }"""
    model = parse(text, w=(4, 4, 1, 1))
    rewritten = rewrite(model, "z")
    assert ops(rewritten) == ["Conv", "Relu"]
    assert [tensor.name for tensor in rewritten.graph.initializer] == ["z.weight", "z.bias"]
    assert_same_function(rewritten, model)


def test_what_a_node_does_not_read_any_more_is_dead():
    model = parse("(float[N,2] x) => (float[N,2] y) { a = Relu(x) b = Neg(a) y = Add(a, b) }")
    editor = GraphEditor(model)
    (add,) = editor.tensor("y").inputs
    add.inputs = [editor.tensor("a"), editor.tensor("a")]
    assert [node.op_type for node in editor.finish().graph.node] == ["Relu", "Add"]


def test_what_a_dead_node_reads_is_not_taken_from_it():
    """The weights come from an Identity that a node, dead before already, reads as well."""
    text = "(float[N,4,6,6] x) => (float[N,4,6,6] y) { i = Identity(w) z = Conv(x, i) d = Neg(i) y = Relu(z) }"
    model = parse(text, w=(4, 4, 1, 1))
    rewritten = rewrite(model, "z")
    assert ops(rewritten) == ["Identity", "Conv", "Neg", "Relu"]
    assert_same_function(rewritten, model)


def test_initializers_that_nothing_read_before_stay():
    model = parse(CHAIN, **WEIGHTS, unread=(3,))
    assert "unread" in {tensor.name for tensor in rewrite(model, "s").graph.initializer}


def test_shared_initializers_are_not_changed_for_others():
    text = "(float[N,4,6,6] x) => (float[N,4,6,6] y) { z = Conv(x, w) t = Mul(z, c) r = Relu(t) y = Conv(r, w) }"
    model = parse(text, w=(4, 4, 1, 1), c=(1, 4, 1, 1))
    rewritten = rewrite(model, "t")
    assert frozen(rewritten.graph.node[-1]) == frozen(model.graph.node[-1])
    assert frozen(rewritten.graph.initializer[0]) == frozen(model.graph.initializer[0])
    assert_same_function(rewritten, model)


def test_ir_3_lists_new_initializers_as_inputs_and_drops_old_ones():
    model = chain(opset=8, ir=3, as_inputs=True)
    rewritten = rewrite(model, "s")
    assert [value.name for value in rewritten.graph.input] == ["x", "w", "b", "t.weight", "t.bias"]
    assert_same_function(rewritten, model)


def test_from_ir_4_on_inputs_with_a_default_stay_part_of_the_interface():
    text = "(float[N,4,6,6] x) => (float[N,4,6,6] y) { z = Conv(x, w) r = PRelu(z, slope) y = Neg(r) }"
    model = parse(text, ir=4, opset=9, as_inputs=True, w=(4, 4, 1, 1), slope=(4, 1, 1))
    editor = GraphEditor(model)
    editor.replace(["r"], [gs.Node("Relu", "r", {}, [editor.tensor("z")], [editor.tensor("r")])])
    assert [value.name for value in editor.finish().graph.input] == ["x", "w", "slope"]
    assert "slope" in {tensor.name for tensor in editor.finish().graph.initializer}


def test_nodes_keep_their_order():
    text = """(float[N,4,6,6] x) => (float[N,4,6,6] y, float[N,4,6,6] o) {
        e = Exp(x) z = Conv(x, w) f = Abs(e) t = Mul(z, c) o = Neg(f) y = Relu(t) }"""
    model = parse(text, w=(4, 4, 1, 1), c=(1, 4, 1, 1))
    rewritten = rewrite(model, "t")
    assert ops(rewritten) == ["Exp", "Abs", "Conv", "Neg", "Relu"]
    assert_same_function(rewritten, model)


def test_replace_needs_a_node_that_makes_the_tensor():
    with pytest.raises(KeyError, match="nothing"):
        GraphEditor(chain()).replace(["s", "nothing"], [])


def test_rename_output_skips_a_node_and_keeps_what_is_known_of_the_other():
    model = decorate(chain())
    editor = GraphEditor(model)
    editor.rename_output("z", "r")
    rewritten = editor.finish()
    assert ops(rewritten) == ["Conv", "Conv", "Mul", "Tanh"]
    first = rewritten.graph.node[0]
    assert (list(first.output), first.doc_string) == (["r"], "doc of z")
    assert first.metadata_props == model.graph.node[0].metadata_props
    assert first.attribute == model.graph.node[0].attribute
    without = parse(CHAIN.replace("Relu(z)", "Identity(z)"), **WEIGHTS)
    assert_same_function(rewritten, _same_opsets(without, rewritten))


def _same_opsets(model: onnx.ModelProto, other: onnx.ModelProto) -> onnx.ModelProto:
    del model.opset_import[:]
    model.opset_import.extend(other.opset_import)
    return model


def test_unnamed_and_equally_named_nodes_are_told_apart():
    model = chain()
    for node in model.graph.node:
        node.name = ""
    editor = GraphEditor(model)
    editor.rename_output("z", "r")
    assert ops(editor.finish()) == ["Conv", "Conv", "Mul", "Tanh"]
    for node in model.graph.node:
        node.name = "twin"
    assert ops(rewrite(model, "s")) == ["Conv", "Relu", "Conv", "Tanh"]


def test_empty_optional_inputs_and_outputs_survive_edits_elsewhere():
    text = """(float[N,4,6,6] x) => (float[N,4,6,6] y) {
        z = Conv(x, w) t = Mul(z, c) h = Clip(t, , high) y, mask = Dropout(h) }"""
    model = parse(text, w=(4, 4, 1, 1), c=(1, 4, 1, 1), high=np.full((), 0.5, np.float32))
    rewritten = rewrite(model, "t")
    assert list(rewritten.graph.node[1].input) == ["t", "", "high"]
    assert_same_function(rewritten, model)


def test_custom_operators_survive_edits_elsewhere():
    text = "(float[N,4,6,6] x) => (float[N,4,6,6] y) { z = Conv(x, w) t = Mul(z, c) y = mine.Thing<a=1, b=[2.5]>(t) }"
    model = parse(text, domains=["mine"], w=(4, 4, 1, 1), c=(1, 4, 1, 1))
    rewritten = rewrite(model, "t")
    assert frozen(rewritten.graph.node[-1]) == frozen(model.graph.node[-1])
    onnx.checker.check_model(rewritten)


def test_tensors_of_rare_types_survive():
    model = chain()
    for kind, name in ((onnx.TensorProto.BFLOAT16, "bf"), (onnx.TensorProto.FLOAT8E4M3FN, "f8")):
        model.graph.initializer.append(onnx.helper.make_tensor(name, kind, [2], [1.0, 2.0]))
    model.graph.initializer.append(onnx.helper.make_tensor("words", onnx.TensorProto.STRING, [2], [b"a", b"b"]))
    rewritten = rewrite(model, "s")
    assert list(rewritten.graph.initializer)[2:5] == list(model.graph.initializer)[4:7]


def test_sequences_survive():
    text = """(float[N,4,6,6] x) => (float[N,4,6,6] y, seq(float[N,4,6,6]) q) {
        z = Conv(x, w) t = Mul(z, c) y = Relu(t) q = SequenceConstruct(x, x) }"""
    model = parse(text, w=(4, 4, 1, 1), c=(1, 4, 1, 1))
    rewritten = rewrite(model, "t")
    assert rewritten.graph.output == model.graph.output
    values = feeds(model)
    assert_close(run_plain(rewritten, values)[0], run_plain(model, values)[0])


def test_sparse_initializers_survive():
    model = parse("(float[N,4,1,1] x) => (float[N,4,1,1] y) { z = Conv(x, w) t = Mul(z, c) y = Add(t, s) }",
                  w=(4, 4, 1, 1), c=(1, 4, 1, 1))  # fmt: skip
    values = onnx.helper.make_tensor("s", onnx.TensorProto.FLOAT, [1], [2.0])
    indices = onnx.helper.make_tensor("i", onnx.TensorProto.INT64, [1], [3])
    model.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(values, indices, [4, 1, 1]))
    rewritten = rewrite(model, "t")
    assert list(rewritten.graph.sparse_initializer) == list(model.graph.sparse_initializer)
    assert ops(rewritten) == ["Conv", "Add"]


def test_two_edits_after_another():
    model = decorate(chain())
    rewritten = rewrite(rewrite(model, "s"), "z")
    assert_same_function(rewritten, model)
    assert ops(rewritten) == ["Conv", "Relu", "Conv", "Tanh"]
    names = [tensor.name for tensor in rewritten.graph.initializer]
    assert len(names) == len(set(names))


BRANCHES = """(float[N,4,6,6] x) => (float[N,4,6,6] y) {
    p = Conv(x, w) q = Conv(x, u) r = Relu(p) s = Relu(q) y = Add(r, s) }"""


def scaled(output: str, *, settled: bool) -> list[str]:
    """New initializers, as the file has them, where two branches are scaled, of which `output` is the first."""
    editor = GraphEditor(parse(BRANCHES, w=(4, 4, 1, 1), u=(4, 4, 1, 1)))
    for name in (output, "p" if output == "q" else "q"):
        factor = editor.constant(f"factor of {name}", np.ones(4, np.float32))
        editor.replace([name], [gs.Node("Mul", name, {}, [editor.tensor("x"), factor], [editor.tensor(name)])])
        if settled:
            editor.settle()
    return [tensor.name for tensor in editor.finish().graph.initializer]


def test_new_initializers_stand_in_the_order_of_the_nodes_that_read_them():
    assert scaled("q", settled=False) == ["factor of p", "factor of q"]


def test_settled_initializers_stand_before_those_of_later_edits():
    assert scaled("q", settled=True) == ["factor of q", "factor of p"]


def test_settled_initializers_that_a_later_edit_does_without_are_left_out():
    editor = GraphEditor(chain())
    for name in ("first", "second"):
        factor = editor.constant(name, np.ones(4, np.float32))
        editor.replace(["r"], [gs.Node("Mul", name, {}, [editor.tensor("z"), factor], [editor.tensor("r")])])
        editor.settle()
    assert {tensor.name for tensor in editor.finish().graph.initializer} == {*WEIGHTS, "second"}


@pytest.mark.parametrize(
    ("between", "moved"), [("", False), ("o = Constant<value_float=1.0>()", False), ("o = Abs(x)", True)]
)
def test_an_edit_tells_whether_a_node_came_to_stand_behind_another(between, moved):
    text = f"""(float[N,4,6,6] x) => (float[N,4,6,6] y) {{
        z = Conv(x, w) {between} t = Mul(z, c) y = Relu(t) }}"""
    editor = GraphEditor(parse(text, w=(4, 4, 1, 1), c=(1, 4, 1, 1)))
    assert not editor.moved
    editor.replace(["z", "t"], [gs.Node("Neg", "neg", {}, [editor.tensor("x")], [editor.tensor("t")])])
    assert editor.moved == moved


def named(*names: str) -> GraphEditor:
    """A editor with a chain whose nodes are called so; the others have no name."""
    model = chain()
    for node, name in zip(model.graph.node, names, strict=False):
        node.name = name
    return GraphEditor(model)


def test_a_fresh_node_is_named_as_wished_where_no_node_is_called_so():
    assert named("first", "second").fresh_node("third") == "third"


def test_a_fresh_node_gets_the_first_number_that_is_free():
    assert named("a").fresh_node("a") == "a_2"
    assert named("a", "a_2", "a_4").fresh_node("a") == "a_3"


def test_a_fresh_node_may_be_called_like_a_tensor_and_takes_no_name_from_tensors():
    editor = named()
    assert editor.fresh_node("r") == "r"
    assert editor.fresh("s2") == editor.fresh_node("s2") == "s2"


def test_a_node_that_was_put_in_takes_its_name_and_one_that_was_taken_out_leaves_it():
    editor = named("", "activation")
    node = gs.Node("Tanh", editor.fresh_node("new"), {}, [editor.tensor("z")], [editor.tensor("r")])
    editor.replace(["r"], [node])
    assert editor.fresh_node("new") == "new_2"
    assert editor.fresh_node("activation") == "activation"

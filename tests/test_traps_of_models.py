"""The traps of removing ReLUs from other people's models, each with a named test: traps 7 to 13."""

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import external_data_helper, numpy_helper

from onnxshallow.actions.apply import apply_candidates
from onnxshallow.actions.base import FindOptions
from onnxshallow.actions.fuse import Fuse
from onnxshallow.analysis import Layers, analyze
from onnxshallow.convolution import compose
from onnxshallow.errors import ModelError, TargetError, UsageError
from onnxshallow.model import document as document_module
from onnxshallow.model.document import save_model
from onnxshallow.model.network import Network
from onnxshallow.model.spelling import plainly_spelled
from onnxshallow.workflows.optimize import optimize
from tests.graphs import (
    TOLERANCE,
    assert_same_function,
    feeds,
    frozen,
    interface,
    ops,
    parse,
    run_plain,
    run_reference,
    signed,
)
from tests.kinds import KINDS
from tests.networks import residual, some_statistics
from tests.runs import assert_usable, files, flipped, net
from tests.traps import assert_melts, assert_rewritten, mergers, optimized, refusals, removals

# 7. Gemm is a linear layer too.

GEMMS = {
    "after Flatten": ("f = Flatten(x) h = Gemm(f, w1, b1)", (12, 5)),
    "after Reshape": ("f = Reshape(x, shape) h = Gemm(f, w1, b1)", (12, 5)),
    "alpha and beta": ("f = Flatten(x) h = Gemm<alpha=0.5, beta=-2.0>(f, w1, b1)", (12, 5)),
    "transB": ("f = Flatten(x) h = Gemm<transB=1>(f, w1, b1)", (5, 12)),
    "MatMul and Add": ("f = Flatten(x) m = MatMul(f, w1) h = Add(m, b1)", (12, 5)),
}


@pytest.mark.parametrize("name", GEMMS)
def test_trap_07_gemms_merge_exactly(name):
    first, shape = GEMMS[name]
    text = f"""(float[N,3,2,2] x) => (float[N,4] y) {{ {first} r = Relu(h)
        y = Gemm<alpha=2.0, beta=0.5, transB=1>(r, w2, b2) }}"""
    merged = assert_melts(parse(text, w1=shape, b1=(5,), w2=(4, 5), b2=(4,), shape=np.array([-1, 12])))
    assert ops(merged)[1:] == ["Gemm"]


def test_trap_07_a_transposed_input_is_no_layer():
    text = "(float[5,5] x) => (float[5,4] y) { h = Gemm<transA=1>(x, w1) r = Relu(h) y = Gemm(r, w2) }"
    model = parse(text, w1=(5, 5), w2=(5, 4))
    assert mergers(model) == ()
    assert [layer.output for layer in Layers(Network(model))] == ["y"]
    assert_rewritten(model, removals(model))


# 8. What Add and Mul mean depends on shapes.

SQUARE = "(float[N,3,5,5] x) => (float[N,5,5,5] y)"
OPERANDS = {
    "a bias": ("s = Add(h, c)", (1, 5, 1, 1), True),
    "a bias without batch axis": ("s = Add(c, h)", (5, 1, 1), True),
    "a scalar": ("s = Mul(h, c)", (), True),
    "a scale a channel": ("s = Mul(h, c)", (5, 1, 1), True),
    "a vector as long as the row": ("s = Mul(h, c)", (5,), False),
    "a row": ("s = Add(h, c)", (1, 1, 1, 5), False),
    "a map": ("s = Add(h, c)", (1, 5, 5, 5), False),
}


@pytest.mark.parametrize("name", OPERANDS)
def test_trap_08_constants_are_biases_and_scales_only_along_the_channels(name):
    body, shape, folds = OPERANDS[name]
    text = f"{SQUARE} {{ h = Conv(x, w1, b1) {body} r = Relu(s) y = Conv(r, w2) }}"
    model = parse(text, w1=(5, 3, 1, 1), b1=(5,), w2=(5, 5, 1, 1), c=signed("c", shape))
    if folds:
        assert ops(assert_melts(model)) == ["Conv"]
    else:
        assert mergers(model) == ()
        assert "r" in refusals(model)
        assert_rewritten(model, removals(model))


def test_trap_08_a_residual_sum_by_broadcasting_is_no_shortcut():
    text = """(float[N,3,5,5] x) => (float[N,3,5,5] y) { p = GlobalAveragePool(x) a = Conv(p, w0)
        h = Conv(a, w1) r = Relu(h) g = Conv(r, w2) s = Add(g, x) y = Conv(s, w3) }"""
    model = parse(text, w0=(3, 3, 1, 1), w1=(5, 3, 1, 1), w2=(3, 5, 1, 1), w3=(3, 3, 1, 1))
    assert {c.output for c in mergers(model)} == {"g"}
    for candidate in mergers(model):
        assert_rewritten(model, [candidate])


def test_trap_08_a_shortcut_of_equal_shape_is_folded_in():
    text = """(float[N,3,5,5] x) => (float[N,3,5,5] s) {
        h = Conv(x, w1) r = Relu(h) g = Conv(r, w2) s = Add(g, x) }"""
    assert ops(assert_melts(parse(text, w1=(5, 3, 1, 1), w2=(3, 5, 1, 1)))) == ["Conv"]


# 9. Sizes that are open, missing or wrong.

SIZES = {
    "open batch": "(float[N,3,8,8] x) => (float[N,4,8,8] y)",
    "fixed batch": "(float[2,3,8,8] x) => (float[2,4,8,8] y)",
    "open height and width": "(float[N,3,H,W] x) => (float[N,4,H,W] y)",
    "outputs of unknown size": "(float[N,3,8,8] x) => (float[a,b,c,d] y)",
}
PADDED = "h = Conv<pads=[1,1,1,1]>(x, w1, b1) r = Relu(h) y = Conv(r, w2, b2)"


@pytest.mark.parametrize("name", SIZES)
def test_trap_09_open_and_missing_sizes(name):
    model = parse(f"{SIZES[name]} {{ {PADDED} }}", w1=(5, 3, 3, 3), b1=(5,), w2=(4, 5, 1, 1), b2=(4,))
    if "height" not in name:
        assert_melts(model)
        return
    assert "--input-shape" in refusals(model)["r"]
    given = analyze(model, {"x": (1, 3, 8, 8)})
    assert given.sites[0].refusal is None


@pytest.mark.parametrize("shape", [(1, 5, 8, 8), (1, 9, 3, 3), None], ids=["right", "wrong", "absent"])
def test_trap_09_stated_sizes_are_not_trusted(shape):
    model = parse(f"{SIZES['open batch']} {{ {PADDED} }}", w1=(5, 3, 3, 3), b1=(5,), w2=(4, 5, 1, 1), b2=(4,))
    if shape is not None:
        model.graph.value_info.append(onnx.helper.make_tensor_value_info("h", onnx.TensorProto.FLOAT, shape))
    (site,) = analyze(model).sites
    assert (site.size, site.channels) == (5 * 64, 5)
    del model.graph.value_info[:]
    assert_melts(model)


def test_trap_09_there_is_no_border_map_where_sizes_are_open():
    """Zeros between two padded convolutions make a constant map at the border, which needs to know where that is."""
    body = "h = Conv(x, w1, b1) r = Relu(h) y = Conv<pads=[1,1,1,1]>(r, w2, b2)"
    weights = dict(w1=(5, 3, 1, 1), b1=(5,), w2=(4, 5, 3, 3), b2=(4,))
    for name, operators in (("open batch", ["Conv", "Add"]), ("outputs of unknown size", ["Conv", "Add"])):
        model = parse(f"{SIZES[name]} {{ {body} }}", **weights)
        assert ops(assert_melts(model)) == operators
    model = parse(f"{SIZES['open height and width']} {{ {body} }}", **weights)
    assert mergers(model) == ()
    analysis = analyze(model, {"x": (1, 3, 8, 8)})
    (candidate,) = Fuse().find(analysis, FindOptions("exact")).candidates
    assert candidate.exactness == "border"
    assert ops(apply_candidates(analysis, [candidate], some_statistics(analysis)).model) == ["Conv"]


# 10. The versions of the original stay.


@pytest.mark.parametrize(("ir", "opset"), [(3, 7), (4, 9), (6, 11), (8, 17), (10, 21), (13, 26)])
def test_trap_10_versions_stay(tmp_path, ir, opset):
    text = """(float[N,3,8,8] x) => (float[N,4,8,8] y) { h = Conv<pads=[1,1,1,1]>(x, w1, b1) r = Relu(h)
        g = Conv<pads=[1,1,1,1]>(r, w2, b2) q = Relu(g) y = Conv(q, w3) }"""
    weights = dict(w1=(5, 3, 3, 3), b1=(5,), w2=(5, 5, 3, 3), b2=(5,), w3=(4, 5, 1, 1))
    model = parse(text, ir=ir, opset=opset, as_inputs=ir < 4, **weights)
    small = optimized(tmp_path, model).model
    assert (small.ir_version, small.opset_import[0].version) == (ir, opset)
    assert_usable(small, model, feeds(model))


# 11. External data.


def with_external_data(folder, location="weights.bin"):
    """The path of a model whose weights lie in a file beside it."""
    onnx.save(net(), folder / "net.onnx", save_as_external_data=True, location=location, size_threshold=0)
    return folder / "net.onnx"


def run_quickly(path, **options):
    return optimize(path, target_relus=0.7, calib_samples=40, sensitivity="magnitude", cache=False, **options)


def test_trap_11_external_data_are_read_and_those_of_the_original_left_alone(tmp_path):
    path = with_external_data(tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    run_quickly(path).save(tmp_path / "small.onnx")
    assert before == {name: (tmp_path / name).read_bytes() for name in before}
    stored = onnx.load(tmp_path / "small.onnx", load_external_data=False)
    locations = {external_data_helper.ExternalDataInfo(tensor).location for tensor in stored.graph.initializer
                 if external_data_helper.uses_external_data(tensor)}  # fmt: skip
    assert not locations & before.keys()
    assert_usable(onnx.load(tmp_path / "small.onnx"), net(), feeds(net()))


def test_trap_11_the_original_is_not_saved_over(tmp_path):
    path = with_external_data(tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in (path.name, "weights.bin")}
    result = run_quickly(path)
    for name, content in before.items():
        with pytest.raises(UsageError, match="belongs to the input model"):
            result.save(tmp_path / name)
        assert (tmp_path / name).read_bytes() == content


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/hostname"])
def test_trap_11_data_outside_the_folder_are_refused(tmp_path, location):
    (tmp_path / "inner").mkdir()
    path = with_external_data(tmp_path / "inner")
    model = onnx.load(path, load_external_data=False)
    (tmp_path / "weights.bin").write_bytes((tmp_path / "inner" / "weights.bin").read_bytes())
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = location
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="outside the model's folder"):
        run_quickly(path)


def test_trap_11_what_is_over_the_limit_of_protobuf_is_written_beside(tmp_path, monkeypatch):
    """The limit is lowered, as two gigabytes are too much for a test."""
    model = parse("(float[N,64] x) => (float[N,64] y) { y = MatMul(x, w) }", w=(64, 64))
    monkeypatch.setattr(document_module, "_MAX_INLINE_BYTES", 1000)
    save_model(model, tmp_path / "large.onnx")
    assert len(files(tmp_path)) == 2
    assert (tmp_path / "large.onnx").stat().st_size < 1000
    assert_same_function(onnx.load(tmp_path / "large.onnx"), model)


# 12. Kinds of models.

HALVES = ["float16", "bfloat16", "qdq", "contrib-operator", "functions", "if"]


@pytest.mark.parametrize("name", HALVES)
def test_trap_12_element_types_operators_and_functions(tmp_path, name):
    kind = KINDS[name]
    model = kind.build()
    small = optimized(tmp_path, model).model
    assert analyze(small).cost.relus < analyze(model).cost.relus
    assert_usable(small, model, feeds(model))
    assert [frozen(function) for function in small.functions] == [frozen(function) for function in model.functions]
    for op in kind.kept:
        assert ops(small).count(op) == ops(model).count(op)


def test_trap_12_weights_keep_their_element_type(tmp_path):
    """What is cast to float32 before it is read is computed in float32, so a new weight in its place is float32."""
    for name, stored, new in (("float16", np.float16, np.float16), ("bfloat16", ml_dtypes.bfloat16, np.float32)):
        model = KINDS[name].build()
        before = {tensor.name for tensor in model.graph.initializer}
        for tensor in optimized(tmp_path, model).model.graph.initializer:
            expected = stored if tensor.name in before else new
            assert numpy_helper.to_array(tensor).dtype == expected, tensor.name


def test_trap_12_an_operator_that_nothing_runs_is_refused(tmp_path):
    onnx.save(KINDS["unknown-operator"].build(), tmp_path / "net.onnx")
    with pytest.raises(ModelError, match=r"onnxruntime does not run the model: .*com\.example:Secret"):
        run_quickly(tmp_path / "net.onnx")


def test_trap_12_nodes_without_names_are_told_apart(tmp_path):
    model = net()
    for node in model.graph.node:
        node.name = ""
    result = optimized(tmp_path, model)
    assert len({decision.name for decision in result.report.decisions}) == 3
    assert_usable(result.model, model, feeds(model))


def test_trap_12_nodes_of_equal_names_are_told_apart():
    """Nobody can run such a model in onnxruntime, but it is analysed and rewritten as any other."""
    model = residual()
    for node in model.graph.node:
        node.name = "same"
    assert len({site.name for site in analyze(model).sites}) == 5
    with pytest.raises(ModelError, match="two nodes with same node name"):
        run_plain(model, feeds(model))
    assert_rewritten(model, removals(model)[:1], original_by=["the reference"], rewritten_by=["the reference"])


def test_trap_12_empty_optional_inputs():
    text = """(float[N,3,8,8] x) => (float[N,4,6,6] y) { h = Conv(x, w1, "") c = Clip(h, "", six)
        r = Clip(c, zero, "") y = Conv(r, w2, "") }"""
    scalars = dict(six=np.full((), 6, np.float32), zero=np.zeros((), np.float32))
    model = parse(text, w1=(5, 3, 3, 3), w2=(4, 5, 1, 1), **scalars)
    assert [site.kind for site in analyze(model).sites] == ["clip", "relu"]
    assert_rewritten(model, removals(model))
    assert [site.kind for site in analyze(plainly_spelled(model).model).sites] == ["clip"]


POOR = {
    "no ReLU": ("y = Conv(x, w1)", 0),
    "no Conv": ("y = Relu(x)", 1),
    "neither": ("y = Neg(x)", 0),
    "only one ReLU": ("h = Conv(x, w1) y = Relu(h)", 1),
    "only one Conv": ("r = Relu(x) h = Conv(r, w1) y = Relu(h)", 2),
}


@pytest.mark.parametrize("name", POOR)
def test_trap_12_models_with_little_to_do(tmp_path, name):
    body, sites = POOR[name]
    weights = {"w1": (3, 3, 1, 1)} if "w1" in body else {}
    model = parse(f"(float[N,3,8,8] x) => (float[N,3,8,8] y) {{ {body} }}", **weights)
    assert len(analyze(model).sites) == sites
    if sites == 1:
        onnx.save(model, tmp_path / "net.onnx")
        error = run_quickly(tmp_path / "net.onnx").error
        assert isinstance(error, TargetError)
        assert "one activation always stays" in str(error)
    else:
        result = optimized(tmp_path, model)
        assert analyze(result.model).cost.relu_nodes == min(sites, 1)
        assert_usable(result.model, model, feeds(model))
        assert sites or frozen(result.model) == frozen(model)


# 13. The tolerance is stated once.


def test_trap_13_an_exact_rewrite_moves_outputs_by_rounding_and_counts_as_the_same():
    text = "(float[N,3,8,8] x) => (float[N,4,8,8] y) { h = Conv<pads=[1,1,1,1]>(x, w1) y = Conv(h, w2) }"
    apart = parse(text, w1=(5, 3, 3, 3), w2=(4, 5, 1, 1))
    network = Network(apart)
    layers = Layers(network)
    first, second = (layers.convolution(layer) for layer in layers)
    merged = parse(text.replace("h = Conv", "y = Conv").replace(" y = Conv(h, w2)", ""),
                   w1=compose(first, second).weight.astype(np.float32))  # fmt: skip
    values = feeds(apart)
    expected, actual = run_reference(apart, values)[0], run_reference(merged, values)[0]
    error = np.max(np.abs(actual - expected)) / np.sqrt(np.mean(expected**2))
    assert 0 < error < TOLERANCE[np.dtype(np.float32)] / 10
    assert_same_function(merged, apart)


@pytest.mark.parametrize("weight", ["w1", "b2", "w4"])
def test_trap_13_a_wrong_sign_is_no_rounding(weight):
    with pytest.raises(AssertionError, match="differs by"):
        assert_same_function(flipped(residual(), weight), residual())


def test_trap_13_the_tolerance_of_each_element_type_is_far_from_its_rounding():
    for dtype, tolerance in TOLERANCE.items():
        assert 10 * np.finfo(dtype).eps < tolerance < 0.05
    assert interface(residual()) == interface(residual(1))

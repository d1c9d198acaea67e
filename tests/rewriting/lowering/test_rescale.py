"""Networks at other scales compute the same, with fewer factors and better weights."""

import numpy as np
import onnx
import pytest

from onnxshallow.analysis import analyze
from onnxshallow.rewriting.lowering.rescale import rescale
from tests.graphs import assert_same_function, feeds, ops, parse, run_plain, signed

BLOCK = """(float[N,3,6,6] x) => (float[N,2,6,6] y) {
    a = Conv(x, w1, b1) r = Relu(a) b = Conv<pads=[1,1,1,1]>(r, w2, b2) m = Mul(r, f) t = Add(b, m)
    u = Mul(t, g) s = Mul(u, u) v = Add(s, k) c = Conv<pads=[1,1,1,1]>(v, w2, b2) z = Add(c, v) q = Relu(z)
    y = Conv(q, w3)
}"""
FACTOR, ROOT = np.array([0.5, 2, 3, 0.9]), np.array([0.3, 0.2, 0.4, 1.1])
WEIGHTS = {"w1": (4, 3, 1, 1), "b1": (4,), "w2": (4, 4, 3, 3), "b2": (4,), "w3": (2, 4, 1, 1), "k": (4, 1, 1)}


def channels(values):
    return np.asarray(values, np.float32).reshape(-1, 1, 1)


def block(f=FACTOR, g=ROOT, text=BLOCK, **weights):
    return parse(text, **{**WEIGHTS, "f": channels(f), "g": channels(g), **weights})


def rescaled(model):
    result = rescale(analyze(model))
    assert_same_function(result.model, model)
    return result


def test_factors_go_and_squares_stay():
    result = rescaled(block())
    assert ops(result.model) == ["Conv", "Relu", "Conv", "Add", "Mul", "Add", "Conv", "Add", "Relu", "Conv"]
    assert all(np.all((scale > 0.1) & (scale < 10)) for scale in result.scales.values())


def test_a_tensor_is_what_it_was_times_its_scale():
    model, result = block(), rescaled(block())
    names = [name for name in result.scales if analyze(result.model).network.producer(name) is not None]
    assert len(names) > 5
    for name in names:
        before, after = (run_plain(_ending_at(each, name), feeds(model))[0] for each in (model, result.model))
        np.testing.assert_allclose(after, before * result.scales[name].reshape(-1, 1, 1), rtol=1e-3, atol=1e-3)


def _ending_at(model, tensor):
    ended = onnx.ModelProto.FromString(model.SerializeToString())
    ended.graph.output.append(onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, None))
    del ended.graph.output[0]
    return ended


def test_a_network_without_factors_stays_as_it_is():
    model = block(text=BLOCK.replace("m = Mul(r, f)", "m = Identity(r)").replace("u = Mul(t, g)", "u = Identity(t)"))
    result = rescale(analyze(model))
    assert result.model is model
    assert result.scales == {}


@pytest.mark.parametrize("factor", [-0.5, 0.0])
@pytest.mark.parametrize("far", [-1e4, 1e4, 1e-4])
def test_a_product_stays_for_a_factor_that_is_not_positive_and_others_come_into_range(factor, far):
    result = rescaled(block(f=[factor, 2, 3, far]))
    (name,) = (n.input[1] for n in result.model.graph.node if n.op_type == "Mul" and len({*n.input}) > 1)
    (value,) = (tensor for tensor in result.model.graph.initializer if tensor.name == name)
    kept = onnx.numpy_helper.to_array(value).ravel()
    assert np.sign(kept).tolist() == [np.sign(factor), 1, 1, np.sign(far)]
    assert kept[3] == pytest.approx(np.sign(far))
    assert np.all((np.abs(kept[1:]) > 0.25) & (np.abs(kept[1:]) < 4))


def test_a_factor_stays_where_a_scale_would_be_far():
    assert ops(rescaled(block(f=[1e9, 2, 3, 0.9])).model).count("Mul") == 2


def test_a_factor_before_an_output_goes_into_all_that_leads_to_it():
    text = BLOCK.replace("y = Conv(q, w3)", "y = Mul(q, f)").replace("float[N,2,6,6] y", "float[N,4,6,6] y")
    assert ops(rescaled(block(text=text)).model).count("Mul") == 1  # all that leads to it takes the factor up


def test_a_factor_of_the_input_goes_into_the_layer_that_reads_it():
    model = parse("(float[N,3,6,6] x) => (float[N,2,6,6] y) { m = Mul(x, f) y = Conv(m, w) }",
                  f=channels([1, 2, 3]), w=(2, 3, 1, 1))  # fmt: skip
    assert ops(rescaled(model).model) == ["Conv"]


def test_a_shift_after_a_factor_stays():
    text = BLOCK.replace("t = Add(b, m)", "n = Add(m, k) t = Add(b, n)")
    result = rescaled(block(text=text))
    assert ops(result.model).count("Mul") == 1
    assert ops(result.model).count("Add") == 4


def test_small_rows_and_the_large_columns_that_read_them_come_to_the_size_of_the_others():
    w1, w2 = signed("w1", (4, 3, 1, 1)), signed("w2", (4, 4, 3, 3))
    w1[1] *= 1e-4
    b1 = signed("b1", (4,))
    b1[1] *= 1e-4
    w2[:, 1] *= 1e4
    text = """(float[N,3,6,6] x) => (float[N,4,6,6] y) {
        a = Conv(x, w1, b1) r = Relu(a) y = Conv<pads=[1,1,1,1]>(r, w2) }"""
    result = rescaled(parse(text, w1=w1, b1=b1, w2=w2))
    assert set(result.scales) == {"a", "r"}
    np.testing.assert_allclose(result.scales["r"][[0, 2, 3]], 1)
    assert 30 < result.scales["r"][1] < 1e4


def test_grouped_and_depthwise_layers_take_scales_up():
    text = """(float[N,3,6,6] x) => (float[N,2,6,6] y) {
        a = Conv(x, w1, b1) p = Relu(a) m = Mul(p, f)
        d = Conv<group=4, pads=[1,1,1,1]>(m, wd) s = Mul(d, d) r = Relu(s)
        e = Conv<group=2>(r, we) q = Relu(e) y = Conv(q, w3)
    }"""
    model = block(text=text, wd=(4, 1, 3, 3), we=(4, 2, 1, 1))
    assert ops(rescaled(model).model).count("Mul") == 1


READ_INSIDE = """(float[N,3,6,6] x, bool q) => (float[N,2,6,6] y) {
    a = Conv(x, w1, b1) r = Relu(a) m = Mul(r, f) c = Conv(r, w3) d = Conv(m, w4)
    e = If(q) <then_branch = t () => (float[N,4,6,6] inner) { inner = Relu(m) },
               else_branch = o () => (float[N,4,6,6] other) { other = Neg(m) }>
    h = Conv(e, w4) p = Add(c, d) y = Add(p, h)
}"""


@pytest.mark.parametrize("taken", [True, False])
def test_a_product_that_a_body_reads_goes_there_too(taken):
    model = parse(READ_INSIDE, **{**WEIGHTS, "f": channels(FACTOR), "w4": (2, 4, 1, 1)})
    result = rescale(analyze(model))
    values = {**feeds(parse(BLOCK, **WEIGHTS, f=channels(FACTOR), g=channels(ROOT))), "q": np.array(taken)}
    (before,), (after,) = run_plain(model, values), run_plain(result.model, values)
    np.testing.assert_allclose(after, before, atol=1e-4)


@pytest.mark.parametrize("shifted", ["h = Add(p, k)", "h = Identity(p)"])
@pytest.mark.parametrize("start", ["s = Identity(x)", "s = Relu(x)", "s = Conv<pads=[1,1,1,1]>(x, w4, b2)"])
def test_products_of_products_that_go(start, shifted):
    text = f"""(float[N,4,6,6] x) => (float[N,2,6,6] y) {{
        {start} m = Mul(s, f) c = Conv<pads=[1,1,1,1]>(m, w4, b2) p = Mul(m, g) {shifted}
        e = Conv<pads=[1,1,1,1]>(s, w4) t = Sum(c, h, e) q = Relu(t) y = Conv(q, w3)
    }}"""
    rescaled(block(text=text, w4=(4, 4, 3, 3)))

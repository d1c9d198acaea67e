import numpy as np
import onnx
import pytest

from onnxshallow.errors import UsageError
from onnxshallow.model.network import Network
from onnxshallow.model.shapes import infer_shapes, numpy_dtype, observe_shapes, tensor_info
from tests.graphs import frozen, parse
from tests.networks import build

CONV = "(float[{}] x) => (float[N,4,h,w] y) {{ z = Conv(x, w) y = Relu(z) }}"


def conv(sizes: str) -> onnx.ModelProto:
    return parse(CONV.format(sizes), w=(4, 3, 3, 3))


@pytest.mark.parametrize(
    ("elem_type", "dtype"),
    [
        (onnx.TensorProto.FLOAT, np.float32),
        (onnx.TensorProto.FLOAT16, np.float16),
        (onnx.TensorProto.INT64, np.int64),
    ],
)
def test_numpy_dtype(elem_type, dtype):
    assert numpy_dtype(elem_type) == dtype


@pytest.mark.parametrize("elem_type", [onnx.TensorProto.UNDEFINED, 9999])
def test_no_numpy_dtype(elem_type):
    assert numpy_dtype(elem_type) is None


def test_tensor_info():
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 3, None, 0])
    assert tensor_info(value).shape == ("N", 3, None, None)
    assert tensor_info(onnx.helper.make_empty_tensor_value_info("x")).shape is None


def test_open_batch_counts_as_one():
    for batch in ("N", "?", "1"):
        infos = infer_shapes(conv(f"{batch},3,8,8"))
        assert infos["x"].shape == (1, 3, 8, 8)
        assert infos["z"].shape == (1, 4, 6, 6)


def test_fixed_batch_stays():
    assert infer_shapes(conv("5,3,8,8"))["z"].shape == (5, 4, 6, 6)


def test_open_height_and_width_stay_open():
    network = Network(conv("N,3,H,W"))
    assert network.shape("z") == (1, 4, None, None)
    assert network.infos["x"].shape == (1, 3, "H", "W")


def test_open_sizes_can_be_given():
    assert Network(conv("N,3,H,W"), {"x": (1, 3, 10, 12)}).shape("z") == (1, 4, 8, 10)
    assert Network(conv("N,3,H,W"), {"x": (2, 3, 10, 12)}).shape("z") == (2, 4, 8, 10)


def test_sizes_for_an_input_without_a_shape():
    model = conv("N,3,8,8")
    model.graph.input[0].type.tensor_type.ClearField("shape")
    assert Network(model).shape("x") is None
    assert Network(model, {"x": (1, 3, 8, 8)}).shape("z") == (1, 4, 6, 6)


def test_sizes_that_do_not_fit():
    with pytest.raises(UsageError, match=r"names 'image', but the model's inputs are: x\."):
        infer_shapes(conv("N,3,8,8"), {"image": (1, 3, 8, 8)})
    with pytest.raises(UsageError, match="gives 3 sizes for input 'x', which has 4 axes"):
        infer_shapes(conv("N,3,8,8"), {"x": (1, 3, 8)})
    with pytest.raises(UsageError, match="gives 9 for axis 2 of input 'x', which the model fixes to 8"):
        infer_shapes(conv("N,3,8,8"), {"x": (1, 3, 9, 8)})


def test_the_model_is_not_changed():
    model = conv("N,3,H,W")
    before = frozen(model)
    infer_shapes(model, {"x": (1, 3, 8, 8)}, {"z": np.zeros((1, 4, 6, 6), np.float32)})
    assert frozen(model) == before


def test_wrong_value_info_is_not_believed():
    model = conv("N,3,8,8")
    model.graph.value_info.append(onnx.helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, [1, 4, 99, 99]))
    assert Network(model).shape("z") == (1, 4, 6, 6)


def test_wrong_output_shapes_are_not_believed():
    model = conv("N,3,8,8")
    shape = model.graph.output[0].type.tensor_type.shape
    shape.dim[2].dim_value = 99
    assert Network(model).shape("y") == (1, 4, 6, 6)


def test_large_initializers_keep_their_shapes():
    infos = infer_shapes(
        parse("(float[N,3,8,8] x) => (float[N,h] y) { f = Flatten(x) y = MatMul(f, w) }", w=(192, 20))
    )
    assert infos["w"].shape == (192, 20)
    assert infos["y"].shape == (1, 20)


def test_shapes_that_are_computed_from_constants():
    text = """(float[N,4,8,8] x) => (float[N,m,k] y) {
        a = Constant<value = int64[1] {2}>() b = Mul(a, a) minus = Constant<value = int64[1] {-1}>()
        zero = Constant<value = int64[1] {0}>() t = Concat<axis=0>(zero, b, minus) y = Reshape(x, t) }"""
    assert Network(parse(text)).shape("y") == (1, 4, 64)


def test_shapes_that_only_a_run_can_tell():
    text = """(float[1,4,8,8] x) => (float[n] y) {
        zero = Constant<value = int64[1] {-1}>() f = Reshape(x, zero)
        k = NonZero(x) c = Cast<to=1>(k) y = Relu(c) }"""
    network = Network(parse(text))
    assert network.shape("f") == (256,)
    assert network.shape("y") == (4, 0)


def test_custom_operators_leave_shapes_open():
    model = parse("(float[1,3] x) => (float[1,3] y) { z = mine.Thing(x) y = Relu(z) }", domains=["mine"])
    assert Network(model).shape("z") is None


def test_observing_needs_complete_inputs():
    model = conv("N,3,H,W")
    infos = infer_shapes(model)
    assert observe_shapes(model, infos, ["z"]) == infos


def test_observing_leaves_the_model_as_it_is():
    model = conv("1,3,8,8")
    before = frozen(model)
    infos = infer_shapes(model)
    assert observe_shapes(model, infos, ["z", "y"])["z"].shape == (1, 4, 6, 6)
    assert frozen(model) == before


def test_sequence_inputs_do_not_disturb():
    text = """(seq(float[3]) s, float[1,3] x) => (float[1,3] y, float[3] t) {
        y = Relu(x) t = ConcatFromSequence<axis=0>(s) }"""
    network = Network(parse(text))
    assert network.shape("y") == (1, 3)
    assert network.shape("s") is None


def test_functions_are_looked_into():
    model = parse(
        "(float[N,3] x) => (float[N,3] y) { z = mine.twice(x) y = Relu(z) }",
        domains=["mine"],
        functions='<domain: "mine", opset_import: ["": 17]> twice (a) => (b) { b = Add(a, a) }',
    )
    assert Network(model).shape("z") == (1, 3)


def test_old_models_with_weights_as_inputs():
    model = parse(CONV.format("N,3,8,8"), opset=8, ir=3, as_inputs=True, w=(4, 3, 3, 3))
    assert Network(model).shape("z") == (1, 4, 6, 6)


def test_an_input_that_is_an_output_too_has_the_batch_of_one():
    model = build(
        "(float[N,3,6,6] x) => (float[N,4,6,6] y, float[N,3,6,6] x) { y = Conv<pads=[1,1,1,1]>(x, w) }",
        w=(4, 3, 3, 3),
    )
    infos = infer_shapes(model)
    assert infos["y"].shape == (1, 4, 6, 6)
    assert infos["x"].shape == (1, 3, 6, 6)

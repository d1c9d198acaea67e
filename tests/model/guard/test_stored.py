import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxshallow.errors import ModelError
from onnxshallow.model.guard.stored import require_readable_names, require_sound_tensors
from tests.graphs import parse


def model_with(tensor):
    """A model one of whose initializers is `tensor`."""
    model = parse("(float[N,3] x) => (float[N,3] y) { y = Relu(x) }")
    model.graph.initializer.append(tensor)
    return model


def check(tensor):
    require_sound_tensors(model_with(tensor), "a.onnx", 1 << 20)


def tensor(dims=(2, 3), data_type=TensorProto.FLOAT, **fields):
    return TensorProto(name="w", dims=dims, data_type=data_type, **fields)


KINDS = [kind for kind in TensorProto.DataType.values() if kind not in (TensorProto.UNDEFINED, TensorProto.STRING)]


@pytest.mark.parametrize("kind", KINDS, ids=TensorProto.DataType.Name)
@pytest.mark.parametrize("count", [5, 4, 0])
def test_sound_tensors_of_every_type_pass(kind, count):
    values = np.ones(count)
    check(helper.make_tensor("w", kind, [count], values))
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    check(numpy_helper.from_array(values.astype(dtype), "w"))


def test_text_passes():
    check(helper.make_tensor("w", TensorProto.STRING, [2], [b"a", b"\xff"]))


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (tensor(raw_data=bytes(23)), r"of shape 2x3, for which 24 bytes are needed, but holds 23"),
        (tensor(raw_data=bytes(28)), r"but holds 28"),
        (tensor(float_data=[1.0] * 5), r"6 values in float_data are needed, but holds 5"),
        (tensor(int32_data=[1] * 6), r"6 values in float_data are needed, but holds 0"),
        (tensor(), r"but holds 0"),
        (tensor((2**40, 2**40), raw_data=bytes(24)), r"but holds 24"),
        (tensor((2**32, 2**32)), r"but holds 0"),
        (tensor((-1, 3), raw_data=bytes(24)), r"has the shape \[-1, 3\], which is impossible"),
        (tensor((1,) * 65, raw_data=bytes(4)), r"has 65 axes; the limit is 64"),
        (tensor(data_type=99, raw_data=bytes(24)), r"unknown element type 99"),
        (tensor(data_type=0, raw_data=bytes(24)), r"unknown element type 0"),
    ],
)
def test_tensors_that_are_not_what_they_say(broken, message):
    with pytest.raises(ModelError, match=rf"^Tensor 'w' of a.onnx .*{message}"):
        check(broken)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("raw", [True, False])
def test_nan_is_refused_and_infinity_is_not(dtype, raw):
    for value, sound in ((np.nan, False), (np.inf, True), (-np.inf, True)):
        values = np.array([1, value, np.inf], dtype)
        kind = helper.np_dtype_to_tensor_dtype(values.dtype)
        made = numpy_helper.from_array(values, "w") if raw else helper.make_tensor("w", kind, [3], values)
        if sound:
            check(made)
        else:
            with pytest.raises(ModelError, match=r"^Weight 'w' of a.onnx holds NaN"):
                check(made)


@pytest.mark.parametrize(("bits", "sound"), [(0x7F80, True), (0xFF80, True), (0x7FC0, False), (0xFFC1, False)])
def test_nan_in_bfloat16(bits, sound):
    made = tensor((2,), TensorProto.BFLOAT16, raw_data=np.array([0x3F80, bits], "<u2").tobytes())
    if sound:
        check(made)
    else:
        with pytest.raises(ModelError, match="holds NaN"):
            check(made)


def test_tensors_in_bodies_and_functions_are_checked():
    broken = tensor(raw_data=bytes(5))
    node = helper.make_node("Constant", [], ["k"], value=broken)
    body = helper.make_graph([node], "b", [], [helper.make_tensor_value_info("k", TensorProto.FLOAT, None)])
    model = parse("(float[N,3] x) => (float[N,3] y) { y = Relu(x) }")
    model.graph.node.append(helper.make_node("If", ["q"], ["z"], then_branch=body, else_branch=body))
    with pytest.raises(ModelError, match="but holds 5"):
        require_sound_tensors(model, "a.onnx", 1 << 20)
    del model.graph.node[-1]
    model.functions.append(helper.make_function("own", "f", [], ["k"], [node], [helper.make_opsetid("", 17)]))
    with pytest.raises(ModelError, match="but holds 5"):
        require_sound_tensors(model, "a.onnx", 1 << 20)


@pytest.mark.parametrize(
    ("dims", "indices", "message"),
    [
        ([4, 5], [[0, 1], [3, 4]], None),
        ([4, 5], [0, 19], None),
        ([4, 5], [0, 20], "outside its shape"),
        ([4, 5], [-1, 3], "outside its shape"),
        ([4, 5], [[0, 5], [1, 1]], "outside its shape"),
        ([2**20, 2**20], [0, 1], "raise --max-tensor"),
        ([-4, 5], [0, 1], "impossible"),
    ],
)
def test_sparse_tensors(dims, indices, message):
    model = parse("(float[N,3] x) => (float[N,3] y) { y = Relu(x) }")
    values = numpy_helper.from_array(np.ones(2, np.float32), "w")
    places = numpy_helper.from_array(np.array(indices), "i")
    model.graph.sparse_initializer.append(onnx.SparseTensorProto(values=values, indices=places, dims=dims))
    if message is None:
        require_sound_tensors(model, "a.onnx", 1 << 20)
    else:
        with pytest.raises(ModelError, match=message):
            require_sound_tensors(model, "a.onnx", 1 << 20)


@pytest.mark.parametrize("old", [b"Relu", b"long_output"])
def test_names_that_are_no_text(old):
    model = parse("(float[N,3] x) => (float[N,3] long_output) { long_output = Relu(x) }")
    require_readable_names(model, "a.onnx")
    broken = onnx.ModelProto.FromString(model.SerializeToString().replace(old, b"\xff" * len(old)))
    with pytest.raises(ModelError, match=r"The name b'.*' in a.onnx is no valid UTF-8"):
        require_readable_names(broken, "a.onnx")


def test_notes_may_hold_anything():
    model = parse("(float[N,3] x) => (float[N,3] y) { y = Relu(x) }")
    model.doc_string = "grossartig"
    broken = model.SerializeToString().replace(b"grossartig", b"gro\xdfartig!")
    require_readable_names(onnx.ModelProto.FromString(broken), "a.onnx")

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onnxshallow.model.session import Session
from onnxshallow.model.weights import byte_size, is_apart, keep_apart, raw_pieces, value_of, with_relative_locations
from tests.graphs import feeds, parse, run_plain, signed

GRAPH = "(float[N,3,8,8] x) => (float[N,4,8,8] y) { h = Conv(x, w, b) y = Conv(h, v) }"


def model() -> onnx.ModelProto:
    return parse(GRAPH, w=(40, 3, 1, 1), b=(40,), v=(4, 40, 1, 1))


def apart(folder, *, offset: int = 64) -> onnx.ModelProto:
    """`model()` with two of its tensors in files, one of them in a folder below."""
    result = model()
    (folder / "below").mkdir(exist_ok=True)
    for position, file in ((0, folder / "w.bin"), (2, folder / "below" / "v.bin")):
        tensor = result.graph.initializer[position]
        file.write_bytes(b"?" * offset + numpy_helper.to_array(tensor).tobytes() + b"?")
        keep_apart(tensor, file, offset)
    return result


def test_values_are_the_same_wherever_they_lie(tmp_path):
    light = apart(tmp_path)
    assert [is_apart(tensor) for tensor in light.graph.initializer] == [True, False, True]
    for here, there in zip(model().graph.initializer, light.graph.initializer, strict=True):
        np.testing.assert_array_equal(value_of(there), value_of(here))
        assert not value_of(there).flags.writeable
        assert b"".join(raw_pieces(there)) == b"".join(raw_pieces(here))


def test_long_values_come_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr("onnxshallow.model.weights._PIECE", 100)
    pieces = list(raw_pieces(apart(tmp_path).graph.initializer[0]))
    assert [len(piece) for piece in pieces] == [100] * 4 + [80]


def test_a_file_that_has_become_shorter(tmp_path):
    tensor = apart(tmp_path).graph.initializer[0]
    (tmp_path / "w.bin").write_bytes(b"?" * 100)
    with pytest.raises(EOFError, match=r"w\.bin has become shorter"):
        list(raw_pieces(tensor))


def test_the_size_counts_all_weights(tmp_path):
    light = apart(tmp_path)
    assert byte_size(light) - light.ByteSize() == 4 * (40 * 3 + 4 * 40)
    assert byte_size(model()) == model().ByteSize()


def test_locations_are_relative_to_a_common_folder(tmp_path):
    original = apart(tmp_path)
    light, folder = with_relative_locations(original)
    assert folder == tmp_path
    assert [t.external_data[0].value for t in light.graph.initializer if is_apart(t)] == ["w.bin", "below/v.bin"]
    assert original.graph.initializer[0].external_data[0].value == str(tmp_path / "w.bin"), "the argument was changed"
    inline = model()
    assert with_relative_locations(inline) == (inline, None)


@pytest.mark.parametrize("optimize", [True, False])
def test_sessions_read_values_from_their_files(tmp_path, optimize):
    values = feeds(model())
    (expected,) = run_plain(model(), values)
    (actual,) = Session(apart(tmp_path), optimize=optimize).run(values)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("data_type", [onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE])
def test_other_element_types(tmp_path, data_type):
    values = signed("t", (5, 7)).astype(onnx.helper.tensor_dtype_to_np_dtype(data_type))
    tensor = numpy_helper.from_array(values, "t")
    (tmp_path / "t.bin").write_bytes(values.tobytes())
    keep_apart(tensor, tmp_path / "t.bin", 0)
    assert value_of(tensor).dtype == values.dtype
    np.testing.assert_array_equal(value_of(tensor).astype(np.float64), values.astype(np.float64))

import numpy as np
import pytest

from onnxshallow.errors import ModelError
from onnxshallow.runtime.whole import join_batches, run_batches
from tests.networks import assert_near, build, chain, run_exactly, signed


def test_batches_are_joined_output_by_output():
    first, second = [signed((2, 3)), signed((1, 3))], [np.arange(2), np.arange(1)]
    joined = join_batches([first, second])
    assert [array.shape for array in joined] == [(3, 3), (3,)]


def test_outputs_without_a_batch_axis_become_one_row_a_batch():
    assert join_batches([[np.float32(1), np.float32(2)]])[0].tolist() == [1, 2]


def test_a_model_is_run_on_all_batches():
    x = signed((10, 3, 8, 8))
    (output,) = run_batches(chain(), [{"x": x[:4]}, {"x": x[4:8]}, {"x": x[8:]}], threads=1)
    assert_near(output, run_exactly(chain(), {"x": x})[0])


def test_every_output_is_returned_in_the_order_of_the_graph():
    model = build("(float[N,3] x) => (float[N,3] z, float[N,3] y) { y = Relu(x) z = Neg(y) }")
    x = signed((2, 3))
    z, y = run_batches(model, [{"x": x[:1]}, {"x": x[1:]}], threads=1)
    np.testing.assert_array_equal(y, np.maximum(x, 0))
    np.testing.assert_array_equal(z, -np.maximum(x, 0))


def test_an_input_of_the_wrong_shape_is_a_model_error():
    with pytest.raises(ModelError, match="onnxruntime fails"):
        run_batches(chain(), [{"x": signed((2, 4, 8, 8))}], threads=1)

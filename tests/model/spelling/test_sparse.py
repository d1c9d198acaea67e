import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onnxshallow.analysis import analyze
from onnxshallow.model.spelling import plainly_spelled
from onnxshallow.model.spelling.sparse import with_dense_weights
from tests.graphs import assert_same_function, parse

TEXT = "(float[N,3,6,6] x) => (float[N,4,6,6] y) { h = Conv(x, w) r = Relu(h) y = Conv(r, v) }"


def stored_sparsely(linear: bool) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """A model whose second kernel is stored by places, and the same with plain weights."""
    dense = parse(TEXT, w=(4, 3, 1, 1), v=(4, 4, 1, 1))
    tensor = dense.graph.initializer[1]
    values = numpy_helper.to_array(tensor).copy()
    values[np.abs(values) < 0.5] = 0
    tensor.CopyFrom(numpy_helper.from_array(values, "v"))
    model = onnx.ModelProto.FromString(dense.SerializeToString())
    del model.graph.initializer[1]
    places = np.flatnonzero(values) if linear else np.argwhere(values)
    sparse = model.graph.sparse_initializer.add()
    sparse.values.CopyFrom(numpy_helper.from_array(values[values != 0], "v"))
    sparse.indices.CopyFrom(numpy_helper.from_array(places.astype(np.int64), "v_places"))
    sparse.dims.extend(values.shape)
    return model, dense


@pytest.mark.parametrize("linear", [True, False])
def test_sparse_weights_are_the_tensors_that_they_stand_for(linear):
    model, dense = stored_sparsely(linear)
    plain = plainly_spelled(model)
    assert_same_function(plain.model, dense)
    assert len(analyze(plain.model).layers) == 2
    assert plain.restored(plain.model) == model


def test_weights_that_were_changed_stay_plain():
    model, _ = stored_sparsely(linear=True)
    plain = plainly_spelled(model)
    made = onnx.ModelProto.FromString(plain.model.SerializeToString())
    made.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.ones((4, 4, 1, 1), np.float32), "v"))
    assert plain.restored(made) == made


def test_other_models_are_left_alone():
    _, dense = stored_sparsely(linear=True)
    assert with_dense_weights(dense) is dense

"""Damages to weights and to what a model says of its tensors."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tests.damage.table import any_node, any_weight, damage

HUGE = (2**31, 2**40, 2**62, 2**63 - 1)


@damage(certain=True)
def huge_weight(model, random):
    tensor = any_weight(model, random)
    tensor.dims[random.randrange(len(tensor.dims))] = random.choice(HUGE)
    return model


@damage(certain=True)
def negative_size(model, random):
    tensor = any_weight(model, random)
    tensor.dims[random.randrange(len(tensor.dims))] = random.choice((-1, -3, -(2**63)))
    return model


@damage(certain=True)
def overflowing_weight(model, random):
    """The product of the sizes is 0 or small modulo 2**64."""
    tensor = any_weight(model, random)
    tensor.dims[:] = random.choice(([2**32, 2**32], [2**16] * 4, [2**62, 4], [2**63 - 1, 2**63 - 1], [2**33, 2**31]))
    return model


@damage(certain=True)
def too_many_axes(model, random):
    tensor = any_weight(model, random)
    tensor.dims.extend([1] * random.choice((65, 1000, 100_000)))
    return model


@damage(certain=True)
def short_weight(model, random):
    tensor = any_weight(model, random)
    tensor.raw_data = tensor.raw_data[: random.randrange(len(tensor.raw_data))]
    return model


@damage(certain=True)
def long_weight(model, random):
    any_weight(model, random).raw_data += random.randbytes(random.choice((1, 4, 1000)))
    return model


@damage(certain=True)
def no_values(model, random):
    any_weight(model, random).ClearField("raw_data")
    return model


@damage(certain=True)
def values_in_the_wrong_field(model, random):
    tensor = any_weight(model, random)
    values = numpy_helper.to_array(tensor).ravel()
    tensor.ClearField("raw_data")
    if random.random() < 0.5:
        tensor.int64_data.extend([1] * len(values))
    else:
        tensor.float_data.extend(values[:-1].tolist())
    return model


@damage()
def other_element_type(model, random):
    any_weight(model, random).data_type = random.choice(list(TensorProto.DataType.values()))
    return model


@damage(certain=True)
def unknown_element_type(model, random):
    any_weight(model, random).data_type = random.choice((0, 99, -1, 2**31 - 1))
    return model


@damage()
def converted_weight(model, random):
    """Sound by itself, but of another type than the convolution takes."""
    tensor = any_weight(model, random)
    dtype = random.choice((np.float64, np.int64, np.int8, np.bool_, np.complex64, np.float16))
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(dtype), tensor.name))
    return model


@damage()
def text_weight(model, random):
    tensor = any_weight(model, random)
    values = np.array([b"\x1b[31mred"] * int(np.prod(tensor.dims)), dtype=object).reshape(list(tensor.dims))
    tensor.CopyFrom(helper.make_tensor(tensor.name, TensorProto.STRING, list(tensor.dims), values.ravel().tolist()))
    return model


@damage()
def reshaped_weight(model, random):
    """As many values in another shape."""
    tensor = any_weight(model, random)
    count = int(np.prod(tensor.dims))
    shapes = [[count], [1, count], [count, 1], [1, 1, 1, count], [count, 1, 1, 1], list(tensor.dims)[::-1]]
    tensor.dims[:] = random.choice([shape for shape in shapes if shape != list(tensor.dims)])
    return model


@damage()
def resized_weight(model, random):
    """Sound by itself, but with another number of channels or pixels."""
    tensor = any_weight(model, random)
    shape = list(tensor.dims)
    shape[random.randrange(len(shape))] += random.choice((-1, 1, 5))
    values = np.ones(np.maximum(shape, 0), np.float32)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return model


@damage()
def no_elements(model, random):
    tensor = any_weight(model, random)
    shape = list(tensor.dims)
    shape[random.randrange(len(shape))] = 0
    tensor.CopyFrom(numpy_helper.from_array(np.zeros(shape, np.float32), tensor.name))
    return model


@damage()
def scalar_weight(model, random):
    tensor = any_weight(model, random)
    tensor.CopyFrom(numpy_helper.from_array(np.float32(1), tensor.name))
    return model


def _spoil(tensor, random, value):
    values = numpy_helper.to_array(tensor).copy()
    for _ in range(random.choice((1, 3, values.size))):
        values.flat[random.randrange(values.size)] = value
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


@damage(certain=True)
def nan_weight(model, random):
    _spoil(any_weight(model, random), random, np.nan)
    return model


@damage(certain=True)
def nan_in_typed_field(model, random):
    tensor = any_weight(model, random)
    values = numpy_helper.to_array(tensor).ravel().tolist()
    values[random.randrange(len(values))] = float("nan")
    tensor.ClearField("raw_data")
    tensor.float_data.extend(values)
    return model


@damage()
def infinite_weight(model, random):
    _spoil(any_weight(model, random), random, random.choice((np.inf, -np.inf)))
    return model


@damage()
def enormous_weight(model, random):
    """Finite, but what is computed with it overflows."""
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.raw_data = (numpy_helper.to_array(tensor) * np.float32(1e30)).tobytes()
    return model


@damage(certain=True)
def huge_sparse_weight(model, random):
    """One value that stands for a tensor of terabytes."""
    tensor = any_weight(model, random)
    name, kept = tensor.name, [t for t in model.graph.initializer if t.name != tensor.name]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    sparse = model.graph.sparse_initializer.add(dims=random.choice(([2**40], [2**20, 2**20], [2**32, 2**32], [-1])))
    sparse.values.CopyFrom(numpy_helper.from_array(np.ones(1, np.float32), name))
    sparse.indices.CopyFrom(numpy_helper.from_array(np.zeros(1, np.int64), name + "_indices"))
    return model


@damage(certain=True)
def sparse_weight_out_of_range(model, random):
    tensor = any_weight(model, random)
    kept = [t for t in model.graph.initializer if t.name != tensor.name]
    dims, name = list(tensor.dims), tensor.name
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    sparse = model.graph.sparse_initializer.add(dims=dims)
    sparse.values.CopyFrom(numpy_helper.from_array(np.ones(1, np.float32), name))
    place = random.choice((-1, 2**40, 2**62))
    sparse.indices.CopyFrom(numpy_helper.from_array(np.array([place]), name + "_indices"))
    return model


@damage(certain=True)
def missing_weight(model, random):
    index = random.randrange(len(model.graph.initializer))
    del model.graph.initializer[index]
    return model


@damage(certain=True)
def huge_input(model, random):
    dims = model.graph.input[0].type.tensor_type.shape.dim
    dims[random.choice((2, 3))].dim_value = random.choice(HUGE)
    return model


@damage(certain=True)
def huge_input_in_all(model, random):
    """Each size is possible, their product is not."""
    dims = model.graph.input[0].type.tensor_type.shape.dim
    dims[2].dim_value = dims[3].dim_value = random.choice((30_000, 2**20, 2**31, 2**33))
    return model


@damage()
def other_input_type(model, random):
    model.graph.input[0].type.tensor_type.elem_type = random.choice((0, 99, *TensorProto.DataType.values()))
    return model


@damage()
def other_input_shape(model, random):
    shape = model.graph.input[0].type.tensor_type.shape
    sizes = random.choice(([], [5], [1, 3], [1, 3, 0, 8], [1, 3, -8, 8], [1, 7, 8, 8], [1, 3, 1, 1], [2] * 70))
    del shape.dim[:]
    for size in sizes:
        shape.dim.add(dim_value=size)
    return model


@damage(certain=True)
def input_without_type(model, random):
    model.graph.input[0].ClearField("type")
    return model


@damage(certain=True, seen=False)
def input_of_another_kind(model, random):
    value = model.graph.input[0]
    element = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    make = random.choice((helper.make_sequence_type_proto, helper.make_optional_type_proto))
    value.type.CopyFrom(make(element))
    return model


@damage()
def other_output(model, random):
    kind = model.graph.output[0].type.tensor_type
    if random.random() < 0.5:
        kind.elem_type = random.choice((0, 99, TensorProto.INT64, TensorProto.STRING, TensorProto.DOUBLE))
    else:
        kind.shape.dim.add(dim_value=random.choice((7, -1, 2**62)))
    return model


@damage()
def wrong_inner_shape(model, random):
    name = any_node(model, random).output[0]
    sizes = random.choice(([1], [2**40, 2**40], [-1, -1], [1, 3, 5, 7]))
    model.graph.value_info.append(helper.make_tensor_value_info(name, random.choice((1, 7, 99)), sizes))
    return model

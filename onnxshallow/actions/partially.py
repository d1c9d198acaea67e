"""Write a partial activation as ONNX nodes, in the form that fits are made on.

    z -> act --------------------------------> Where(kept, act(z), polynomial) -> y
    z -> Mul(square), Add(linear), Mul(z), Add(constant)

Channels stay in their order, so that tensors can be compared with the original's. It computes everything twice;
`onnxshallow.actions.packing` writes what saves work.
"""

from collections.abc import Iterator

import numpy as np
import onnx_graphsurgeon as gs

from onnxshallow.analysis.partial import Partial
from onnxshallow.model.surgery import Workbench

__all__ = ["write_partial"]


def write_partial(bench: Workbench, partial: Partial, *, name: str, dtype: np.dtype, rank: int) -> None:
    """Let the activation that makes `partial.output` do so for the elements that keep it only.

    The activation stays as it is but for the name of the tensor that it makes.

    Args:
        bench: the graph under edit.
        partial: what to write.
        name: the stem of the new names.
        dtype: element type of the tensors.
        rank: number of spatial axes.
    """
    tensor = bench.tensor(partial.output)
    (activation,) = tensor.inputs
    activation.outputs = [gs.Variable(bench.fresh(f"{name}_active"), dtype)]
    shape = (1, *partial.kept.shape, *(1,) * (rank + 1 - partial.kept.ndim))
    source = bench.tensor(partial.source)
    nodes = [] if partial.is_plain else list(_polynomial(bench, partial, source, name, dtype, shape))
    other = nodes[-1].outputs[0] if nodes else source
    kept = bench.constant(f"{name}.kept", partial.kept.reshape(shape))
    inputs = [kept, *activation.outputs, other]
    nodes.append(gs.Node("Where", bench.fresh_node(f"{name}/partial"), {}, inputs, [tensor]))
    place = next(index for index, node in enumerate(bench.graph.nodes) if node is activation)
    bench.graph.nodes[place + 1 : place + 1] = nodes


def _polynomial(
    bench: Workbench, partial: Partial, source: gs.Tensor, name: str, dtype: np.dtype, shape: tuple[int, ...]
) -> Iterator[gs.Node]:
    """(square * z + linear) * z + constant."""
    square, linear, constant = (
        bench.constant(f"{name}.{what}", getattr(partial, what).reshape(shape).astype(dtype))
        for what in ("square", "linear", "constant")
    )
    slope = linear
    if np.any(partial.square):
        steep, tilted = (gs.Variable(bench.fresh(f"{name}_{what}"), dtype) for what in ("steep", "tilted"))
        yield gs.Node("Mul", bench.fresh_node(f"{name}/steep"), {}, [source, square], [steep])
        yield gs.Node("Add", bench.fresh_node(f"{name}/tilted"), {}, [steep, linear], [tilted])
        slope = tilted
    product, made = (gs.Variable(bench.fresh(f"{name}_{what}"), dtype) for what in ("product", "polynomial"))
    yield gs.Node("Mul", bench.fresh_node(f"{name}/product"), {}, [source, slope], [product])
    yield gs.Node("Add", bench.fresh_node(f"{name}/polynomial"), {}, [product, constant], [made])

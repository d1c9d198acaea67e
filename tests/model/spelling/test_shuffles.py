import numpy as np
import pytest

from onnxshallow.model.spelling import plainly_spelled
from tests.graphs import assert_same_function, parse

SPELLINGS = {
    "shuffle": ([0, 2, 4, 4, 6], [0, 2, 1, 3, 4], [0, 8, 4, 6], ["Sin", "Gather", "Abs"]),
    "shuffle, open batch": ([-1, 4, 2, 4, 6], [0, 2, 1, 3, 4], [-1, 8, 4, 6], ["Sin", "Gather", "Abs"]),
    "pixels of blocks, channels first": (
        [0, 8, 2, 2, 3, 2], [0, 1, 3, 5, 2, 4], [0, 32, 2, 3], ["Sin", "SpaceToDepth", "Gather", "Abs"],
    ),
    "pixels of blocks, blocks first": (
        [-1, 8, 2, 2, 3, 2], [0, 3, 5, 1, 2, 4], [-1, 32, 2, 3], ["Sin", "SpaceToDepth", "Identity", "Abs"],
    ),
}  # fmt: skip


def network(opened, perm, closed):
    axes = ",".join("abcd"[: len(closed)])
    body = f"h = Sin(x) o = Reshape(h, opened) t = Transpose<perm={perm}>(o) c = Reshape(t, closed) y = Abs(c)"
    targets = dict(opened=np.array(opened), closed=np.array(closed))
    return parse(f"(float[N,8,4,6] x) => (float[{axes}] y) {{ {body} }}", **targets)


@pytest.mark.parametrize(("opened", "perm", "closed", "operators"), SPELLINGS.values(), ids=SPELLINGS)
def test_shuffles_are_one_gather_and_are_put_back(opened, perm, closed, operators):
    model = network(opened, perm, closed)
    plain = plainly_spelled(model)
    assert [node.op_type for node in plain.model.graph.node] == operators
    assert_same_function(plain.model, model)
    assert plain.restored(plain.model) == model


@pytest.mark.parametrize(
    ("opened", "perm", "closed"),
    [
        ([0, 8, 24], [0, 2, 1], [0, 24, 2, 4]),  # pixels become channels
        ([0, 8, 6, 4], [0, 1, 3, 2], [0, 8, 4, 6]),  # pixels are turned
        ([2, -1, 4, 6], [1, 0, 2, 3], [-1, 8, 4, 6]),  # across the batch, which is of two samples
        ([0, 2, 2, 2, 4, 6], [0, 1, 3, 2, 4, 5], [0, 2, 4, 24]),  # its shape is another
    ],
)
def test_what_moves_other_things_stays(opened, perm, closed):
    plain = plainly_spelled(network(opened, perm, closed))
    assert "Gather" not in {node.op_type for node in plain.model.graph.node}

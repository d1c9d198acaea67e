import numpy as np
import pytest

from onnxshallow.errors import ModelError
from onnxshallow.private.engine.lowering import lower, with_batch
from onnxshallow.private.engine.moves import MOVES
from tests.networks import build
from tests.private.engine.cases import network


def test_copies_are_moves_and_other_resizes_are_public_matrices():
    nearest, linear = (lower(with_batch(network(name), 1)) for name in ("nearest", "linear"))
    assert {step.op for step in nearest.steps} == {"take"}
    assert {step.op for step in linear.steps} == {"contract"}
    assert len(linear.public) == 2
    assert linear.weights == {}


def test_a_slice_may_end_beyond_the_axis():
    (step,) = lower(with_batch(network("slice to the end"), 1)).steps
    assert (step.settings["starts"], step.settings["ends"]) == ([0, 1, 0, 3], [1, 4, 6, 6])


def test_averages_at_a_border_are_divided_by_numbers_that_all_may_know():
    program = lower(with_batch(network("average pool"), 1))
    assert [step.op for step in program.steps] == ["sum_pool", "multiply"]
    assert len(program.public) == 1
    np.testing.assert_allclose(next(iter(program.public.values()))[0], [1 / 4, 1 / 6, 1 / 6])


@pytest.mark.parametrize("node", ["Gather<axis=1>(x, i)", "MaxPool<kernel_shape=[2,2], dilations=[2,2]>(x)"])
def test_what_no_move_is_known_for_is_refused(node):
    text = "(float[1,4,6,6] x, int64[2] i) => (float[1,C,H,W] y) { y = " + node + " }"
    with pytest.raises(ModelError, match=node.split("<")[0]):
        lower(build(text))


def test_every_move_is_an_operator_of_onnx():
    import onnx

    assert all(onnx.defs.has(name) for name in MOVES)

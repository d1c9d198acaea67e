"""The forms that activations kept in part are written in: of the activation itself, or of a PRelu."""

import numpy as np
import pytest

from onnxshallow.analysis import analyze
from onnxshallow.model.spelling import plainly_spelled
from onnxshallow.private.operations import count_operations
from onnxshallow.rewriting.lowering.lower import lower
from tests.graphs import assert_same_function, ops, parse
from tests.networks import RESIDUAL, RESIDUAL_WEIGHTS
from tests.partials import intermediate, partial
from tests.rewriting.lowering.lower_cases import (
    CHAIN,
    KEPT,
    MIXED,
    MOBILE,
    MOBILE_WEIGHTS,
    WEIGHTS,
    chain,
    lowered,
    other,
    residual_partials,
    value,
)


@pytest.mark.parametrize("form", ["split", "prelu"])
@pytest.mark.parametrize("activation", ["LeakyRelu<alpha=0.2>(h)", "PRelu(h, slope)", "PRelu(h, one)"])
def test_activations_with_slopes(activation, form):
    slope, one = np.linspace(-0.5, 0.5, 5, dtype=np.float32).reshape(5, 1, 1), np.full(1, 0.2, np.float32)
    model = parse(CHAIN.replace("Relu(h)", activation), **WEIGHTS, slope=slope, one=one)
    result = lowered(model, [partial("h", "r", KEPT, **MIXED)], form)
    assert ops(result).count("PRelu") == int("PRelu" in activation or form == "prelu")


def test_clips_stay_clips_in_either_form():
    model = parse(MOBILE, **MOBILE_WEIGHTS)
    result = lowered(model, [partial("a", "r", KEPT, linear=0.5)], "prelu")
    assert "PRelu" not in ops(result)
    assert [node.name for node in result.graph.node if node.op_type == "Clip"] == ["", ""]


def test_the_prelu_form_moves_nothing():
    result = lowered(chain(), [partial("h", "r", KEPT, linear=0.5, constant=0.1)], "prelu")
    assert ops(result) == ["Conv", "PRelu", "Conv"]
    assert value(result, other(result, "PRelu").input[1]).ravel().tolist() == [0, 1, 0, 1, 1]
    assert {"w2", "b2"} <= {tensor.name for tensor in result.graph.initializer}


def test_the_prelu_form_of_a_residual_sum_needs_no_factors():
    masks = [[1, 0, 1, 0, 1, 0]] * 5
    result = lowered(
        parse(RESIDUAL, **RESIDUAL_WEIGHTS), residual_partials(*masks, linear=0.5, constant=0.1), "prelu"
    )
    assert (ops(result).count("Mul"), ops(result).count("PRelu")) == (0, 5)


LOWEST = float(np.finfo(np.float32).min)
PLACES = np.random.default_rng(3).random((5, 6, 6)) < 0.4


@pytest.mark.parametrize("form", ["split", "prelu"])
def test_single_places_take_a_slope_each(form):
    result = lowered(chain(), [partial("h", "r", PLACES, linear=0.5, constant=0.1)], form)
    assert ops(result) == ["Conv", "Mul", "Add", "PRelu", "Conv"]
    assert ops(lowered(chain(), [partial("h", "r", PLACES, linear=1.0)], form)) == ["Conv", "PRelu", "Conv"]


def test_single_places_that_are_squared_are_gathered():
    square = np.where(np.arange(180).reshape(5, 6, 6) % 3 == 0, 0.2, 0.0)
    each = partial("h", "r", PLACES, square=square, linear=0.5, constant=0.1)
    result = lowered(chain(), [each])
    assert count_operations(analyze(result)).squares == np.count_nonzero(each.squared)


def test_slopes_of_one_are_no_comparisons_when_the_result_is_read_again():
    once = lowered(chain(), [partial("h", "r", PLACES, linear=1.0)], "prelu")
    (site,) = analyze(once).sites
    assert (site.size, site.channels, site.kind) == (np.count_nonzero(PLACES), 5, "prelu")


def test_the_max_form_moves_nothing():
    result = lowered(chain(), [partial("h", "r", KEPT, linear=0.5, constant=0.1)], "max")
    assert ops(result) == ["Conv", "Max", "Conv"]
    floors = value(result, other(result, "Max").input[1]).ravel().tolist()
    assert floors == [0, LOWEST, 0, LOWEST, LOWEST]
    assert {"w2", "b2"} <= {tensor.name for tensor in result.graph.initializer}


def test_a_max_counts_what_it_keeps_and_compares_all_when_it_is_read_again():
    result = lowered(chain(), [partial("h", "r", KEPT, linear=0.5, constant=0.1)], "max")
    analysis = analyze(plainly_spelled(result).model)
    (site,) = analysis.sites
    assert (site.kind, site.size, site.idle, site.channels) == ("max", 2 * 36, 3 * 36, 5)
    assert (analysis.cost.relus, analysis.cost.comparisons) == (2 * 36, 5 * 36)
    assert count_operations(analysis).comparisons == 5 * 36


@pytest.mark.parametrize("form", ["split", "prelu", "max"])
def test_a_max_can_be_kept_in_part_once_more(form):
    once = lowered(chain(), [partial("h", "r", KEPT, linear=0.5, constant=0.1)], "max")
    site = analyze(once).sites[0]
    again = partial(site.source, site.output, [0, 0, 1, 0, 0], linear=0.5)
    result = lowered(once, [again], form, relus=36)
    assert ops(result) == ["Conv", "Max", "Conv"]
    assert np.count_nonzero(value(result, other(result, "Max").input[1]) == 0) == 1


def test_a_max_of_which_some_channels_become_squares():
    once = lowered(chain(), [partial("h", "r", [1, 1, 1, 0, 0], linear=1.0)], "max")
    site = analyze(once).sites[0]
    again = partial(site.source, site.output, [1, 0, 0, 1, 0], square=0.2, linear=0.5)
    result = lowered(once, [again], "max", relus=36)
    assert ops(result).count("Max") == ops(result).count("Mul") == 1


def test_sites_with_squares_are_split_in_the_max_form():
    result = lowered(chain(), [partial("h", "r", KEPT, **MIXED)], "max")
    assert ops(result) == ["Conv", "Split", "Relu", "Mul", "Add", "Concat", "Conv"]


@pytest.mark.parametrize("activation", ["LeakyRelu<alpha=0.2>(h)", "PRelu(h, slope)", "Clip(h, zero, six)"])
def test_other_activations_than_relu_are_split_in_the_max_form(activation):
    constants = {"slope": np.full((5, 1, 1), 0.2, np.float32), "zero": np.float32(0), "six": np.float32(6)}
    read = {name: np.asarray(each) for name, each in constants.items() if name in activation}
    model = parse(CHAIN.replace("Relu(h)", activation), **WEIGHTS, **read)
    assert "Max" not in ops(lowered(model, [partial("h", "r", KEPT, linear=0.5)], "max"))


@pytest.mark.parametrize(("opset", "written"), [(11, "Relu"), (12, "Max"), (18, "Max")])
def test_a_max_of_half_precision_needs_a_later_opset(opset, written):
    weights = {name: np.ones(shape, np.float16) / 8 for name, shape in WEIGHTS.items()}
    model = parse(CHAIN.replace("float[", "float16["), **weights, opset=opset)
    assert ops(lowered(model, [partial("h", "r", KEPT, linear=0.5)], "max")).count(written) == 1


@pytest.mark.parametrize(
    ("form", "dead", "left"), [("split", 2, 34), ("max", 2, 36), ("max", 6, 32), ("max", 22, 16)]
)
def test_the_max_form_leaves_whole_blocks_of_channels(form, dead, left):
    text = CHAIN.replace("r, w2, b2", "r, w2")
    model = parse(text, w1=(36, 3, 3, 3), b1=(36,), w2=(4, 36, 3, 3))
    kept = np.arange(36) >= dead
    result = lowered(model, [partial("h", "r", kept)], form)
    assert value(result, result.graph.node[-1].input[1]).shape[1] == left


def test_the_max_form_of_a_residual_sum_needs_no_factors():
    masks = [[1, 0, 1, 0, 1, 0]] * 5
    result = lowered(parse(RESIDUAL, **RESIDUAL_WEIGHTS), residual_partials(*masks, linear=0.5, constant=0.1), "max")
    assert (ops(result).count("Mul"), ops(result).count("Max"), ops(result).count("Gather")) == (0, 5, 0)


def test_single_places_take_a_floor_each_in_the_max_form():
    result = lowered(chain(), [partial("h", "r", PLACES, linear=1.0)], "max")
    assert ops(result) == ["Conv", "Max", "Conv"]
    assert value(result, other(result, "Max").input[1]).shape == (5, 6, 6)


def test_a_prelu_that_has_lost_all_that_it_activated():
    slope = np.array([0, 1, 1, 0, 1], np.float32).reshape(5, 1, 1)
    text = CHAIN.replace("r = Relu(h)", "q = PRelu(h, slope) r = Relu(q)")
    partials = [partial("h", "q", [1, 1, 1, 1, 0], linear=0.5), partial("q", "r", [0, 1, 1, 0, 1])]
    model = parse(text, **WEIGHTS, slope=slope)
    result = lower(intermediate(model, partials), partials, "prelu")
    assert_same_function(result, intermediate(model, partials).network.model)
    assert ops(result)[0] == "Conv"

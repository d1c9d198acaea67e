"""What layers take on this machine. That times are times is not tested, which no busy machine would keep to."""

from dataclasses import replace

import numpy as np
import onnx
import pytest

from onnxshallow.analysis import analyze
from onnxshallow.analysis.effort import LayerShape, count_effort, layer_effort
from onnxshallow.model.network import Network
from onnxshallow.rewriting.realize import unfitted
from onnxshallow.runtime.progress import Silent
from onnxshallow.search import timetable as module
from onnxshallow.search.candidates import possible_candidates
from onnxshallow.search.sensitivity.cache import SweepCache
from onnxshallow.search.sensitivity.meter import DamageMeter
from onnxshallow.search.timetable import Timetable, with_times
from tests.graphs import parse

SHAPES = [
    LayerShape((3, 3), (1, 1), (1, 1), 1, 4, 6, (8, 8), (8, 8)),
    LayerShape((5, 3), (2, 1), (1, 2), 2, 4, 6, (9, 8), (5, 8)),
    LayerShape((3, 3), (1, 1), (1, 1), 4, 4, 4, (8, 7), (6, 5)),  # without padding
    LayerShape((3,), (2,), (1,), 1, 4, 6, (9,), (4,)),
    LayerShape((1, 1, 1), (1, 1, 1), (1, 1, 1), 1, 4, 6, (2, 3, 4), (2, 3, 4)),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_layer_of_every_shape_is_measured(shape):
    model = onnx.shape_inference.infer_shapes(module._sum_of(shape, 3), strict_mode=True)
    made = [size.dim_value for size in model.graph.output[0].type.tensor_type.shape.dim]
    assert made == [1, shape.outputs, *shape.made]
    assert [node.op_type for node in model.graph.node].count("Conv") == 3
    seconds = Timetable(1, {}).layer(shape)
    assert 0 < seconds < 60


@pytest.fixture
def measured(monkeypatch):
    """The shapes that are measured, as if a unit of effort took a nanosecond, and 5x5 kernels twice that."""
    seen = []

    def measure(shape, threads):
        seen.append(shape)
        return 1e-9 * layer_effort(shape) * (2 if shape.kernel == (5, 5) else 1)

    monkeypatch.setattr(module, "_measured", measure)
    return seen


def network(kernel):
    pads = [kernel // 2] * 4
    text = f"""(float[1,4,8,8] x) => (float[1,4,8,8] y) {{
        a = Conv<pads={pads}>(x, w) b = Relu(a) c = Conv<pads={pads}>(b, w) y = Sigmoid(c) }}"""
    return Network(parse(text, w=(4, 4, kernel, kernel)))


def test_a_network_takes_what_its_layers_take_and_what_is_counted_for_the_rest(measured):
    table = Timetable(1, {})
    assert table.seconds(network(3)) == pytest.approx(1e-9 * count_effort(network(3)))
    layers = count_effort(network(5)) - count_effort(network(5), lambda shape: 0.0)
    assert table.seconds(network(5)) == pytest.approx(1e-9 * (count_effort(network(5)) + layers))


def test_a_shape_is_measured_once_and_kept(measured, tmp_path):
    def table():
        return Timetable(1, SweepCache(Timetable.identity(1), tmp_path, "latency"))

    first = table().seconds(network(3))
    count = len(measured)
    assert count == 2  # that of both layers, and the one that the rest is measured by
    assert table().seconds(network(3)) == first
    assert len(measured) == count
    assert [path.name.split("-")[0] for path in tmp_path.iterdir()] == ["latency"]


def test_times_are_of_a_number_of_threads():
    assert Timetable.identity(1) != Timetable.identity(2)


def test_what_comes_out_as_nothing_is_noise(monkeypatch):
    monkeypatch.setattr(module, "_measured", lambda shape, threads: 1e-3 if shape == module._KNOWN else 0.0)
    assert Timetable(1, {}).layer(SHAPES[0]) > 0


def test_candidates_know_what_they_save(measured, inputs, observation):
    candidates, _ = possible_candidates(inputs, observation.statistics)
    table = Timetable(1, {})
    found = with_times(inputs.analysis, candidates, observation.statistics, table, "split")
    assert [each.key for each in found] == [each.key for each in candidates]
    for each in found:
        made = analyze(unfitted(inputs.analysis, [each], observation.statistics))
        assert each.time == pytest.approx(table.seconds(inputs.analysis.network) - table.seconds(made.network))
    assert max(each.time for each in found) > 0
    assert {each.time for each in candidates} == {0.0}
    asked = replace(inputs, config=inputs.config.model_copy(update={"target_latency": "0.7"}))
    times = {each.key: each.time for each in DamageMeter(asked, observation, Silent(), None).measured.candidates}
    np.testing.assert_allclose([times[each.key] for each in found], [each.time for each in found])

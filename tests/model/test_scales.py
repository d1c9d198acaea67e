"""The note of what channels were multiplied by."""

import numpy as np
import pytest

from onnxshallow.model.scales import scales_of, with_scales
from tests.graphs import frozen, parse


def net():
    return parse("(float[N,2,3] x) => (float[N,2,3] y) { y = Relu(x) }")


def test_what_is_noted_is_read_again():
    model = net()
    before = frozen(model)
    noted = with_scales(model, {"y": np.array([0.5, 1 / 3])})
    np.testing.assert_allclose(scales_of(noted)["y"], [0.5, 1 / 3], rtol=1e-6)
    assert frozen(model) == before


def test_a_note_takes_the_place_of_the_one_before():
    model = net()
    model.metadata_props.add(key="license", value="none")
    noted = with_scales(with_scales(model, {"y": np.ones(2)}), {"z": np.ones(3)})
    assert list(scales_of(noted)) == ["z"]
    assert len(noted.metadata_props) == 2
    assert frozen(with_scales(noted, {})) == frozen(model)


def test_no_scales_leave_the_model_as_it_is():
    model = net()
    assert with_scales(model, {}) is model
    assert scales_of(model) == {}


@pytest.mark.parametrize("text", ["nonsense", "[1, 2]", '{"y": ["a"]}', '{"y": [[1, 2]]}', '{"y": [0, -1]}'])
def test_a_note_that_cannot_be_read_counts_as_none(text):
    model = net()
    model.metadata_props.add(key="onnxshallow.scales", value=text)
    assert scales_of(model) == {}

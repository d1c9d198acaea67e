"""Proposals where parameters, or the bytes of the file, are limited."""

import itertools
from dataclasses import replace

import pytest

from onnxshallow.errors import TargetError
from onnxshallow.model.provenance import note_bytes
from onnxshallow.options.config import Config
from onnxshallow.search.planner import read_budget
from tests.search.test_planner import ANALYSIS, SINGLES, planner


def test_parameters_and_bytes_are_limited_like_all_else():
    budget = read_budget(Config(target_params=0.5, target_size="2k"), ANALYSIS)
    assert (budget.params, budget.size_bytes) == (ANALYSIS.cost.params // 2, 2048)
    lean = [replace(c, params=10 * (n + 1), size_bytes=50 * (n + 1)) for n, c in enumerate(SINGLES)]
    values = dict.fromkeys((c.key for c in lean), 0.1)
    for plan in itertools.islice(planner(lean, values, params=ANALYSIS.cost.params - 60).proposals(), 6):
        assert sum(c.params for c in plan.candidates) >= 60
    for plan in itertools.islice(planner(lean, values, size_bytes=ANALYSIS.cost.size_bytes).proposals(), 6):
        assert sum(c.size_bytes for c in plan.candidates) >= note_bytes({})
    with pytest.raises(TargetError, match=rf"{ANALYSIS.cost.params - 140} parameters \("):
        next(planner(lean, values, params=1).proposals())

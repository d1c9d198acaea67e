import pytest

from onnxshallow.analysis import analyze
from onnxshallow.errors import TargetError
from onnxshallow.runtime.progress import Silent
from onnxshallow.search import latency as latency_module
from onnxshallow.search.inputs import observe
from onnxshallow.search.latency import budget_for_latency, measured_latency, speed_finding
from onnxshallow.search.planner import read_budget
from onnxshallow.search.sensitivity.meter import DamageMeter
from tests.runs import load_case


def milliseconds_like_macs(inputs, models):
    """As if every multiply-add took a microsecond."""
    costs = [inputs.analysis.cost, *(analyze(model).cost for model in models)]
    return [cost.macs / 1000 for cost in costs]


@pytest.fixture
def limited(tmp_path, monkeypatch):
    """Find the budget for a latency target where latency is that of the multiply-adds."""
    monkeypatch.setattr(latency_module, "measured_latency", milliseconds_like_macs)

    def find(target):
        inputs = load_case(tmp_path, target_latency=target)
        observation = observe(inputs, Silent())
        damages = DamageMeter(inputs, observation, Silent(), None)
        return inputs, budget_for_latency(inputs, observation, damages, read_budget(inputs.config, inputs.analysis))

    return find


def test_the_limit_on_multiply_adds_follows_the_latency(limited):
    inputs, budget = limited("0.7")
    assert budget.macs < inputs.analysis.cost.macs


def test_a_latency_may_be_given_in_milliseconds(limited):
    inputs, budget = limited("5000ms")
    assert budget.macs == inputs.analysis.cost.macs


def test_a_latency_out_of_reach_is_an_error(limited):
    with pytest.raises(TargetError, match=r"The latency of 0\.001 cannot be reached"):
        limited("0.001")


def test_without_a_target_the_budget_stays(tmp_path):
    inputs = load_case(tmp_path, target_relus=0.5)
    budget = read_budget(inputs.config, inputs.analysis)
    assert budget_for_latency(inputs, None, None, budget) is budget


def test_a_model_that_is_slower_than_allowed_is_told(tmp_path):
    inputs = load_case(tmp_path, target_latency="0.5")
    fast, slow = speed_finding(inputs, [2.0, 1.0]), speed_finding(inputs, [2.0, 1.5])
    assert (fast.about, fast.refuses, fast.text) == ("speed", False, "2.00x as fast")
    assert slow.refuses
    assert "2.000 ms" in slow.text


def test_the_original_is_measured_first(tmp_path):
    inputs = load_case(tmp_path, target_relus=0.5)
    times = measured_latency(inputs, [inputs.document.model])
    assert len(times) == 2
    assert all(time > 0 for time in times)

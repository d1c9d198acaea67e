import numpy as np
import pytest

from onnxshallow.errors import ModelError, UsageError
from onnxshallow.model import providers as module
from onnxshallow.model.providers import CPU, available_providers, current_providers, read_providers, running_on
from onnxshallow.model.session import Session
from onnxshallow.options.config import Config
from tests.runs import net


@pytest.fixture
def with_cuda(monkeypatch):
    monkeypatch.setattr(module, "available_providers", lambda: ("CUDAExecutionProvider", CPU))


@pytest.mark.parametrize("names", [["cpu"], ["CPU"], [CPU], ["cpu", CPU], []])
def test_the_cpu_goes_by_several_names(names):
    assert read_providers(names) == (CPU,)


def test_the_cpu_comes_last_for_what_others_leave(with_cuda):
    assert (
        read_providers(["cpu", "cuda"]) == read_providers(["CUDAExecutionProvider"]) == ("CUDAExecutionProvider", CPU)
    )


def test_an_unknown_provider_lists_those_that_are_there():
    with pytest.raises(UsageError, match=f"no execution provider 'gpu'; available here: .*{CPU}"):
        read_providers(["gpu"])


def test_a_provider_that_is_not_installed_names_the_package(monkeypatch):
    monkeypatch.setattr(module, "available_providers", lambda: (CPU,))
    with pytest.raises(UsageError, match="install onnxruntime-gpu"):
        read_providers(["cuda"])


def test_the_choice_holds_in_its_block():
    with running_on(["cpu"]):
        assert current_providers() == (CPU,)
    with running_on(None):
        assert current_providers() == (CPU,)
    with pytest.raises(UsageError), running_on(["none"]):
        pass
    assert current_providers() == (CPU,)


def test_sessions_use_the_choice(monkeypatch, with_cuda):
    asked = []
    original = module.ort.InferenceSession

    def spy(*arguments, providers, **options):
        asked.append(providers)
        return original(*arguments, providers=[CPU], **options)

    monkeypatch.setattr(module.ort, "InferenceSession", spy)
    with running_on(["cuda"]), pytest.raises(ModelError, match="cannot start CUDAExecutionProvider"):
        Session(net())
    assert asked == [["CUDAExecutionProvider", CPU]]
    assert Session(net()).run({"x": np.zeros((1, 3, 6, 6), np.float32)})[0].shape == (1, 6)


def test_the_options_take_a_list_or_names_with_commas():
    assert Config(providers="cuda, cpu").providers == Config(providers=["cuda", "cpu"]).providers == ("cuda", "cpu")
    assert Config().providers is None
    assert CPU in available_providers()

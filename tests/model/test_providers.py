import numpy as np
import pytest

from onnxshallow.errors import ModelError, UsageError
from onnxshallow.model import providers as module
from onnxshallow.model.providers import (
    CPU,
    Provider,
    available_providers,
    current_providers,
    read_providers,
    running_on,
)
from onnxshallow.model.session import Session
from onnxshallow.options.config import Config
from tests.runs import net

CUDA, TENSORRT, OPENVINO = (f"{name}ExecutionProvider" for name in ("CUDA", "Tensorrt", "OpenVINO"))


@pytest.fixture
def with_all(monkeypatch):
    """An onnxruntime that says that it has everything."""
    monkeypatch.setattr(module, "available_providers", lambda: (TENSORRT, CUDA, OPENVINO, CPU))


@pytest.mark.parametrize("names", [["cpu"], ["CPU"], [CPU], ["cpu", CPU], []])
def test_the_cpu_goes_by_several_names(names):
    assert read_providers(names) == (Provider(CPU),)


def test_the_cpu_comes_last_for_what_others_leave(with_all):
    assert read_providers(["cpu", "cuda"]) == read_providers([CUDA]) == (Provider(CUDA), Provider(CPU))


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("cuda:0", CUDA, {"device_id": "0"}),
        (" TRT:1:trt_fp16_enable=1:trt_max_workspace_size=1000 ", TENSORRT,
         {"device_id": "1", "trt_fp16_enable": "1", "trt_max_workspace_size": "1000"}),
        ("tensorrt:trt_timing_cache_path=C:\\kept:trt_fp16_enable=0", TENSORRT,
         {"trt_timing_cache_path": "C:\\kept", "trt_fp16_enable": "0"}),
        ("trt:trt_engine_cache_enable=0", TENSORRT, {"trt_engine_cache_enable": "0"}),
        ("openvino:GPU.0", OPENVINO, {"device_type": "GPU.0"}),
        ("openvino:AUTO:GPU,CPU:precision=FP16", OPENVINO, {"device_type": "AUTO:GPU,CPU", "precision": "FP16"}),
    ],
)  # fmt: skip
def test_devices_and_options_stand_after_colons(with_all, text, name, options):
    provider, cpu = read_providers([text])
    assert (provider.name, dict(provider.options), cpu) == (name, options, Provider(CPU))
    assert read_providers([str(provider)]) == (provider, cpu)  # as workers are told


def test_the_order_is_that_of_who_is_asked_first(with_all):
    assert list(map(str, read_providers(["trt:0", "cuda:0"]))) == [
        f"{TENSORRT}:device_id=0",
        f"{CUDA}:device_id=0",
        CPU,
    ]


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["cpu:0"], "neither devices nor options; write cpu"),
        (["cuda:0", "cuda:1"], "names CUDAExecutionProvider twice"),
        (["trt:0:trt_engine_cache_enable=True"], "whatever its weights are.* leave out trt_engine_cache_enable"),
    ],
)
def test_what_a_session_cannot_have_is_told(with_all, texts, said):
    with pytest.raises(UsageError, match=said):
        read_providers(texts)


def test_a_provider_without_devices_says_so(monkeypatch):
    monkeypatch.setattr(module, "available_providers", lambda: ("CoreMLExecutionProvider", CPU))
    with pytest.raises(UsageError, match=r"--providers coreml:0: CoreML.* has no devices .* KEY=VALUE"):
        read_providers(["coreml:0"])


def test_what_tensorrt_learns_of_kernels_is_kept(with_all, monkeypatch, tmp_path):
    monkeypatch.setenv("ONNXSHALLOW_CACHE", str(tmp_path / "cache"))
    provider, cpu = read_providers(["trt:1"])
    kept = {"trt_timing_cache_enable": "1", "trt_timing_cache_path": str(tmp_path / "cache" / "tensorrt")}
    assert provider.for_session() == (TENSORRT, {**kept, "device_id": "1"})
    assert (tmp_path / "cache" / "tensorrt").is_dir()
    assert cpu.for_session() == (CPU, {})
    (otherwise, _) = read_providers(["trt:trt_timing_cache_enable=0"])
    assert otherwise.for_session()[1]["trt_timing_cache_enable"] == "0"


def test_where_nothing_can_be_kept_tensorrt_goes_without(with_all, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ONNXSHALLOW_CACHE", str(tmp_path / "file"))
    (provider, _) = read_providers(["trt"])
    assert provider.for_session() == (TENSORRT, {})


def test_an_unknown_provider_lists_those_that_are_there():
    with pytest.raises(UsageError, match=f"no execution provider 'gpu'; available here: .*{CPU}"):
        read_providers(["gpu"])


def test_a_provider_that_is_not_installed_names_the_package(monkeypatch):
    monkeypatch.setattr(module, "available_providers", lambda: (CPU,))
    with pytest.raises(UsageError, match="install onnxruntime-gpu"):
        read_providers(["cuda"])


def test_the_choice_holds_in_its_block(with_all):
    with running_on(["openvino:CPU"]):
        assert current_providers() == (Provider(OPENVINO, (("device_type", "CPU"),)), Provider(CPU))
    with running_on(None):
        assert current_providers() == (Provider(CPU),)
    with pytest.raises(UsageError), running_on(["none"]):
        pass
    assert current_providers() == (Provider(CPU),)


def test_sessions_use_the_choice_and_nothing_falls_back(monkeypatch, with_all):
    asked = []
    original = module.ort.InferenceSession

    def spy(*arguments, providers, enable_fallback, **options):
        asked.append((providers, enable_fallback))
        return original(*arguments, providers=[CPU], **options)

    monkeypatch.setattr(module.ort, "InferenceSession", spy)
    with running_on(["cuda:1"]), pytest.raises(ModelError, match="cannot start CUDAExecutionProvider"):
        Session(net())
    assert asked == [([(CUDA, {"device_id": "1"}), (CPU, {})], 0)]
    assert Session(net()).run({"x": np.zeros((1, 3, 6, 6), np.float32)})[0].shape == (1, 6)


def test_the_options_take_a_list_or_names_with_commas():
    assert (
        Config(providers="trt:0, cpu").providers == Config(providers=["trt:0", "cpu"]).providers == ("trt:0", "cpu")
    )
    assert Config().providers is None
    assert CPU in available_providers()

import pytest

from onnxshallow.errors import UsageError
from onnxshallow.training import library
from onnxshallow.training.library import computing_with, device, fast_arithmetic, in_arithmetic, require_torch


def test_without_torch_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setattr(library.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        UsageError, match=r"torch, which is not installed; run `pip install 'onnxshallow\[finetune\]'`"
    ):
        require_torch()


def test_threads_and_chance_are_as_before_after_the_block():
    torch = pytest.importorskip("torch", reason="torch is not installed; `pip install '.[finetune]'` brings it")
    require_torch()
    before, state = torch.get_num_threads(), torch.random.get_rng_state()
    filled = torch.utils.deterministic.fill_uninitialized_memory
    with computing_with(before + 1, seed=3):
        assert torch.get_num_threads() == before + 1
        first = torch.rand(4)
    with computing_with(1, seed=3):
        assert torch.equal(torch.rand(4), first)
    assert torch.get_num_threads() == before
    assert torch.utils.deterministic.fill_uninitialized_memory == filled
    assert torch.equal(torch.random.get_rng_state(), state)


def test_short_floats_only_where_the_machine_has_them(monkeypatch):
    torch = pytest.importorskip("torch", reason="torch is not installed; `pip install '.[finetune]'` brings it")
    monkeypatch.setattr(library, "device", lambda: "cpu")
    for flags, expected in ((set(), None), ({"avx512_bf16"}, "bfloat16"), ({"amx_bf16"}, "bfloat16")):
        monkeypatch.setattr(library, "_processor_flags", lambda flags=flags: flags)
        assert fast_arithmetic() == expected
    a = torch.ones(4, 4)
    for name, dtype in ((None, torch.float32), ("bfloat16", torch.bfloat16)):
        with in_arithmetic(name):
            assert (a @ a).dtype == dtype


def test_the_device():
    pytest.importorskip("torch", reason="torch is not installed; `pip install '.[finetune]'` brings it")
    assert device() in ("cpu", "cuda")

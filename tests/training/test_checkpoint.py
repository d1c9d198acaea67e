import pytest

from onnxshallow.errors import ModelError, UsageError
from onnxshallow.training.checkpoint import load_checkpoint, save_checkpoint
from onnxshallow.training.held_out import Look

torch = pytest.importorskip("torch", reason="torch is not installed; `pip install '.[finetune]'` brings it")

LOOKS = [Look(0, None, 0.5, 0.3, 0.9, None, True), Look(20, 0.1, 0.4, 0.2, 0.95, 1.5, True)]


def test_what_was_saved_is_read(tmp_path):
    path = tmp_path / "a.checkpoint"
    assert load_checkpoint(path, "this") is None
    save_checkpoint(path, "this", {"step": 3, "weights": {"w": torch.arange(4.0)}}, LOOKS)
    found = load_checkpoint(path, "this")
    assert found is not None
    state, looks = found
    assert looks == LOOKS
    assert state["step"] == 3
    assert torch.equal(state["weights"]["w"], torch.arange(4.0))


def test_another_run_s_is_refused(tmp_path):
    path = tmp_path / "a.checkpoint"
    save_checkpoint(path, "this", {}, LOOKS)
    with pytest.raises(UsageError, match=r"is of a run with another model, other samples or other options"):
        load_checkpoint(path, "that")


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "a.checkpoint"
    path.write_bytes(b"no checkpoint")
    with pytest.raises(UsageError, match=r"is no checkpoint .* leave out --resume"):
        load_checkpoint(path, "this")


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(ModelError, match="choose another place"):
        save_checkpoint(tmp_path / "nowhere" / "a.checkpoint", "this", {}, [])

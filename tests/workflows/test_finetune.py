from types import SimpleNamespace

import numpy as np
import onnx
import pytest

import onnxshallow
from onnxshallow.errors import DataError, ModelError, UsageError
from onnxshallow.search import trained as trained_module
from onnxshallow.training import library
from onnxshallow.workflows.finetune import finetune
from onnxshallow.workflows.optimize import optimize
from tests.graphs import frozen
from tests.networks import chain, smooth
from tests.runs import assert_usable, net, stability_of
from tests.training.cases import damaged, squared

pytest.importorskip("torch", reason="torch is not installed; `pip install '.[finetune]'` brings it")

IMAGES = smooth(200, 3, 6)
QUICK = {"finetune": "40steps", "augment": "none", "threads": 1, "max_error": 10.0, "output_kind": {"y": "classes"}}


def test_an_optimized_model_learns_from_its_original():
    start = damaged(net())
    result = finetune(net(), start, IMAGES, **QUICK)
    assert result.error is None
    assert_usable(result.model, net(), {"x": IMAGES[:8]})
    training = result.report.training
    assert training.start.path == "<memory>"
    assert (training.asked, training.steps, training.done, training.kept) == ("40steps", 40, 40, 40)
    assert training.samples + training.held_out == 160  # a fifth is reported on
    assert training.looks[-1].damage < training.looks[0].damage
    assert (training.augment, training.threads, training.lacks) == ("none", 1, [])
    assert result.report.decisions == []
    assert any("the divergence fell from" in remark for remark in result.report.verdict.reasons)


def test_the_same_again_gives_the_same_bytes_and_files_are_left_alone(tmp_path):
    start = damaged(net())
    onnx.save(net(), tmp_path / "a.onnx")
    onnx.save(start, tmp_path / "b.onnx")
    first, second = (
        onnxshallow.finetune(tmp_path / "a.onnx", tmp_path / "b.onnx", IMAGES, **QUICK) for _ in range(2)
    )
    assert frozen(first.model) == frozen(second.model)
    assert frozen(onnx.load(tmp_path / "b.onnx")) == frozen(start)


def test_squares_are_judged_for_growth():
    result = finetune(net(), squared(), IMAGES, **QUICK)
    assert result.report.stability is not None
    assert result.report.training.looks[0].growth is not None


def test_fewer_samples_to_learn_from():
    result = finetune(net(), damaged(net()), IMAGES, train_samples=30, **{**QUICK, "finetune": "2epochs"})
    training = result.report.training
    assert (training.samples, training.batch, training.steps) == (30, 30, 2)


def let_grow(monkeypatch, *factors):
    """Let activations be found to grow by these factors, one look after the other."""
    found = iter([SimpleNamespace(result=stability_of(factor), suspects={factor}) for factor in factors])

    def examined(inputs, made, progress, suspects, *, briefly):
        assert suspects == before
        pair = next(found)
        before.clear()
        before.update(pair.suspects)
        return pair

    before: set[float] = set()
    monkeypatch.setattr(trained_module, "examined", examined)


def weights_of(model):
    return [onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer]


def test_what_learned_too_far_is_not_kept(monkeypatch):
    let_grow(monkeypatch, *(9.0 for share in trained_module._SHARES if share), 2.0)
    start = damaged(net())
    result = finetune(net(), start, IMAGES, **QUICK)
    assert frozen(result.model) == frozen(start)
    assert (result.report.training.kept, result.report.training.share) == (0, 0.0)
    reasons = result.report.verdict.reasons
    assert any("what was learned is not stable, so the start is kept" in text for text in reasons)


def test_what_is_not_stable_in_full_is_kept_as_far_as_it_is(monkeypatch):
    start = damaged(net())
    whole = finetune(net(), start, IMAGES, **QUICK)
    let_grow(monkeypatch, 9.0, 9.0, 9.0, 2.0)
    half = finetune(net(), start, IMAGES, **QUICK)
    training = half.report.training
    assert (training.kept, training.share) == (whole.report.training.kept, 0.5)
    assert any("the weights stop at 50 % of the way to it" in text for text in half.report.verdict.reasons)
    for before, middle, after in zip(*(weights_of(model) for model in (start, half.model, whole.model)), strict=True):
        np.testing.assert_allclose(middle, (before.astype(np.float64) + after) / 2, rtol=1e-5, atol=1e-7)


def test_optimize_trains_at_the_end():
    options = {"sensitivity": "magnitude", "target_relus": 0.7, **QUICK}
    result = optimize(net(), IMAGES, cache=None, **options)
    plain = optimize(net(), IMAGES, cache=None, **{**options, "finetune": None})
    assert result.plan.keys == plain.plan.keys
    assert result.report.optimized.relus == plain.report.optimized.relus
    assert result.report.training.start is None
    assert result.report.decisions == plain.report.decisions
    assert plain.report.training is None
    if result.report.training.kept:
        assert frozen(result.model) != frozen(plain.model)


def test_what_is_missing_is_said(monkeypatch):
    with pytest.raises(UsageError, match="Say how long to train"):
        finetune(net(), net(), IMAGES)
    with pytest.raises(UsageError, match="Training needs real inputs to learn from: give --calib"):
        finetune(net(), net(), finetune="5steps")
    with pytest.raises(ModelError, match="cannot be compared"):
        finetune(net(), chain(), IMAGES, **QUICK)
    with pytest.raises(DataError, match="4 samples are too few to learn from"):
        finetune(net(), net(), np.ascontiguousarray(IMAGES[:5]), **QUICK)
    monkeypatch.setattr(library.importlib.util, "find_spec", lambda name: None)
    for call in (
        lambda: finetune(net(), net(), IMAGES, **QUICK),
        lambda: optimize(net(), IMAGES, target_relus=0.7, **QUICK),
    ):
        with pytest.raises(UsageError, match=r"pip install 'onnxshallow\[finetune\]'"):
            call()


def test_that_labels_were_learned_from_is_said():
    classes = np.arange(200) % 2
    with_labels, without = (
        finetune(net(), damaged(net()), (IMAGES, classes), labels=on, **QUICK).report for on in (True, False)
    )
    assert with_labels.training.labels
    assert not without.training.labels
    assert any("were learned from, too" in remark for remark in with_labels.verdict.reasons)
    assert with_labels.training.looks[-1].damage != without.training.looks[-1].damage


def test_labels_need_one_output_of_classes():
    options = {**QUICK, "output_kind": {"y": "embedding"}}
    with pytest.raises(UsageError, match="not just one output that tells a class"):
        finetune(net(), damaged(net()), (IMAGES, np.arange(200) % 2), labels=True, **options)

import numpy as np
import pytest

from onnxshallow.errors import UsageError
from onnxshallow.model.network import Network
from onnxshallow.rewriting.realize import Realized
from onnxshallow.runtime.progress import Clock, Silent
from onnxshallow.search.plan import Plan
from onnxshallow.search.trained import require_lesson, train
from tests.networks import smooth
from tests.runs import load_case, net
from tests.training.cases import damaged

pytest.importorskip("torch", reason="torch is not installed; `pip install '.[finetune]'` brings it")


def trained(folder, **options):
    options = {"finetune": "20steps", "threads": 1, "augment": "none", **options}
    inputs = load_case(folder, arrays={"x": smooth(200, 3, 6)}, **options)
    start = Realized(Network(damaged(net())), outputs=[])
    clock = Clock()
    return inputs, train(inputs, Plan((), {}), start, Silent(), clock), clock


def test_no_sample_is_learned_from_and_judged_by(tmp_path):
    inputs, found, clock = trained(tmp_path)
    lesson = found.lesson
    parts = [lesson.train, inputs.data.report]
    arrays = [part.batch(np.arange(len(part)))["x"] for part in parts] + [batch["x"] for batch in lesson.held_out]
    rows = [image.tobytes() for array in arrays for image in array]
    assert len(set(rows)) == len(rows) == 200
    assert (len(lesson.train), sum(len(batch["x"]) for batch in lesson.held_out)) == (140, 20)
    assert set(clock.seconds) == {"train", "examine", "validate"}


def test_what_is_said(tmp_path):
    _, found, _ = trained(tmp_path)
    assert found.remarks[0].startswith(
        "trained for 20 of 20 steps on 140 samples; on samples held out the divergence"
    )


def test_a_model_of_one_batch_size_learns_in_such_batches(tmp_path):
    from tests.networks import build
    from tests.runs import NET, NET_WEIGHTS

    model = build(NET.replace("float[N,", "float[10,"), **NET_WEIGHTS)
    inputs = load_case(tmp_path, model, arrays={"x": smooth(200, 3, 6)}, finetune="20steps", threads=1)
    start = Realized(Network(damaged(model)), outputs=[])
    found = train(inputs, Plan((), {}), start, Silent(), Clock())
    assert found.lesson.batch == 10
    assert [len(batch["x"]) for batch in found.lesson.held_out] == [10, 10]


def test_data_are_needed():
    require_lesson(True)
    with pytest.raises(UsageError, match="give --calib"):
        require_lesson(False)

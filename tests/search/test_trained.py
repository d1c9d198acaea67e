from dataclasses import replace

import numpy as np
import pytest

from onnxshallow.errors import DataError, UsageError
from onnxshallow.model.document import load_document
from onnxshallow.model.network import Network
from onnxshallow.options.config import resolve
from onnxshallow.rewriting.realize import Realized
from onnxshallow.runtime.progress import Clock, Silent
from onnxshallow.search.attempt import validate
from onnxshallow.search.inputs import load_inputs
from onnxshallow.search.plan import Plan
from onnxshallow.search.trained import lesson_of, require_lesson, train
from tests.networks import smooth
from tests.runs import load_case, net, save_case
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


@pytest.mark.parametrize(("steps", "seen", "refused"), [(1, 128 + 24, False), (20, 172 + 24, True)])
def test_what_was_learned_from_proves_nothing(tmp_path, steps, seen, refused):
    """Also where layers were fitted to other samples of the source; a short course does not see all of them."""
    inputs, found, _ = trained(tmp_path, finetune=f"{steps}steps", calib_samples=20)
    lesson, attempt = found.lesson, found.attempt
    assert len(attempt.learned.digests) == seen
    again = replace(inputs, data=replace(inputs.data, report=lesson.train))
    compared = replace(attempt, comparison=validate(again, attempt.realized, Silent()))
    (finding,) = (one for one in compared.against_the_data(again) if "calibration samples, too" in one.text)
    assert finding.refuses is refused


def test_what_is_said(tmp_path):
    _, found, _ = trained(tmp_path)
    assert found.remarks[0].startswith(
        "trained for 20 of 20 steps on 140 samples; on samples held out the divergence"
    )


def labelled(folder, labels):
    """The lesson of a run that learns from labels."""
    path, data = save_case(folder, labels=labels, x=smooth(200, 3, 6))
    config = {"calib": str(data), "finetune": "20steps", "labels": True, "output_kind": {"y": "classes"}}
    inputs = load_inputs(load_document(path), resolve(config, path))
    return lesson_of(inputs, Realized(Network(damaged(net())), outputs=[]))


def test_labels_go_with_their_samples(tmp_path):
    lesson = labelled(tmp_path, np.arange(200) % 2)
    images = {image.tobytes(): number % 2 for number, image in enumerate(smooth(200, 3, 6))}
    shown = lesson.train.batch(np.arange(len(lesson.train)))["x"]
    assert lesson.labels.tolist() == [images[image.tobytes()] for image in shown]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "has no label for each sample"),
        (np.full(200, 9), "labels from 9 to 9 are not of the network's 6 classes"),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path, labels, message):
    with pytest.raises(DataError, match=message):
        labelled(tmp_path, labels)


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

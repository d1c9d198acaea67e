import json
import os
import sys
import time

import numpy as np
import pytest

from onnxshallow.errors import ModelError
from onnxshallow.model import session
from onnxshallow.model.providers import CPU, Placed, Provider, available_providers, running_on
from onnxshallow.model.session import Session, _places, place, share_cores, usable_cores
from tests.graphs import parse, run_reference, signed

TWO = "(float[N,3] x) => (float[N,3] r, float[N,3] s) { r = Relu(x) s = Neg(x) }"


def test_all_outputs_or_those_asked_for():
    session = Session(parse(TWO), threads=1, spin=False)
    x = signed("x", (2, 3))
    assert session.output_names == ("r", "s")
    np.testing.assert_array_equal(session.run({"x": x})[1], -x)
    (only,) = session.run({"x": x}, ["s"])
    np.testing.assert_array_equal(only, -x)


@pytest.mark.parametrize("optimize", [True, False])
def test_zero_pad_before_max_pool_on_negative_data(optimize):
    """Trap: onnxruntime 1.31 folds the Pad into the MaxPool, whose padding is minus infinity."""
    model = parse(
        "(float[N,1,4,4] x) => (float[N,1,4,4] y) { p = Pad(x, pads) y = MaxPool<kernel_shape=[3,3]>(p) }",
        pads=np.array([0, 0, 1, 1, 0, 0, 1, 1]),
    )
    x = -np.abs(signed("x", (2, 1, 4, 4))) - 1
    (y,) = Session(model, optimize=optimize).run({"x": x})
    np.testing.assert_array_equal(y, run_reference(model, {"x": x})[0])
    assert y.max() == 0


def test_sessions_that_take_turns_compute_the_same():
    model = parse("(float[N,3,9,9] x) => (float[N,8,9,9] y) { y = Conv<pads=[1,1,1,1]>(x, w) }", w=(8, 3, 3, 3))
    x = signed("x", (2, 3, 9, 9))
    plain, turns = (Session(model, threads=2, in_turns=in_turns).run({"x": x})[0] for in_turns in (False, True))
    np.testing.assert_array_equal(plain, turns)


@pytest.mark.parametrize(
    ("cores", "threads", "places"),
    [({0, 1, 2, 3}, 3, "2;3"), ({4, 2, 7}, 3, "5;8"), ({5}, 1, ""), ({0, 1}, 3, ""), (None, 2, "")],
)
def test_threads_are_kept_on_cores_that_the_process_may_use(monkeypatch, cores, threads, places):
    if cores is None:
        monkeypatch.delattr("os.sched_getaffinity", raising=False)
    else:
        monkeypatch.setattr("os.sched_getaffinity", lambda process: cores, raising=False)
    assert _places(threads) == places


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists the threads of a process")
def test_each_thread_of_a_session_that_takes_turns_has_one_core():
    def masks():
        return {thread: os.sched_getaffinity(int(thread)) for thread in os.listdir("/proc/self/task")}

    cores, before = os.sched_getaffinity(0), masks()
    session = Session(parse(TWO), threads=len(cores), in_turns=True)
    expected = [{core} for core in sorted(cores)[1:]]
    for _ in range(30_000):  # a thread goes to its core once it has begun, on a busy machine late
        added = sorted((mask for thread, mask in masks().items() if thread not in before), key=min)
        if added == expected:
            break
        time.sleep(0.02)
    assert added == expected
    assert os.sched_getaffinity(0) == cores
    assert session.output_names == ("r", "s")


def test_models_that_onnxruntime_refuses():
    model = parse("(float[N,3] x) => (float[N,3] y) { y = mine.Thing(x) }", domains=["mine"])
    with pytest.raises(ModelError, match=r"onnxruntime does not run the model: .*Thing"):
        Session(model)


def test_ir_and_opset_that_onnxruntime_does_not_know():
    with pytest.raises(ModelError, match="onnxruntime does not run the model"):
        Session(parse(TWO, ir=99))


def test_inputs_that_do_not_fit():
    with pytest.raises(ModelError, match="fails while running"):
        Session(parse(TWO)).run({"x": np.zeros((2, 4), np.float32)})
    with pytest.raises(ModelError, match="fails while running"):
        Session(parse(TWO)).run({})


def test_a_batch_that_a_reshape_fixes_is_named():
    text = "(float[N,3,4] x) => (float[1,12] y) { y = Reshape(x, shape) }"
    session = Session(parse(text, shape=np.array([1, 12])), threads=1)
    assert session.run({"x": np.zeros((1, 3, 4), np.float32)})[0].shape == (1, 12)
    with pytest.raises(ModelError, match="--batch-size 1"):
        session.run({"x": np.zeros((2, 3, 4), np.float32)})


def test_a_reshape_that_fixes_the_batch_may_fail_further_down():
    text = "(float[N,3,4] x) => (float[1,2] y) { f = Reshape(x, shape) y = Gemm(f, w) }"
    session = Session(parse(text, shape=np.array([1, -1]), w=(12, 2)), threads=1)
    with pytest.raises(ModelError, match=r"Gemm.*--batch-size 1"):
        session.run({"x": np.zeros((2, 3, 4), np.float32)})


def test_a_process_may_be_told_to_share_the_cores(monkeypatch):
    monkeypatch.setattr(session, "_most_cores", None)
    every = usable_cores()
    share_cores(1)
    assert usable_cores() == 1
    share_cores(every + 5)
    assert usable_cores() == every


def choose(monkeypatch, *names):
    """Let these providers be chosen, and sessions ask for none that is not here."""
    monkeypatch.setattr(session, "current_providers", lambda: tuple(map(Provider, names)))
    made = session.ort.InferenceSession

    def on_the_cpu(*arguments, providers, **options):
        here = made(*arguments, providers=[CPU], **options)
        monkeypatch.setattr(here, "get_providers", lambda: list(names))
        return here

    monkeypatch.setattr(session.ort, "InferenceSession", on_the_cpu)


def test_on_the_cpu_alone_nothing_is_run_to_see_who_runs_it():
    assert place(parse(TWO), {}) == (Placed(CPU, {}),)


def test_a_choice_of_which_nothing_is_run_is_no_silent_fallback(monkeypatch):
    choose(monkeypatch, "XnnpackExecutionProvider", CPU)
    with pytest.raises(ModelError, match=r"Xnnpack.* would run nothing, and the CPU everything; leave out"):
        place(parse(TWO), {"x": signed("x", (2, 3))})


def test_what_each_provider_runs_is_counted(monkeypatch):
    """In a profile, where nodes that other providers took are told like those of the CPU."""
    choose(monkeypatch, "XnnpackExecutionProvider", CPU)
    end = Session.end_profile

    def as_if(self):
        path = end(self)
        events = json.loads(path.read_text())
        first = next(event for event in events if event.get("args", {}).get("provider"))
        first["args"]["provider"] = "XnnpackExecutionProvider"
        path.write_text(json.dumps(events))
        return path

    monkeypatch.setattr(Session, "end_profile", as_if)
    found = place(parse(TWO), {"x": signed("x", (2, 3))}, threads=1)
    assert found == (Placed("XnnpackExecutionProvider", {}, 1), Placed(CPU, {}, 1))


def test_a_session_that_cannot_be_made_names_what_was_chosen(monkeypatch):
    choose(monkeypatch, "XnnpackExecutionProvider", CPU)
    with pytest.raises(ModelError, match="options of XnnpackExecutionProvider, or leave out --providers"):
        Session(parse("(float[N] x) => (float[N] y) { y = Unknown(x) }"))


@pytest.mark.skipif("OpenVINOExecutionProvider" not in available_providers(), reason="needs onnxruntime-openvino")
def test_a_real_provider_runs_what_it_is_said_to_run():
    x = signed("x", (2, 3))
    with running_on(["openvino:CPU:precision=FP32"]):
        found = place(parse(TWO), {"x": x})
        np.testing.assert_allclose(Session(parse(TWO)).run({"x": x})[1], -x, rtol=1e-6)
    options = {"device_type": "CPU", "precision": "FP32"}
    assert found == (Placed("OpenVINOExecutionProvider", options, 1), Placed(CPU, {}, 0))

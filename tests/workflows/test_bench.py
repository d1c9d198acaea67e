import logging

import numpy as np
import onnx
import pytest

from onnxshallow.analysis import analyze
from onnxshallow.errors import ModelError, UsageError
from onnxshallow.model.measurable import measurable
from onnxshallow.options.config import Config
from onnxshallow.private.estimate import estimate
from onnxshallow.private.protocols import PROTOCOLS
from onnxshallow.runtime.footprint import FootprintError
from onnxshallow.validation.latency import Timing
from onnxshallow.workflows import bench as timing
from onnxshallow.workflows.bench import BenchOptions, bench
from tests.graphs import signed
from tests.networks import build
from tests.runs import NET, NET_WEIGHTS, net, save_case

BRIEF = dict(runs=2, memory=False)


def benched(paths, config=None, **options):
    return bench(*paths, measure=BenchOptions(**{**BRIEF, **options}), config=config or Config(threads=1))


def test_what_ran_is_reported(tmp_path):
    model, _ = save_case(tmp_path)
    report = benched([model, model], batch_sizes=(3,), runs=4)
    assert (report.batch_size, report.runs, report.threads) == (3, 4, 1)
    assert report.original_ms > 0
    assert report.speedup_interval[0] <= report.speedup <= report.speedup_interval[1]
    assert report.private == report.notes == []
    assert report.seed == 0


def test_the_first_fields_are_those_of_the_first_setting_and_the_first_two_models(tmp_path):
    model, _ = save_case(tmp_path)
    report = benched([model, model, model], batch_sizes=(2, 5), threads=(1, 2))
    assert [(s.batch_size, s.threads) for s in report.settings] == [(2, 1), (2, 2), (5, 1), (5, 2)]
    assert [(m.model, m.batch_size, m.threads) for m in report.measurements[:4]] == [
        (0, 2, 1), (1, 2, 1), (2, 2, 1), (0, 2, 2)
    ]  # fmt: skip
    first, second = report.measurements[:2]
    assert (report.original_ms, report.optimized_ms) == (first.median_ms, second.median_ms)
    assert (report.speedup, report.speedup_interval) == (second.speedup, second.speedup_interval)
    assert (report.batch_size, report.threads, report.runs) == (2, 1, 2)
    assert (first.speedup, first.speedup_interval) == (1, (1, 1))
    for row in report.measurements:
        assert row.median_interval[0] <= row.median_ms <= row.median_interval[1]
        assert row.samples_per_second == pytest.approx(1000 * row.batch_size / row.median_ms, rel=0.01)


def test_a_slower_model_is_told_from_a_faster_one(tmp_path):
    """No timing: a hundred times the work."""
    model, _ = save_case(tmp_path)
    slow = tmp_path / "slow.onnx"
    onnx.save(build(NET, **{**NET_WEIGHTS, "w0": (256, 3, 3, 3), "b0": (256,), "w1": (256, 256, 3, 3), "b1": (256,),
                            "w2": (4, 256, 3, 3)}), slow)  # fmt: skip
    assert benched([slow, model], runs=20).speedup > 2


def test_models_with_several_inputs(tmp_path):
    text = "(float[N,3] x, int64[N,2] i, float[N,3,6,6] z) => (float[N,3] y, int64[N,2] j, float[N,3,6,6] r) {"
    model, _ = save_case(tmp_path, build(text + "y = Relu(x)\n j = Identity(i)\n r = Relu(z) }"))
    report = benched([model, model], Config(), batch_sizes=(2,), memory=True)
    assert report.runs == 2
    assert report.threads is None
    assert report.notes == []


def test_a_batch_that_one_model_fixes_is_that_of_all(tmp_path):
    model, _ = save_case(tmp_path)
    fixed = tmp_path / "fixed.onnx"
    onnx.save(build(NET.replace("[N,", "[4,"), **NET_WEIGHTS), fixed)
    report = benched([model, fixed], batch_sizes=(1, 8))
    assert [s.batch_size for s in report.settings] == [4]
    assert report.notes == ["A model fixes its batch at 4, so that is what all of them run on."]
    assert benched([fixed, model], batch_sizes=(4,)).notes == []


def test_batches_of_different_sizes_cannot_be_compared(tmp_path):
    paths = [tmp_path / f"{n}.onnx" for n in (2, 4)]
    for path in paths:
        onnx.save(build(NET.replace("[N,", f"[{path.stem},"), **NET_WEIGHTS), path)
    with pytest.raises(ModelError, match="2 x 3 x 6 x 6 in the one and 4 x 3 x 6 x 6 in the other"):
        benched(paths)


def test_data_files_count_as_the_models_size(tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(net(), path, save_as_external_data=True, location="net.data", size_threshold=0)
    model = benched([path, path]).models[0]
    assert model.size_bytes == path.stat().st_size + (tmp_path / "net.data").stat().st_size


def test_each_model_has_a_peak_memory_of_its_own(tmp_path):
    text = "(float[N,1000] x) => (float[N,8] y) { h = MatMul(x, w) r = Relu(h) y = MatMul(r, v) }"
    paths = []
    for width in (8, 8000):
        paths.append(tmp_path / f"{width}.onnx")
        onnx.save(build(text, w=(1000, width), v=(width, 8)), paths[-1])
    small, large = benched(paths, memory=True).measurements
    assert large.peak_memory_bytes - small.peak_memory_bytes > 25e6


def test_memory_that_cannot_be_measured_is_noted_and_the_rest_goes_on(tmp_path, monkeypatch, caplog):
    def fail(*arguments):
        raise FootprintError("the process that was to measure it failed: killed")

    monkeypatch.setattr(timing, "peak_memory", fail)
    model, _ = save_case(tmp_path)
    with caplog.at_level(logging.WARNING):
        report = benched([model, model], memory=True)
    assert report.measurements[0].peak_memory_bytes is None
    sentence = f"The peak memory of {model} is not known: the process that was to measure it failed: killed."
    assert report.notes == [sentence]
    assert [record.getMessage() for record in caplog.records] == [sentence]


def test_estimates_are_those_of_the_models(tmp_path):
    model, _ = save_case(tmp_path)
    lean = tmp_path / "lean.onnx"
    onnx.save(build(NET.replace("Relu(h1)", "Identity(h1)"), **NET_WEIGHTS), lean)
    protocols = (PROTOCOLS["semi2k"], PROTOCOLS["aby3"])
    report = benched([model, lean], protocols=protocols, rtt=0.02, bandwidth=1e7)
    assert [(p.protocol, p.model) for p in report.private] == [("semi2k", 0), ("semi2k", 1), ("aby3", 0), ("aby3", 1)]
    expected = estimate(analyze(onnx.load(lean)), protocols[0], 0.02, 1e7)
    made = report.private[1]
    assert (made.bytes, made.messages, made.seconds) == (expected.bytes, expected.messages, expected.seconds)
    assert tuple(made.not_counted) == expected.not_counted
    assert made.seconds_ratio == report.private[0].seconds / made.seconds > 1
    assert report.private[0].seconds_ratio == 1


def test_an_estimate_of_nothing_has_no_ratio(tmp_path):
    model, _ = save_case(tmp_path, build("(float[N,3] x) => (float[N,3] y) { y = Neg(x) }"))
    report = benched([model, model], protocols=(PROTOCOLS["aby3"],))
    assert report.private[0].seconds == 0
    assert report.private[0].seconds_ratio is None


def test_one_model_alone_is_refused(tmp_path):
    model, _ = save_case(tmp_path)
    with pytest.raises(UsageError, match="two models"):
        benched([model])


def test_a_setting_is_timed_for_as_long_as_was_said(tmp_path, monkeypatch):
    model, _ = save_case(tmp_path)
    asked = []

    def time_in_parts(models, feeds, threads, runs, seconds, seed):
        asked.append((runs, seconds, seed))
        return [Timing(np.full(20, 2.0), 60), Timing(np.ones(20), 60)]

    monkeypatch.setattr(timing, "time_in_parts", time_in_parts)
    report = benched([model, model], Config(threads=1, seed=3), runs=None, seconds=2.0)
    benched([model, model], runs=7)
    assert asked == [(None, 2.0, 3), (7, None, 0)]
    assert (report.speedup, report.runs) == (2, 60)


def test_inputs_follow_the_seed(tmp_path, monkeypatch):
    model, _ = save_case(tmp_path)
    seen = []
    time_in_parts = timing.time_in_parts

    def watched(models, feeds, *arguments):
        seen.append(feeds["x"])
        return time_in_parts(models, feeds, *arguments)

    monkeypatch.setattr(timing, "time_in_parts", watched)
    for seed in (0, 1, 0):
        benched([model, model], Config(threads=1, seed=seed))
    assert np.array_equal(seen[0], seen[2])
    assert not np.array_equal(seen[0], seen[1])


def test_the_batch_is_that_of_the_inputs_that_have_one(tmp_path):
    text = "(float[1] k, float[4,3,8,8] x) => (float[4,3,8,8] y) { s = Mul(x, k) y = Relu(s) }"
    path = tmp_path / "net.onnx"
    onnx.save(build(text), path)
    report = bench(path, path, measure=BenchOptions(runs=2, memory=False), threads=1)
    assert report.batch_size == 4


@pytest.mark.parametrize(
    ("inputs", "shape"), [("uint8[8,8,3] i", None), ("float[L,8,3] i", {"i": (8, 8, 3)}), ("float[8,8,3] i", None)]
)
def test_an_image_without_a_batch_is_one_sample(inputs, shape):
    model = build(
        f"""({inputs}) => (float[1,4,8,8] y) {{ f = Cast<to=1>(i) t = Transpose<perm=[2,0,1]>(f)
        x = Unsqueeze(t, zero) h = Conv(x, w) y = Relu(h) }}""",
        zero=np.array([0]),
        w=(4, 3, 1, 1),
    )
    measure = BenchOptions(runs=2, memory=False, protocols=(PROTOCOLS["aby3"],))
    report = bench(model, model, measure=measure, threads=1, input_shape=shape)
    assert report.batch_size == 1
    assert report.fixed_point
    counted = measurable(model)
    assert report.private[0].bytes == estimate(analyze(counted.model, counted.sizes(shape)), PROTOCOLS["aby3"]).bytes
    assert "One run is one sample, as the first axis of input 'i' is no batch." in report.notes


def test_models_are_timed_from_python(tmp_path):
    model = net()
    onnx.save(model, tmp_path / "net.onnx")
    brief = BenchOptions(runs=6)
    report = bench(tmp_path / "net.onnx", model, measure=brief, threads=1)
    assert [timed.path for timed in report.models] == [str(tmp_path / "net.onnx"), "<memory>"]
    assert report.models[0].size_bytes == report.models[1].size_bytes > 0
    assert report.measurements[0].peak_memory_bytes > 0
    assert report.measurements[1].peak_memory_bytes is None
    assert any("<memory> is not known" in note for note in report.notes)
    with pytest.raises(UsageError, match="two models"):
        bench(model)


def test_fixed_point_is_simulated_where_a_protocol_is_named(tmp_path):
    model, _ = save_case(tmp_path)
    lost = tmp_path / "lost.onnx"
    scaled = {
        "w0": signed("w0", (4, 3, 3, 3)) / 2**20,
        "b0": signed("b0", (4,)) / 2**20,
        "w1": signed("w1", (4, 4, 3, 3)) * 2**20,
    }
    onnx.save(build(NET, **{**NET_WEIGHTS, **scaled}), lost)
    assert benched([model, model]).fixed_point == []
    first, second = benched([model, lost], protocols=(PROTOCOLS["semi2k"], PROTOCOLS["aby3"])).fixed_point
    assert (first.model, first.agreement, first.finding, first.samples) == (0, 1.0, None, 32)
    assert second.model == 1
    assert second.finding is not None
    assert second.finding.startswith("In fixed point with 18 bits after the point it is lost: ")


def test_a_batch_that_models_fix_is_what_fixed_point_is_simulated_on(tmp_path):
    fixed = tmp_path / "fixed.onnx"
    onnx.save(build(NET.replace("[N,", "[4,"), **NET_WEIGHTS), fixed)
    (first, _) = benched([fixed, fixed], protocols=(PROTOCOLS["semi2k"],)).fixed_point
    assert first.samples == 4


def test_a_model_that_fixed_point_cannot_be_simulated_of_is_noted(tmp_path):
    old = tmp_path / "old.onnx"
    onnx.save(build("(float[N,3] x) => (float[N,3] y) { y = Relu(x) }", opset=6), old)
    report = benched([old, old], protocols=(PROTOCOLS["semi2k"],))
    assert report.fixed_point == []
    assert "Opset 6" in report.notes[0]

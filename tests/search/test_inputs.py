import numpy as np
import onnx
import pytest

import onnxshallow
from onnxshallow.analysis import analyze
from onnxshallow.errors import ModelError
from onnxshallow.model.document import as_document, load_document
from onnxshallow.options.config import resolve
from onnxshallow.runtime.progress import Silent
from onnxshallow.runtime.whole import run_batches
from onnxshallow.search import inputs as inputs_module
from onnxshallow.search.candidates import find_every_candidate
from onnxshallow.search.inputs import load_inputs, observe
from onnxshallow.search.memory import bytes_of_copies
from onnxshallow.search.plan import Plan
from tests.graphs import parse, run_plain
from tests.networks import build, chain, smooth
from tests.runs import NET, NET_WEIGHTS, load_case, net, save_case


def test_samples_are_batched_for_fitting_and_choosing(inputs):
    calibration = inputs.calibration
    sizes = [len(batch["x"]) for batch in calibration.batches]
    assert sizes == [24, 8]
    assert calibration.fit_batches == 1
    assert len(inputs.data.report) == 8
    assert not inputs.fixed_batch


def test_a_fixed_batch_leaves_out_what_does_not_fill_one(tmp_path):
    inputs = load_case(tmp_path, build(NET.replace("[N,", "[5,"), **NET_WEIGHTS), arrays={"x": smooth(32, 3, 6)})
    assert inputs.fixed_batch
    assert {len(batch["x"]) for batch in inputs.calibration.batches} == {5}
    assert inputs.calibration.fit_batches == len(inputs.data.fit) // 5
    assert inputs.report_batches == len(inputs.data.report) // 5 == 1


def test_the_ridge_is_strong_where_data_are_made_up(tmp_path):
    assert load_case(tmp_path).calibration.fit.ridge == 1e-3
    assert load_case(tmp_path, calib=None, calib_samples=20).calibration.fit.ridge == 10
    assert load_case(tmp_path, calib=None, calib_samples=20, ridge=0.5).calibration.fit.ridge == 0.5


def test_memory_threads_and_seed_are_passed_on(tmp_path, monkeypatch):
    monkeypatch.setattr("onnxshallow.search.memory.memory_in_use", lambda: 300 << 20)
    calibration = load_case(tmp_path, memory="4G", threads=2, seed=9).calibration
    assert calibration.fit.memory == (4 << 30) // 5
    besides = (300 << 20) + bytes_of_copies(analyze(net())) + (256 << 20)
    assert calibration.store.budget == (4 << 30) - 3 * ((4 << 30) // 5) - besides
    assert (calibration.threads, calibration.fit.seed) == (2, 9)


def test_observing_runs_the_original_on_the_selection_samples(inputs, observation):
    assert set(observation.statistics) == {"r0", "r1", "r2"}
    assert [output.shape for output in observation.reference(inputs.reduced)] == [(8, 6)]


def test_what_the_original_makes_is_known_for_every_set_of_samples(tmp_path):
    inputs = load_case(tmp_path, arrays={"x": smooth(600, 3, 6)}, calib_samples=600, batch_size=16)
    observation = observe(inputs, Silent())
    sizes = []
    for samples in (inputs.reduced, inputs.rough, inputs.swept):
        batches = samples.batches[samples.selection]
        expected = run_batches(inputs.document.model, batches)
        for one, other in zip(observation.reference(samples), expected, strict=True):
            np.testing.assert_array_equal(one, other)
        sizes.append(sum(len(batch["x"]) for batch in batches))
    assert sizes[0] > sizes[1] > sizes[2]


def test_the_larger_a_network_the_fewer_samples_it_is_looked_at_with(tmp_path, monkeypatch):
    inputs = load_case(tmp_path, arrays={"x": smooth(600, 3, 6)}, calib_samples=600, batch_size=16)
    sizes = [len(each.batches) for each in (inputs.reduced, inputs.rough, inputs.swept)]
    for name in ("_SWEEP_MACS", "_ROUGH_MACS", "_CLOSE_MACS"):
        monkeypatch.setattr(inputs_module, name, 1.0)
    few = load_case(tmp_path, arrays={"x": smooth(600, 3, 6)}, calib_samples=600, batch_size=16)
    fewest = (64, 32, 32)
    for samples, size, least in zip((few.reduced, few.rough, few.swept), sizes, fewest, strict=True):
        assert len(samples.batches) < size
        assert samples.fit_batches * 16 == least


def test_a_network_that_computes_no_numbers_is_refused(tmp_path):
    weights = {**NET_WEIGHTS, "w0": np.full((4, 3, 3, 3), 1e38, np.float32)}
    inputs = load_case(tmp_path, build(NET, **weights), arrays={"x": np.full((20, 3, 6, 6), 1e3, np.float32)})
    with pytest.raises(ModelError, match="not finite"):
        observe(inputs, Silent())


def test_labels_do_not_change_what_is_fitted_or_chosen(inputs, tmp_path):
    labelled = load_case(tmp_path, labels=np.arange(40) % 6)
    assert labelled.data.fingerprint() == inputs.data.fingerprint()
    assert labelled.data.report.labels is not None
    assert labelled.data.fit.labels is labelled.data.selection.labels is None


def test_a_model_without_a_floating_point_output_cannot_be_measured(tmp_path):
    model = build(
        """(float[N,3,6,6] x) => (int64[4] y) {
            h = Conv<pads=[1,1,1,1]>(x, w)
            r = Relu(h)
            y = Shape(r)
        }""",
        w=(4, 3, 3, 3),
    )
    with pytest.raises(ModelError, match=r"No output of .* is a floating-point tensor with elements, nor made from"):
        observe(load_case(tmp_path, model), Silent())


def test_outputs_without_elements_cannot_be_measured(tmp_path):
    model = build(
        """(float[N,3,6,6] x) => (float[N,?] y) {
            h = Conv<pads=[1,1,1,1]>(x, w)
            r = Relu(h)
            s = Slice(r, zero, zero, one)
            y = Flatten(s)
        }""",
        w=(4, 3, 3, 3),
        zero=np.array([0]),
        one=np.array([1]),
    )
    with pytest.raises(ModelError, match=r"No output of .* is a floating-point tensor with elements"):
        observe(load_case(tmp_path, model), Silent())


def open_case(folder, **options):
    """A network whose height and width are open, and its data."""
    path, data = save_case(folder)
    onnx.save(build(NET.replace("[N,3,6,6]", "[N,3,H,W]"), **NET_WEIGHTS), path)
    return path, {"calib": str(data), "sensitivity": "magnitude", **options}


def test_open_sizes_are_those_of_the_samples(tmp_path):
    path, options = open_case(tmp_path, target_relus=0.7)
    assert load_document(path).model.graph.input[0].type.tensor_type.shape.dim[2].dim_param == "H"
    inputs = load_inputs(load_document(path), resolve(options, path))
    assert inputs.analysis.cost.relus == 432
    assert inputs.config.input_shape == {"x": (1, 3, 6, 6)}
    result = onnxshallow.optimize(path, **options, cache=None)
    assert 0 < result.report.optimized.relus <= 0.7 * 432


def test_a_target_for_activations_of_unknown_size_is_refused(tmp_path, monkeypatch):
    path, options = open_case(tmp_path, target_relus=0.7)
    monkeypatch.setattr(inputs_module, "open_sizes", lambda samples, inputs: {})
    with pytest.raises(
        ModelError, match=r"activations of unknown sizes, 3 of 3 such as 'r0', .* (--input-shape|input_shape)"
    ):
        onnxshallow.optimize(path, **options, cache=None)


@pytest.mark.parametrize(
    ("options", "pixels"), [({}, False), ({"polynomials": True}, False), ({"granularity": "pixel"}, True)]
)
def test_what_is_observed_is_what_the_options_need(tmp_path, options, pixels):
    found = observe(load_case(tmp_path, **options), Silent()).statistics["r1"]
    plain = observe(load_case(tmp_path), Silent()).statistics["r1"]
    assert (found.pixels is not None) == pixels
    np.testing.assert_allclose(found.scale, plain.scale, rtol=1e-6)


def test_what_is_observed_is_what_a_plan_needs(inputs):
    every = {c.key: c for c in find_every_candidate(inputs)}
    plain = observe(inputs, Silent()).statistics["r1"]
    pixels = observe(inputs, Silent(), Plan((every["mask:kept18pixels:h1->r1"],), {})).statistics["r1"]
    assert plain.pixels is None
    assert pixels.pixels is not None


def test_what_outputs_mean_is_known_from_the_start(tmp_path):
    (kind,) = load_case(tmp_path).kinds
    assert (kind.name, kind.kind, kind.reason) == ("y", "classes", "the only output at an end, 6 numbers a sample")
    (kind,) = load_case(tmp_path, output_kind="y=embedding").kinds
    assert kind.kind == "embedding"


def test_labels_of_validation_say_what_an_output_means_and_those_of_calibration_do_not(tmp_path):
    text = NET.replace("=> (float[N,6] y)", "=> (float[N,6] y, float[N,6] z)")
    text = text.replace("}", " g = Neg(f) z = Gemm<transB=1>(g, w3, b3) }")
    images, weights = smooth(40, 3, 6), {**NET_WEIGHTS, "b3": np.zeros(6, np.float32)}
    (scores,) = run_plain(build(NET, **weights), {"x": images})
    weights["b3"] = -scores.mean(axis=0)  # so that not all images are of one class
    labels = (scores - scores.mean(axis=0)).argmax(axis=1)
    model, data = save_case(tmp_path, build(text, **weights), labels, x=images)

    def kinds(**options):
        return [kind.kind for kind in load_inputs(load_document(model), resolve(options, model)).kinds]

    assert kinds(calib=str(data)) == ["regression", "regression"]
    assert kinds(calib=str(data), validate=str(data)) == ["classes", "regression"]


def test_another_granularity_is_another_run_on_the_same_data(tmp_path):
    inputs = load_case(tmp_path, target_relus=0.5)
    finer = inputs.at_granularity("channel")
    assert (inputs.config.granularity, finer.config.granularity) == ("auto", "channel")
    assert finer.data is inputs.data
    assert (inputs.budget.shallower, finer.budget.shallower) == (True, False)
    asked = load_case(tmp_path, target_relus=0.5, granularity="channel")
    sizes = [[len(batch["x"]) for batch in each.reduced.batches] for each in (finer, asked)]
    assert sizes[0] == sizes[1]


def test_outputs_that_are_no_tensors_are_refused_before_any_work(tmp_path):
    model = chain()
    model.graph.node.append(onnx.helper.make_node("SplitToSequence", ["y"], ["s"], axis=1))
    model.graph.output.append(onnx.helper.make_tensor_sequence_value_info("s", onnx.TensorProto.FLOAT, None))
    with pytest.raises(ModelError, match="Output 's' of <memory> is no tensor"):
        load_inputs(as_document(model), resolve({"target_relus": 0.5}, tmp_path / "net.onnx"))


@pytest.mark.parametrize("ir", [3, 8])
def test_a_network_without_inputs_is_refused_before_any_work(ir):
    text = "() => (float[1,4] y) { h = Relu(x) y = Gemm<transB=1>(h, w) }"
    model = parse(text, ir=ir, as_inputs=ir == 3, x=(1, 3), w=(4, 3))
    with pytest.raises(ModelError, match="has no inputs"):
        onnxshallow.optimize(model, target_relus=0.7, cache=None)


def test_inputs_that_are_no_tensors_are_refused_before_any_work(tmp_path):
    model = parse("(float[N,3] x) => (float[N,3] y) { z = SequenceAt(q, at) y = Add(x, z) }", at=np.array(0))
    model.graph.input.append(onnx.helper.make_tensor_sequence_value_info("q", onnx.TensorProto.FLOAT, None))
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(ModelError, match=r"Input 'q' of .* is no tensor but a sequence"):
        onnxshallow.optimize(tmp_path / "net.onnx", target_relus=0.5)


def test_a_sequence_that_says_nothing_of_its_type_is_refused_too(tmp_path):
    model = build(NET.replace("y = Gemm", "q = SequenceConstruct(r2, r2) y = Gemm"), **NET_WEIGHTS)
    model.graph.output.add().name = "q"
    path, data = save_case(tmp_path, model)
    with pytest.raises(ModelError, match=r"Output 'q' of .* is no tensor but a sequence"):
        onnxshallow.optimize(path, target_relus=0.7, calibration=str(data), cache=None)

"""Networks of the kinds that were judged by the wrong output, each with the verdict that is right."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onnxshallow.errors import UsageError
from onnxshallow.options.config import Config
from onnxshallow.workflows.optimize import optimize
from onnxshallow.workflows.validate import validate
from tests.graphs import parse, run_plain
from tests.networks import build, smooth
from tests.runs import NET_WEIGHTS, save_case

BODY = """
    h0 = Conv<pads=[1,1,1,1]>(x, w0, b0)
    r0 = Relu(h0)
    h1 = Conv<pads=[1,1,1,1]>(r0, w1, b1)
    r1 = Relu(h1)
    h2 = Conv<pads=[1,1,1,1]>(r1, w2, b2)
    r2 = Relu(h2)
    p = GlobalAveragePool(r2)
    f = Flatten(p)
"""
IMAGES = smooth(80, 3, 6)


def network(outputs, heads, **weights):
    """A network whose outputs are made of the features `f`, or of the map `r2`."""
    body = {name: shape for name, shape in NET_WEIGHTS.items() if name not in ("w3", "b3")}
    return build(f"(float[N,3,6,6] x) => ({outputs}) {{ {BODY} {heads} }}", **body, **weights)


def softmax_heads(**classes):
    """Heads by name with so many classes, each of which some images have."""
    (features,) = run_plain(network("float[N,4] f", ""), {"x": IMAGES})
    outputs = ", ".join(f"float[N,{count}] {name}" for name, count in classes.items())
    heads = "c = Sub(f, mean)\n"
    for name in classes:
        heads += f"g_{name} = Gemm<transB=1>(c, k_{name})\n {name} = Softmax(g_{name})\n"
    weights = {f"k_{name}": (count, 4) for name, count in classes.items()}
    return network(outputs, heads, mean=features.mean(axis=0), **weights)


def detector():
    """Offsets of a box first, then face or none, as MTCNN has them."""
    heads = "a = Gemm<transB=1>(f, ka)\n g = Gemm<transB=1>(f, kb)\n b = Softmax(g)"
    return network("float[N,4] a, float[N,2] b", heads, ka=(4, 4), kb=(2, 4))


def captcha():
    """Five characters of six each."""
    return softmax_heads(**{f"c{number}": 6 for number in range(5)})


def embedder():
    """A vector of length one."""
    heads = "g = Gemm<transB=1>(f, k)\n n = ReduceL2<axes=[1]>(g)\n e = Div(g, n)"
    return network("float[N,8] e", heads, k=(8, 4))


def embedder_with_a_function():
    """The same, whose end is a function of its own, as exporters of modules write it."""
    made = embedder()
    unit = """<domain: "local", opset_import: ["": 17]> Unit (g) => (e) { n = ReduceL2<axes=[1]>(g) e = Div(g, n) }"""
    text = f"(float[N,3,6,6] x) => (float[N,8] e) {{ {BODY} g = Gemm<transB=1>(f, k) e = local.Unit(g) }}"
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in made.graph.initializer}
    return parse(text, domains=["local"], functions=unit, **weights)


def image_to_image():
    """An image of the input's size."""
    return network("float[N,3,6,6] y", "y = Conv<pads=[1,1,1,1]>(r2, k)", k=(3, 4, 3, 3))


def turned(model, name, by=-1.0):
    """The model with one weight times a number."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for tensor in changed.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(by), name))
    return changed


def compared(folder, first, second, labels=None, **options):
    model, data = save_case(folder, first, labels, x=IMAGES)
    other = folder / "other.onnx"
    onnx.save(second, other)
    return validate(model, other, config=Config(validate_data=str(data), **options))


def kinds(report):
    return {output.name: output.kind for output in report.fidelity.outputs}


def test_offsets_before_the_classes_are_no_classes(tmp_path):
    report = compared(tmp_path, detector(), turned(detector(), "ka"))
    assert kinds(report) == {"a": "boxes", "b": "classes"}
    assert report.fidelity.agreement == 1
    assert (report.verdict.status, report.verdict.exit_code) == ("accuracy", 4)
    assert "relative error of 'a' is 2" in report.verdict.reasons[0]


def test_a_detector_whose_classes_changed_is_refused(tmp_path):
    report = compared(tmp_path, detector(), turned(detector(), "kb"))
    assert report.fidelity.agreement < 0.5
    assert [gate.name for gate in report.gates if not gate.met] == ["max-drop"]


def test_a_code_of_which_one_character_changes_is_another(tmp_path):
    report = compared(tmp_path, captcha(), turned(captcha(), "k_c4"))
    assert set(kinds(report).values()) == {"classes"}
    each = [output.agreement for output in report.fidelity.outputs]
    assert each[:4] == [1, 1, 1, 1]
    assert report.fidelity.agreement == each[4] < 0.5
    assert report.verdict.status == "accuracy"
    assert report.changed_total == round(80 * (1 - each[4]))
    assert {one.output for one in report.changed} == {"c4"}


def test_a_code_is_right_where_all_its_characters_are(tmp_path):
    labels = np.stack([said.argmax(axis=1) for said in run_plain(captcha(), {"x": IMAGES})], axis=1)
    labels[:20, 0] = (labels[:20, 0] + 1) % 6
    report = compared(tmp_path, captcha(), captcha(), labels)
    assert (report.original_accuracy.top1, report.original_accuracy.top5) == (0.75, None)
    report = compared(tmp_path, captcha(), turned(captcha(), "k_c4"), labels)
    assert report.verdict.accuracy_lost > 0.25
    assert report.verdict.status == "accuracy"


def test_labels_of_all_characters_have_to_fit_each(tmp_path):
    """Where one never fits, no code is ever right, so that nothing can be lost."""
    labels = np.stack([said.argmax(axis=1) for said in run_plain(captcha(), {"x": IMAGES})], axis=1)
    labels[:, 4] = (labels[:, 4] + 1) % 6
    report = compared(tmp_path, captcha(), turned(captcha(), "k_c0"), labels)
    assert (report.verdict.accuracy_lost, report.verdict.status) == (0.0, "accuracy")
    (reason,) = report.verdict.reasons
    assert "data.npz for 'c4' do not fit this network: the original is right on 0.00 % of 80 samples" in reason
    assert "With 1 taken from each label it is right on 100.00 %." in reason


def mostly(share):
    """A network that gives about so many images the first of two classes."""
    scores = run_plain(network("float[N,1] y", "y = Gemm<transB=1>(f, k)", k=(1, 4)), {"x": IMAGES})[0]
    edge = np.array([0.0, np.quantile(scores, share)], np.float32)
    heads = "g = Gemm<transB=1>(f, k)\n z = Concat<axis=1>(g, g)\n s = Mul(z, one)\n y = Sub(s, edge)"
    one = np.array([0.0, 1.0], np.float32)
    return network("float[N,2] y", heads, k=(1, 4), one=one, edge=edge)


def far_off(outputs, ends):
    """A network of which what it says of images is little beside a large constant."""
    return network(outputs, f"g = Gemm<transB=1>(f, k)\n a = Add(g, far)\n {ends}", k=(8, 4), far=[300.0])


def with_anchors():
    """A network with an output that is the same by its nature."""
    heads = "g = Gemm<transB=1>(f, k)\n y = Softmax(g)\n a = Identity(anchors)"
    return network("float[N,4] y, float[1,2] a", heads, k=(4, 4), anchors=[[1.0, 2.0]])


def background():
    """A mask that hardly ever tells anything but the first of three classes."""
    heads = "g = Conv<pads=[1,1,1,1]>(r2, k)\n y = Add(g, far)"
    return network("float[N,3,6,6] y", heads, k=(3, 4, 3, 3), far=np.float32([[[[20]], [[0]], [[0]]]]))


@pytest.mark.parametrize(
    ("model", "options", "told"),
    [
        (lambda: mostly(0.98), {}, "points of agreement with the original lost, of at most 5 (default)"),
        (lambda: mostly(0.98), {"max_drop": 0.04}, "points of agreement with the original lost, of at most 4"),
        (lambda: mostly(0.98), {"min_agreement": 0.96}, "% of the samples keep their class, of at least 96"),
        (lambda: mostly(0.98), {"max_drop": 0.01}, None),
        (lambda: mostly(0.8), {}, None),
        (
            lambda: far_off("float[N,8] y", "y = Identity(a)"),
            {"output_kind": "y=regression"},
            "relative error of 'y'",
        ),
        (lambda: far_off("float[N,8] y", "y = Identity(a)"), {"max_error": 1e-4}, None),
        (lambda: far_off("float[N,8] y", "n = ReduceL2<axes=[1]>(a)\n y = Div(a, n)"), {}, "lost cosine of 'y'"),
        (
            lambda: far_off("float[N,8] y", "n = Neg(a)\n y = Relu(n)"),
            {},
            "0.00 points of agreement with the original",
        ),
        (with_anchors, {"output_kind": "y=regression"}, None),
        (background, {"output_kind": "y=mask"}, "at the pixels of 'y'"),
    ],
)
def test_gates_that_a_constant_keeps_are_told(tmp_path, model, options, told):
    """As of a word that is hardly ever said, a temperature in kelvins, or a mask that is mostly background."""
    report = compared(tmp_path, model(), turned(model(), "k", 1.01), **options)
    assert report.verdict.status == "met"
    found = [finding for finding in report.verdict.findings if finding.text.startswith("A model that always says")]
    assert [finding.about for finding in found] == (["data"] if told else [])
    assert all(told in finding.text and finding.text in report.verdict.line for finding in found)


@pytest.mark.parametrize("spelled", [embedder, embedder_with_a_function])
@pytest.mark.parametrize(("by", "status"), [(1.0, "met"), (9.0, "met"), (-1.0, "accuracy")])
def test_of_an_embedding_the_direction_counts(tmp_path, by, status, spelled):
    report = compared(tmp_path, spelled(), turned(spelled(), "k", by))
    assert kinds(report) == {"e": "embedding"}
    (gate,) = report.gates
    assert (gate.limit, gate.what, report.verdict.status) == (0.05, "lost cosine of 'e'", status)


def test_labels_belong_to_the_head_that_they_fit(tmp_path):
    """As of a network that tells age, in eight groups, and gender."""
    model = softmax_heads(gender=2, age=8)
    labels = run_plain(model, {"x": IMAGES})[1].argmax(axis=1)
    assert len(set(labels)) > 2
    labels[:8] = (labels[:8] + 1) % 8
    report = compared(tmp_path, model, turned(model, "k_gender"), labels)
    assert (report.labels_of, report.unused_labels) == ("age", False)
    assert (report.original_accuracy.top1, report.verdict.accuracy_lost) == (0.9, 0.0)
    assert report.verdict.status == "accuracy"
    assert "agreement with the original at 'gender'" in report.verdict.reasons[0]


def test_labels_that_fit_no_head_are_told(tmp_path):
    labels = np.random.default_rng(0).integers(0, 2, 80)
    report = compared(tmp_path, softmax_heads(gender=2, age=8), softmax_heads(gender=2, age=8), labels)
    assert (report.labels_of, report.unused_labels, report.original_accuracy) == (None, True, None)


@pytest.mark.parametrize(("by", "status"), [(1.05, "met"), (1.2, "accuracy")])
def test_an_image_is_judged_by_its_error(tmp_path, by, status):
    report = compared(tmp_path, image_to_image(), turned(image_to_image(), "k", by))
    assert kinds(report) == {"y": "regression"}
    assert report.fidelity.agreement is None
    assert report.verdict.status == status


def test_what_the_user_says_of_an_output_counts(tmp_path):
    report = compared(tmp_path, image_to_image(), turned(image_to_image(), "k", 1.2), output_kind={"y": "mask"})
    assert (kinds(report), report.verdict.status) == ({"y": "mask"}, "met")  # each pixel has its largest where it had
    assert report.fidelity.outputs[0].agreement == 1
    with pytest.raises(UsageError, match="--output-kind names 'z'"):
        compared(tmp_path, image_to_image(), image_to_image(), output_kind={"z": "mask"})


def test_a_kind_that_does_not_fit_its_output_is_told(tmp_path):
    model = network("float[N,1] y", "y = Gemm<transB=1>(f, k)", k=(1, 4))
    report = compared(tmp_path, model, model, output_kind="y=classes")
    assert kinds(report) == {"y": "regression"}
    assert report.fidelity.outputs[0].reason == "no classes, as it holds no class scores of each sample"


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (detector, ["boxes", "classes"]),
        (captcha, ["classes"] * 5),
        (embedder, ["embedding"]),
        (embedder_with_a_function, ["embedding"]),
        (image_to_image, ["regression"]),
    ],
)
def test_each_kind_is_optimized_by_what_it_means(tmp_path, model, expected):
    path, data = save_case(tmp_path, model(), x=smooth(80, 3, 6, seed=1))
    result = optimize(path, target_relus=0.7, calib=str(data), validate={"x": IMAGES}, max_error=1e6, cache=None)
    assert result.error is None
    outputs = result.report.fidelity.outputs
    assert [output.kind for output in outputs] == expected
    assert all(output.reason for output in outputs)
    assert all(np.isfinite(plan.damage) for plan in result.report.plans)
    assert (result.report.fidelity.agreement is None) == ("classes" not in expected)

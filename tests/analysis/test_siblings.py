import numpy as np
import onnx
import pytest

from onnxshallow.analysis import analyze
from onnxshallow.analysis.siblings import SHARED, siblings
from onnxshallow.model.network import Network
from onnxshallow.model.spelling import plainly_spelled
from tests.graphs import parse, positive, run_plain, signed
from tests.networks import smooth
from tests.runs import ANY_LOSS, run

BRANCH = """h{0} = Conv<pads=[1,1,1,1]>({0}, w, b) n{0} = BatchNormalization(h{0}, s, b, b, s) r{0} = Relu(n{0})
    g{0} = Conv<pads=[1,1,1,1]>(r{0}, v, b) q{0} = Relu(g{0}) """
SIAMESE = (
    "(float[N,3,6,6] x, float[N,3,6,6] z) => (float[N,4] y) {"
    + BRANCH.format("x") + BRANCH.format("z")
    + "d = Sub(qx, qz) a = Abs(d) e = Conv(a, u, b) t = Relu(e) k = Conv(t, u, b) p = GlobalAveragePool(k) "
    "y = Flatten(p) }"
)  # fmt: skip
WEIGHTS = dict(w=(4, 3, 3, 3), v=(4, 4, 3, 3), u=(4, 4, 1, 1), b=(4,), s=positive("s", (4,)))


def test_branches_that_share_weights_are_left_alike():
    analysis = analyze(parse(SIAMESE, **WEIGHTS))
    names = {analysis.network.nodes[index].outputs[0] for index in analysis.layers.shared}
    assert names == {"hx", "gx", "hz", "gz"}
    refused = {site.output: site.refusal for site in analysis.sites}
    assert refused.pop("t") is None
    assert set(refused) == {"rx", "qx", "rz", "qz"}
    assert all(reason is not None and SHARED in reason for reason in refused.values())
    assert {layer.output for layer in analysis.layers if layer.kind == "conv"} == {"e", "k"}


@pytest.mark.parametrize(
    "body",
    [
        "h = Conv(x, u) r = Relu(h) y = Conv(r, u)",  # one after the other
        "h = Conv(x, u) r = Relu(h) g = Conv(r, u) y = Add(g, h)",
        "h = Conv(x, u) g = Conv(x, k) y = Add(g, h)",
        "h = Conv(x, u) r = Relu(h) g = Conv(x, u) y = Add(g, r)",  # of the same input
        "s = Neg(x) h = Conv(x, u) g = Conv(s, u) y = Add(g, h)",  # of something else
    ],
)
def test_weights_that_serve_again_further_down_tie_nothing(body):
    model = parse(f"(float[N,4,6,6] x) => (float[N,4,6,6] y) {{ {body} }}", u=(4, 4, 1, 1), k=(4, 4, 1, 1))
    assert siblings(Network(model)) == frozenset()


KERNEL = signed("kernel", (4, 4, 1, 1))
COPIES = {
    "equal weights": ("h = Conv(x, k) g = Conv(z, l)", dict(k=KERNEL, l=KERNEL.copy())),
    "each behind an Identity": ("i = Identity(k) j = Identity(k) h = Conv(x, i) g = Conv(z, j)", dict(k=KERNEL)),
    "each turned": (
        "i = Transpose<perm=[1,0,2,3]>(k) j = Transpose<perm=[1,0,2,3]>(k) h = Conv(x, i) g = Conv(z, j)",
        dict(k=KERNEL),
    ),
}
OTHERS = {
    "other numbers": ("h = Conv(x, k) g = Conv(z, l)", dict(k=KERNEL, l=2 * KERNEL)),
    "one number throughout": ("h = Conv(x, k) g = Conv(z, l)", dict(k=np.ones_like(KERNEL), l=np.ones_like(KERNEL))),
    "one of them turned": ("i = Transpose<perm=[1,0,2,3]>(k) h = Conv(x, k) g = Conv(z, i)", dict(k=KERNEL)),
}


@pytest.mark.parametrize(("body", "weights"), [*COPIES.values(), *OTHERS.values()], ids=[*COPIES, *OTHERS])
def test_copies_of_a_weight_are_one(body, weights, request):
    text = f"(float[N,4,6,6] x, float[N,4,6,6] z) => (float[N,4,6,6] y) {{ {body} y = Sub(h, g) }}"
    found = siblings(Network(parse(text, **weights)))
    assert len(found) == (2 if request.node.callspec.id in COPIES else 0)


def test_layers_on_the_last_axis_are_siblings_too():
    branch = "a{0} = MatMul({0}, w) r{0} = Relu(a{0}) b{0} = MatMul(r{0}, v) "
    body = branch.format("x") + branch.format("z") + "y = Sub(bx, bz)"
    text = f"(float[N,5,8] x, float[N,5,8] z) => (float[N,5,4] y) {{ {body} }}"
    analysis = analyze(plainly_spelled(parse(text, w=(8, 6), v=(6, 4))).model)
    assert all(site.refusal is not None and SHARED in site.refusal for site in analysis.sites)


def test_heads_of_a_pyramid_are_siblings():
    levels = "m = MaxPool<kernel_shape=[1,1]>(x) p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(x)"
    heads = "y = Conv(m, u) z = Conv(p, u)"
    text = f"(float[N,4,6,6] x) => (float[N,4,6,6] y, float[N,4,3,3] z) {{ {levels} {heads} }}"
    assert len(siblings(Network(parse(text, u=(4, 4, 1, 1))))) == 2


def test_equal_inputs_stay_at_no_distance(tmp_path):
    onnx.save(parse(SIAMESE, **WEIGHTS), tmp_path / "net.onnx")
    np.savez(tmp_path / "data.npz", x=smooth(40, 3, 6), z=smooth(40, 3, 6, 1))
    given = ("--calib", tmp_path / "data.npz", "--sensitivity", "magnitude", "--no-cache")
    outcome = run("optimize", tmp_path / "net.onnx", "--target-relus", "0.85", *given, *ANY_LOSS)
    assert outcome.exit_code == 0, outcome.stderr
    made = onnx.load(tmp_path / "net.shallow.onnx")
    one, other = signed("one", (3, 3, 6, 6)), signed("other", (3, 3, 6, 6))
    same = run_plain(made, {"x": one, "z": one})[0]
    np.testing.assert_array_equal(same, run_plain(made, {"x": other, "z": other})[0])


@pytest.mark.parametrize("further", ["MaxPool<kernel_shape=[1,1], strides=[2,2]>(p)", "Resize(p, , scales)"])
def test_the_levels_of_a_pyramid_are_of_one_role(further):
    head = "a{0} = Conv({0}, w) r{0} = Relu(a{0}) y{0} = Conv(r{0}, v) "
    body = f"p = Conv(x, u) q = {further} " + head.format("p") + head.format("q")
    text = f"(float[N,3,8,8] x) => (float[N,2,h,w] yp, float[N,2,i,j] yq) {{ {body} }}"
    weights = dict(u=(4, 3, 1, 1), w=(4, 4, 1, 1), v=(2, 4, 1, 1))
    if "scales" in body:
        weights["scales"] = np.array([1, 1, 2, 2], np.float32)
    network = Network(parse(text, **weights))
    assert {network.nodes[index].outputs[0] for index in siblings(network)} == {"ap", "aq", "yp", "yq"}

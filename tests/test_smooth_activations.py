"""Whole runs on networks with smooth activations and with channels last, on the command line."""

import numpy as np
import pytest

from onnxshallow.analysis import analyze
from onnxshallow.model.document import load_document
from onnxshallow.search import tries as tries_module
from onnxshallow.workflows import outcome
from tests.networks import build, smooth
from tests.runs import ANY_LOSS, assert_usable, read_json, run, save_case, speed_of

EXCITED = """(float[N,3,8,8] x) => (float[N,5] y) {
    a = Conv<pads=[1,1,1,1]>(x, w0, b0) sa = Sigmoid(a) ra = Mul(a, sa)
    b = Conv<pads=[1,1,1,1]>(ra, w1, b0) sb = Sigmoid(b) rb = Mul(b, sb)
    p = GlobalAveragePool(rb) q = Conv(p, w2) sq = Sigmoid(q) e = Mul(rb, sq)
    c = Conv(e, w3, b0) t = Add(c, ra) rc = HardSwish(t)
    d = Conv<pads=[1,1,1,1]>(rc, w4, b0) rd = Elu(d)
    m = GlobalAveragePool(rd) f = Flatten(m) y = Gemm(f, w5) }"""
EXCITED_WEIGHTS = dict(
    w0=(6, 3, 3, 3), b0=(6,), w1=(6, 6, 3, 3), w2=(6, 6, 1, 1), w3=(6, 6, 1, 1), w4=(6, 6, 3, 3), w5=(6, 5)
)
LAST = """(float[N,3,8,8] x) => (float[N,5] y) {
    a = Conv<pads=[1,1,1,1]>(x, w0, b0) t = Transpose<perm=[0,2,3,1]>(a)
    h = MatMul(t, m0) i = Add(h, c0) j = Div(i, root) k = Erf(j) l = Add(k, one) n = Mul(i, l) o = Mul(n, half)
    p = MatMul(o, m1) q = Add(c1, p) r = Transpose<perm=[0,3,1,2]>(q) s = Add(a, r)
    g = Softplus(s) d = Conv(g, w1) u = GlobalAveragePool(d) f = Flatten(u) y = Gemm(f, w5) }"""
LAST_WEIGHTS = dict(
    w0=(6, 3, 3, 3), b0=(6,), m0=(6, 12), c0=(12,), m1=(12, 6), c1=(6,), w1=(6, 6, 1, 1), w5=(6, 5),
    root=np.float32(2**0.5), one=np.float32(1), half=np.float32(0.5),
)  # fmt: skip
NETWORKS = {
    "squeeze and excitation": lambda: build(EXCITED, **EXCITED_WEIGHTS),
    "channels last": lambda: build(
        LAST, **{k: np.asarray(v) if np.isscalar(v) else v for k, v in LAST_WEIGHTS.items()}
    ),
}
OPTIONS = {
    "layers": (),
    "channels": ("--granularity", "channel"),
    "parabolas": ("--granularity", "channel", "--polynomials"),
}


@pytest.fixture(scope="module", autouse=True)
def quickly():
    """These runs show as much when they compare two plans only, and measure no latency."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tries_module, "_MOST_TRIES", 2)
        patch.setattr(outcome, "measured_speeds", lambda inputs, models: [speed_of() for _ in models])
        yield


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", NETWORKS)
def test_smooth_activations_are_removed_and_kept_in_part(name, options, tmp_path):
    model = NETWORKS[name]()
    path, data = save_case(tmp_path, model, x=smooth(40, 3, 8))
    given = ("--calib", data, "--target-relus", "0.5", "--sensitivity", "magnitude", "--no-cache")
    done = run("optimize", path, *given, *OPTIONS[options], *ANY_LOSS)
    assert done.exit_code == 0, done.stderr
    output = path.with_name("net.shallow.onnx")
    report = read_json(output.with_suffix(".json"))
    written = load_document(output)
    relus = sum(site.size or 0 for site in analyze(written.plain.model).sites)
    assert relus == report["optimized"]["relus"] <= 0.5 * report["original"]["relus"]
    assert not written.model.functions
    assert {entry.domain for entry in written.model.opset_import} == {""}
    assert_usable(written.model, model, {"x": smooth(4, 3, 8, 9)})


def test_networks_with_smooth_activations_learn(tmp_path):
    pytest.importorskip("torch")
    model = NETWORKS["squeeze and excitation"]()
    path, data = save_case(tmp_path, model, x=smooth(200, 3, 8))
    given = ("--calib", data, "--target-relus", "0.6", "--sensitivity", "magnitude", "--no-cache")
    done = run("optimize", path, *given, *ANY_LOSS, "--finetune", "3steps")
    assert done.exit_code == 0, done.stderr
    report = read_json(path.with_name("net.shallow.json"))
    assert report["training"]["done"] == 3
    assert report["training"]["lacks"] == []

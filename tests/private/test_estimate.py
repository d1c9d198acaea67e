import numpy as np
import pytest

from onnxshallow.analysis import analyze
from onnxshallow.private.estimate import estimate
from onnxshallow.private.protocols import PROTOCOLS
from tests.graphs import parse
from tests.networks import build
from tests.runs import net

# 6 x 6 x 4 ReLUs, a max pooling of 2 x 2 (3 comparisons in two steps for each of 3 x 3 x 4), and 36 to 5 neurons.
SMALL = """(float[N,3,6,6] x) => (float[N,5] y) {
    h = Conv<pads=[1,1,1,1]>(x, w0) r = Relu(h) p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r) f = Flatten(p)
    y = Gemm(f, w1) }"""
COMPARISONS = 144 + 3 * 36
RING = (PROTOCOLS["semi2k"], PROTOCOLS["aby3"])
OUTPUTS = 144 + 5
LINEAR = 16 * (36 * 9 * 3 + 9 * 3 * 4 + 36 + 36 * 5) + 8 * OUTPUTS


@pytest.fixture(scope="module")
def small():
    return analyze(build(SMALL, w0=(4, 3, 3, 3), w1=(36, 5)))


def test_semi2k(small):
    made = estimate(small, PROTOCOLS["semi2k"], rtt=0.01, bandwidth=1e6)
    assert made.comparisons == COMPARISONS
    assert made.comparison_bytes == 144 * COMPARISONS
    assert made.linear_bytes == LINEAR
    assert made.bytes == 144 * COMPARISONS + LINEAR
    assert made.messages == 8 * (1 + 2) + 2 * 2
    assert made.sent_bytes == made.bytes / 2
    assert made.work_seconds > 0
    assert made.seconds == pytest.approx(made.work_seconds + 28 * 0.005 + 8 * made.bytes / 2 / 1e6)
    assert made.offline_bytes is made.offline_seconds is None
    assert "2 linear layers with secret weights" in made.counted
    assert "the parties' own computation, on one core each" in made.counted
    assert made.not_counted == ("preparation before the input is known",)


def test_public_weights_are_cheaper(small):
    made = estimate(small, PROTOCOLS["semi2k"], rtt=0.01, bandwidth=1e6, weights="public")
    assert made.weights == "public"
    assert made.linear_bytes == 8 * OUTPUTS
    assert made.messages == 8 * (1 + 2) + 2
    assert "2 linear layers with public weights" in made.counted


def test_aby3_has_three_parties(small):
    made = estimate(small, PROTOCOLS["aby3"])
    assert made.bytes == 172 * COMPARISONS + 52 * OUTPUTS
    assert made.sent_bytes == pytest.approx(made.bytes / 3)
    assert made.messages == round(10.75 * (1 + 2) + 2.75 * 2)


def test_a_protocol_of_which_only_the_bytes_of_comparisons_are_known(small):
    made = estimate(small, PROTOCOLS["cryptflow2"], rtt=5.0, bandwidth=1e6)
    assert made.bytes == made.comparison_bytes == 500 * COMPARISONS
    assert made.linear_bytes is made.messages is made.offline_bytes is None
    assert made.seconds == pytest.approx(8 * 250 * COMPARISONS / 1e6)
    assert {"waiting for messages", "2 linear layers with secret weights"} <= set(made.not_counted)
    assert "the parties' own computation" in made.not_counted


def test_delphi_has_published_times_and_an_offline_phase(small):
    made = estimate(small, PROTOCOLS["delphi"], rtt=5.0, bandwidth=1e6)
    assert made.seconds == pytest.approx(21e-6 * COMPARISONS)
    assert made.bytes == 2000 * COMPARISONS
    assert made.offline_bytes == 17500 * COMPARISONS
    assert made.offline_seconds == pytest.approx(8 * 17500 * COMPARISONS / 1e6)
    assert made.messages is None
    assert any("--rtt and --bandwidth" in words for words in made.not_counted)
    assert not any("computation" in words or "preparation" in words for words in made.not_counted)


def test_squares_and_products_have_a_price_where_layers_have():
    text = "(float[N,1,2,2] x) => (float[N,1,2,2] y) { s = Mul(x, x) y = Mul(s, x) }"
    analysis = analyze(parse(text))
    made = estimate(analysis, PROTOCOLS["semi2k"])
    assert (made.bytes, made.messages) == (2 * 40 * 4, 4)
    assert "4 squares and 4 products of two values" in made.counted
    other = estimate(analysis, PROTOCOLS["cryptflow2"])
    assert other.bytes == 0
    assert "4 squares and 4 products of two values" in other.not_counted


def test_a_relu_less_is_cheaper_than_its_square_and_dearer_than_nothing():
    def seconds(node):
        text = "(float[N,4,4,4] x) => (float[N,4,4,4] y) {" + f"a = Conv(x, w) b = {node} y = Conv(b, w)" + "}"
        return [estimate(analyze(parse(text, w=(4, 4, 1, 1))), p).seconds for p in (*RING, PROTOCOLS["delphi"])]

    relu, square, none = seconds("Relu(a)"), seconds("Mul(a, a)"), seconds("Identity(a)")
    assert all(r > s >= n for r, s, n in zip(relu, square, none, strict=True))


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_slower_link_never_makes_it_faster(name):
    analysis = analyze(net())
    fast, far, thin = (
        estimate(analysis, PROTOCOLS[name], rtt, bandwidth) for rtt, bandwidth in ((0, 1e9), (0.1, 1e9), (0, 1e6))
    )
    assert fast.seconds <= far.seconds
    assert fast.seconds <= thin.seconds
    assert fast.bytes == far.bytes == thin.bytes
    assert all(made.sources for made in (fast, far, thin))


def test_other_operators_and_unknown_shapes_are_said():
    text = "(float[N,3,H,W] x) => (float[N,3,H,W] y) { r = Relu(x) y = Softmax(r) }"
    made = estimate(analyze(parse(text)), PROTOCOLS["semi2k"])
    assert made.bytes == 0
    assert made.not_counted[-2:] == ("Softmax nodes (1)", "nodes whose shapes are not known (1)")


def test_a_clip_is_two_comparisons_one_after_the_other():
    text = "(float[N,1,4,4] x) => (float[N,1,4,4] y) { y = Clip(x, zero, six) }"
    analysis = analyze(parse(text, zero=np.zeros((), "f"), six=np.full((), 6, "f")))
    made = estimate(analysis, PROTOCOLS["semi2k"])
    assert (made.bytes, made.messages) == (2 * 16 * 144, 16)


def test_smooth_functions_are_charged_where_a_source_tells_and_said_where_none_does():
    text = "(float[N,2,3,3] x) => (float[N,2,3,3] y) { h = HardSigmoid(x) y = Tanh(h) }"
    with_tanh, without = (analyze(parse(each)) for each in (text, text.replace("Tanh", "Neg")))
    for name, each, messages in (("semi2k", 648, 36), ("aby3", 868, 52), ("cheetah", 3001, 146)):
        made, rest = (estimate(analysis, PROTOCOLS[name]) for analysis in (with_tanh, without))
        assert made.bytes - rest.bytes == 18 * each
        assert made.messages - rest.messages == messages
        assert "18 elements of a tanh function" in made.counted
        assert "the parties' own computation of smooth functions" in made.not_counted
        assert "the parties' own computation of smooth functions" not in rest.not_counted
        assert any(f"{each} bytes and {messages} messages for a tanh" in source for source in made.sources)
    made = estimate(with_tanh, PROTOCOLS["delphi"])
    assert "18 elements of a tanh function" in made.not_counted

import numpy as np
import pytest

from onnxshallow.analysis.affine_ops import batch_normalization, channel_constant, is_passthrough
from onnxshallow.model.network import Network
from tests.graphs import assert_close, feeds, parse, positive, run_plain

TRUE, FALSE = np.array(True), np.array(False)
RATIO = np.full((), 0.5, np.float32)
STATE = dict(s=(3,), o=(3,), m=(3,), v=positive("v", (3,)))


def passes(body: str, opset: int = 17, outputs: str = "float[N,3] y", **weights: np.ndarray) -> bool:
    network = Network(parse(f"(float[N,3] x) => ({outputs}) {{ {body} }}", opset=opset, **weights))
    return is_passthrough(network, network.nodes[0])


@pytest.mark.parametrize(
    ("body", "opset", "expected"),
    [
        ("y = Identity(x)", 17, True),
        ("y = Relu(x)", 17, False),
        ("y = Dropout(x)", 17, True),
        ("y = Dropout(x, ratio)", 17, True),
        ("y = Dropout(x, ratio, no)", 17, True),
        ("y = Dropout(x, ratio, yes)", 17, False),
        ("y = Dropout(x, , no)", 17, True),
        ("y = Dropout<ratio = 0.5>(x)", 9, True),
        ("y = Dropout<ratio = 0.5>(x)", 6, False),
        ("y = Dropout<ratio = 0.5, is_test = 1>(x)", 6, True),
    ],
)
def test_is_passthrough(body, opset, expected):
    assert passes(body, opset, ratio=RATIO, yes=TRUE, no=FALSE) is expected


def test_training_mode_that_the_caller_decides():
    network = Network(parse("(float[N,3] x, bool t) => (float[N,3] y) { y = Dropout(x, r, t) }", r=RATIO))
    assert not is_passthrough(network, network.nodes[0])


def test_a_mask_that_is_read_is_a_barrier():
    assert passes("y, mask = Dropout(x)")
    assert not passes("y, mask = Dropout(x) k = Not(mask)")
    assert not passes("y, mask = Dropout(x)", outputs="float[N,3] y, bool[N,3] mask")


def test_identity_of_another_domain():
    network = Network(parse("(float[N,3] x) => (float[N,3] y) { y = mine.Identity(x) }", domains=["mine"]))
    assert not is_passthrough(network, network.nodes[0])


def norm(attributes: str = "", outputs: str = "y", opset: int = 17, **weights: object) -> Network:
    body = f"{outputs} = BatchNormalization{attributes}(x, s, o, m, v)"
    return Network(parse(f"(float[N,3,4] x) => (float[N,3,4] y) {{ {body} }}", opset=opset, **{**STATE, **weights}))


@pytest.mark.parametrize("attributes", ["", "<epsilon=0.5>", "<momentum=0.1, epsilon=0.001>"])
@pytest.mark.parametrize("opset", [7, 9, 14, 17])
def test_batch_normalization_is_a_scale_and_a_shift(attributes, opset):
    network = norm(attributes, opset=opset)
    scale, shift = batch_normalization(network, network.nodes[0])
    values = feeds(network.model)
    (expected,) = run_plain(network.model, values)
    assert_close((scale.reshape(3, 1) * values["x"] + shift.reshape(3, 1)).astype(np.float32), expected)


@pytest.mark.parametrize(
    "network",
    [
        norm("<training_mode=1>", "y, a, b"),
        norm("<training_mode=1>"),
        norm(outputs="y, a, b, c, d", opset=9),
        norm(outputs="y, a, b, c, d", opset=7),
        norm("<spatial=0>", opset=7),
        norm(opset=6),
        norm(v=-np.ones(3, np.float32)),
        Network(parse("(float[N,3,4] x, float[3] s) => (float[N,3,4] y) { y = BatchNormalization(x, s, o, m, v) }",
                      o=(3,), m=(3,), v=positive("v", (3,)))),
    ],
    ids=["training", "training, one output", "opset 9 trains", "opset 7 trains", "not spatial", "opset 6 trains",
         "negative variance", "scale from an input"],
)  # fmt: skip
def test_batch_normalization_that_is_no_affine_map(network):
    assert batch_normalization(network, network.nodes[0]) is None


def test_batch_normalization_in_test_mode_up_to_opset_6():
    network = norm("<is_test=1>", opset=6)
    assert batch_normalization(network, network.nodes[0]) is not None


def test_statistics_that_are_read_are_a_barrier():
    text = """(float[N,3,4] x) => (float[N,3,4] y, float[3] a) {
        y, a, b = BatchNormalization<training_mode=1>(x, s, o, m, v) }"""
    network = Network(parse(text, **STATE))
    assert batch_normalization(network, network.nodes[0]) is None


@pytest.mark.parametrize(
    ("shape", "rank", "channels", "expected"),
    [
        ((), 2, 4, True),
        ((1,), 2, 4, True),
        ((4, 1, 1), 2, 4, True),
        ((1, 4, 1, 1), 2, 4, True),
        ((1, 1, 1, 1), 2, 4, True),
        ((4,), 2, 4, False),  # varies along the width, even where the width is 4
        ((4,), 0, 4, True),
        ((1, 4), 0, 4, True),
        ((4, 1), 1, 4, True),
        ((2, 4, 1, 1), 2, 4, False),
        ((1, 4, 1, 2), 2, 4, False),
        ((1, 3, 1, 1), 2, 4, False),
        ((1, 4, 1, 1), 2, 1, False),
        ((1, 1, 4, 1, 1), 2, 4, False),
    ],
)
def test_channel_constant(shape, rank, channels, expected):
    value = np.arange(1, 1 + int(np.prod(shape)), dtype=np.float32).reshape(shape)
    found = channel_constant(value, rank, channels)
    if not expected:
        assert found is None
        return
    image = np.zeros((2, channels, *[4] * rank), np.float32)
    assert found.shape == (channels,)
    np.testing.assert_array_equal(image + value, image + found.reshape(1, -1, *[1] * rank))

import pytest

from onnxshallow.analysis import analyze
from onnxshallow.private.operations import Matrices, Operation
from onnxshallow.private.price import Price, charge_of, price, price_operation
from onnxshallow.private.protocols import PROTOCOLS
from tests.networks import build
from tests.runs import net

SEMI2K, ABY3, DELPHI = PROTOCOLS["semi2k"], PROTOCOLS["aby3"], PROTOCOLS["delphi"]
WITH_SQUARE = "(float[N,3,4,4] x) => (float[N,4,4,4] y) { a = Conv(x, w) r = ACT y = Conv(r, v) }"


def network(activation):
    return analyze(build(WITH_SQUARE.replace("ACT", activation), w=(4, 3, 1, 1), v=(4, 4, 1, 1)))


def test_prices_add_up_and_compare():
    one, other = Price(100, 8, 50, 0.1), Price(40, 2, 20, 0.3)
    assert one + other == Price(140, 10, 70, 0.4)
    assert one - other == Price(60, 6, 30, pytest.approx(-0.2))
    assert one.seconds(rtt=0.04, bandwidth=1e3) == pytest.approx(0.1 + 8 * 0.02 + 8 * 50 / 1e3)


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=list(PROTOCOLS))
@pytest.mark.parametrize("weights", ["secret", "public"])
def test_the_nodes_add_up_to_the_network(protocol, weights):
    made = price(analyze(net()), protocol, weights)
    assert made.total.bytes == pytest.approx(sum(each.bytes for each in made.by_node.values()))
    assert made.total.messages == sum(each.messages for each in made.by_node.values())
    assert {each.node for each in made.operations.all} == set(made.by_node)


def test_a_nodes_saving_is_the_difference_of_two_networks():
    with_relu, with_square, with_none = (
        price(network(text), SEMI2K).total for text in ("Relu(a)", "Mul(a, a)", "Neg(a)")
    )
    assert (with_relu - with_none).bytes == 144 * 64
    assert (with_relu - with_none).messages == 8
    assert (with_relu - with_square).bytes == (144 - 40) * 64
    assert (with_relu - with_square).messages == 6


@pytest.mark.parametrize(
    ("kind", "weights", "charge"),
    [
        ("comparison", "public", SEMI2K.comparison), ("square", "public", SEMI2K.product),
        ("product", "secret", SEMI2K.product), ("factor", "secret", SEMI2K.product),
        ("factor", "public", SEMI2K.scale), ("scale", "secret", SEMI2K.scale),
        ("linear", "secret", SEMI2K.linear), ("linear", "public", SEMI2K.scale),
    ],
)  # fmt: skip
def test_what_is_charged_depends_on_who_knows_the_weights(kind, weights, charge):
    assert charge_of(Operation(0, kind, 1), SEMI2K, weights) is charge


def test_a_linear_layer_opens_both_factors_where_the_protocol_does():
    layer = Operation(0, "linear", 12, matrices=Matrices(3, 5, 4))
    secret = price_operation(layer, SEMI2K)
    assert (secret.bytes, secret.messages) == (16 * (15 + 20) + 8 * 12, 2)
    assert secret.sent == secret.bytes / 2
    assert price_operation(layer, SEMI2K, "public").bytes == 8 * 12
    three = price_operation(layer, ABY3)
    assert (three.bytes, three.sent) == (52 * 12, 52 * 4)


def test_messages_are_paid_a_step():
    assert price_operation(Operation(0, "comparison", 10, steps=4), SEMI2K).messages == 32


def test_what_has_no_constant_costs_nothing():
    assert price_operation(Operation(0, "square", 10), DELPHI) == Price()
    made = price(analyze(net()), DELPHI)
    assert made.total.messages == 0
